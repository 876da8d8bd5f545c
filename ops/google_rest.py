"""Google's REST APIs with the operator's own credentials: what no port of the functions reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ops.errors import OpsError

TIMEOUT_S = 20.0
_SIGN_IN = "gcloud auth application-default login"


class Http(Protocol):
    """What is needed of an authorised HTTP client; requests' and google-auth's are such."""

    def request(self, method: str, url: str, **options: Any) -> Any:
        """One request."""


def authorized_http() -> Http:
    """An HTTP client that carries the operator's own credentials. OpsError when there are none."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except DefaultCredentialsError as error:
        raise OpsError("There are no Google credentials on this machine", _SIGN_IN) from error
    return AuthorizedSession(credentials)


class GoogleRest:
    """JSON over HTTPS. `base` puts another address in the place of every host, as tests do."""

    def __init__(self, http: Http | None = None, base: str = "") -> None:
        self._http, self._base = http, base

    def _url(self, host: str, path: str) -> str:
        return f"{self._base or f'https://{host}'}/{path}"

    def _send(self, method: str, host: str, path: str, **options: Any) -> Any:
        import requests
        from google.auth.exceptions import GoogleAuthError

        if self._http is None:
            self._http = authorized_http()
        try:
            return self._http.request(method, self._url(host, path), timeout=TIMEOUT_S, **options)
        except (requests.RequestException, GoogleAuthError) as error:
            raise OpsError(
                f"{host} did not answer: {type(error).__name__}", f"check the network, or: {_SIGN_IN}"
            ) from error

    def get(self, host: str, path: str) -> dict[str, Any] | None:
        """A resource, or None if there is none. OpsError for any other answer than 200 and 404."""
        return self._content(host, path, self._send("GET", host, path))

    def post(self, host: str, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a query that is sent as a POST. Changes nothing. None for a 404."""
        return self._content(host, path, self._send("POST", host, path, json=dict(body)))

    def exists(self, host: str, path: str, accept: str) -> bool:
        """Whether a HEAD finds something. OpsError for any other answer than 200 and 404."""
        answer = self._send("HEAD", host, path, headers={"Accept": accept})
        if answer.status_code not in (200, 404):
            raise _refusal(host, path, answer.status_code)
        return bool(answer.status_code == 200)

    def _content(self, host: str, path: str, answer: Any) -> dict[str, Any] | None:
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise _refusal(host, path, answer.status_code)
        try:
            content = answer.json()
        except ValueError as error:
            raise OpsError(f"{host}/{path} answered something that is not JSON") from error
        return content if isinstance(content, dict) else {}


def _refusal(host: str, path: str, status: int) -> OpsError:
    hint = "ask for the right to read it, or sign in with another account: " + _SIGN_IN if status in (401, 403) else ""
    return OpsError(f"{host}/{path} answered {status}", hint)
