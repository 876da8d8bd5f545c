"""Job images by digest: which bytes a tag names, asked once per run, so that a push changes no run under way."""

from __future__ import annotations

import re
from typing import Any, Protocol

from orchestrator.errors import Unavailable

_NAMED = re.compile(r"(?P<host>[a-z0-9.-]+)/(?P<path>[^:@]+):(?P<tag>[\w][\w.-]*)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Docker's and OCI's manifests, and the lists of them: a tag may name any of the four.
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class ImageMissing(Exception):
    """The registry knows no such image; its text is the image's URI."""


class Images(Protocol):
    """What the handlers need of a registry."""

    def pin(self, uri: str) -> str:
        """The image by digest; raises ImageMissing and Unavailable. An image of another registry stays as it is."""


class ImagesAsNamed:
    """Images by their tags: for a registry that cannot be asked."""

    def pin(self, uri: str) -> str:
        """The URI as it is."""
        return uri


class ArtifactRegistry:
    """Google's Artifact Registry, through the registry protocol that `docker pull` speaks.

    With an endpoint `http://host:port` that registry is asked instead, without credentials.
    """

    def __init__(self, endpoint: str, deadline_s: float) -> None:
        self._endpoint, self._deadline_s = endpoint, deadline_s
        self._credentials: Any = None

    def pin(self, uri: str) -> str:
        """See Images. Reads only, so repeating it is safe; a second answer may name newer bytes."""
        named = _NAMED.fullmatch(uri)
        if named is None or not named["host"].endswith(("-docker.pkg.dev", "gcr.io")):
            return uri
        base = self._endpoint or f"https://{named['host']}"
        status, digest = self._head(f"{base}/v2/{named['path']}/manifests/{named['tag']}")
        if status == 404:
            raise ImageMissing(uri)
        if status != 200 or not _DIGEST.fullmatch(digest):
            raise Unavailable(f"Artifact Registry answered {status} for an image")
        return f"{named['host']}/{named['path']}@{digest}"

    def _head(self, url: str) -> tuple[int, str]:
        import requests
        from google.auth.exceptions import GoogleAuthError

        try:
            headers = {"Accept": _MANIFESTS} | self._authorization()
            answer = requests.head(url, headers=headers, timeout=self._deadline_s / 2)
        except (requests.RequestException, GoogleAuthError) as error:
            raise Unavailable(f"Artifact Registry did not answer: {type(error).__name__}") from error
        return answer.status_code, answer.headers.get("Docker-Content-Digest", "")

    def _authorization(self) -> dict[str, str]:
        if self._endpoint.startswith("http://"):
            return {}
        import google.auth
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        if not self._credentials.valid:
            self._credentials.refresh(Request())
        return {"Authorization": f"Bearer {self._credentials.token}"}
