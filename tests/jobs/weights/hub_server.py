"""A hub with one model, in the shapes of the hub's API: https://huggingface.co/docs/hub/api."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

from weights.hub import Hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = b"weights" * 50_000
FILES = {"config.json": b'{"hidden": 8}', "model.safetensors": WEIGHTS, "pytorch_model.bin": b"pickle", "x.py": b"code"}


class HubServer:
    """Serves `org/model` while it is entered. `failures`: that many answers are 503; `cut`: bytes that are missing."""

    def __init__(self) -> None:
        self.files, self.failures, self.asked, self.cut = dict(FILES), 0, list[str](), 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if outer.failures:
                    outer.failures -= 1
                    return self._answer(503, b"later")
                if self.path == "/api/models/org/model/revision/main?blobs=true":
                    return self._answer(200, json.dumps(outer.listing()).encode())
                name = self.path.removeprefix(f"/org/model/resolve/{COMMIT}/")
                if name in outer.files:
                    return self._answer(200, outer.files[name])
                return self._answer(404, b"no such thing")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) - outer.cut])

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.client = Hub(self.address, pause_s=0)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def listing(self) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
        for item in siblings:
            if item["rfilename"] == "model.safetensors":
                item["lfs"] = {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS), "pointerSize": 134}
        return {"sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}}
