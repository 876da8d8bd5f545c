"""Google's REST APIs as a table of paths and answers, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from ops.google_rest import GoogleRest


class GoogleStandIn:
    """Answers by method and path; anything else is 404. `asked` keeps what came, with its JSON body."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def says(self, method: str, path: str, content: Any, status: int = 200) -> None:
        self.answers[method, f"/{path}"] = (status, content)


@contextmanager
def google() -> Iterator[tuple[GoogleStandIn, GoogleRest]]:
    """A stand-in, and the client that takes it for every host."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            stand_in.asked.append((self.command, self.path, body))
            status, content = stand_in.answers.get((self.command, self.path), (404, {}))
            if callable(content):
                content = content(body)
            data = b"" if self.command == "HEAD" else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_HEAD = _answer

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = GoogleStandIn(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    http = requests.Session()
    try:
        yield stand_in, GoogleRest(http, stand_in.url)
    finally:
        http.close()
        server.shutdown()
        server.server_close()
        thread.join(5)
