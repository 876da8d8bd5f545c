"""Who may speak to the page: browsers on this machine that loaded it from here, and forms that it handed out itself.

A page of the web that a person has open could send requests to loopback addresses. Host names the page's own address
(so a name that a stranger points at 127.0.0.1 leads nowhere), Origin and Sec-Fetch-Site name where a request comes
from, and every form carries a token of its browser (https://cheatsheetseries.owasp.org, "Cross-Site Request Forgery
Prevention").
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256

from flask import Flask, Response, abort, g, request

FIELD = "token"
_SAFE = frozenset(("GET", "HEAD"))
_NAMES = ("127.0.0.1", "localhost")
_REMOTE_IMAGES = "img-src 'self' data: https: http:"  # of one's own export: its rows name images on the web
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    f"{_REMOTE_IMAGES}; base-uri 'none'; frame-ancestors 'none'"
)
# A report has its style in it and no script; whatever a job wrote there, it runs nothing.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups"


class Guard:
    """Checks each request of an app that serves on a port of the loopback address."""

    def __init__(self, port: int) -> None:
        self._hosts = frozenset(f"{name}:{port}" for name in _NAMES)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._cookie = f"console-{port}"  # cookies do not tell ports apart
        self._key = secrets.token_bytes(32)

    def protect(self, app: Flask) -> None:
        """Make the app check every request and mark every answer."""
        app.before_request(self._check)
        app.after_request(self._mark)
        app.context_processor(lambda: {"token": self.token, "token_field": FIELD})

    def _check(self) -> None:
        if request.host not in self._hosts:
            abort(421, f"This page is at http://{min(self._hosts)}, not at {request.host[:100]}.")
        g.browser = request.cookies.get(self._cookie) or secrets.token_urlsafe(24)
        if request.method in _SAFE:
            return
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins:
            abort(403, "The request came from another page. Use the form of this one.")
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            abort(403, "The request came from another site. Use the form of this page.")
        given = request.form.get(FIELD, "")
        if not hmac.compare_digest(given.encode(), self.token().encode()):
            abort(403, "The form is older than this console, or its cookie is gone. Load the page again, and send it.")

    def token(self) -> str:
        """What this browser's forms must carry."""
        return hmac.new(self._key, str(g.browser).encode(), sha256).hexdigest()

    def _mark(self, response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers.setdefault("Cache-Control", "no-store")
        if "browser" in g and request.cookies.get(self._cookie) != g.browser:
            response.set_cookie(self._cookie, g.browser, httponly=True, samesite="Strict")
        return response
