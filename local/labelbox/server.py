"""The HTTP server: GraphQL at /graphql and /_gql, signed files, rows' files, and the control paths."""

from __future__ import annotations

import hmac
import json
import mimetypes
import shutil
import sys
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from local.labelbox import control
from local.labelbox.corpus import FILES_FOLDER, Corpus
from local.labelbox.document import parse
from local.labelbox.errors import BadInput, GraphQLFault, NotFound, Unauthenticated
from local.labelbox.execution import Answer, execute, refusal
from local.labelbox.links import BadLink, Links
from local.labelbox.multipart import request_of
from local.labelbox.operations import Operations
from local.labelbox.store import Store
from local.labelbox.switches import BadSwitch, SwitchBoard

LOOPBACK = "127.0.0.1"
LARGEST_BODY_BYTES = 1 << 30
GRAPHQL_PATHS = ("/graphql", "/_gql")
RATE_LIMIT_MESSAGE = "You have exceeded the API rate limit. Please try again later."


class LabelboxServer(ThreadingHTTPServer):
    """Binds at once (port 0: any free one); `serve_forever` answers; `close` lets every waiting request go."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, corpus: Corpus, state_dir: Path, api_key: str, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.base_url = f"http://{LOOPBACK}:{self.server_address[1]}"
        self.store = Store(state_dir / "labelbox.sqlite")
        self.board = SwitchBoard(self.store)
        self.links = Links(self.base_url, self.store.signing_key(), self.board)
        self.operations = Operations(corpus, self.store, self.board, self.links, state_dir)
        self.schemas = {path: self.operations.schema(experimental=path == "/_gql") for path in GRAPHQL_PATHS}
        self.api_key = api_key

    def close(self) -> None:
        """Stop answering and close the state. Call it from another thread than serve_forever's."""
        self.board.stop()
        self.shutdown()
        self.server_close()
        self.store.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is printed as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: LabelboxServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # with Nagle each small answer on a kept connection takes 41 ms
    timeout = 120

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a run makes thousands of requests."""

    def do_GET(self) -> None:
        """Files and control."""
        self._route(self._get)

    def do_HEAD(self) -> None:
        """As GET without the body: the SDK asks so before an import by URL."""
        self._route(self._get)

    def do_POST(self) -> None:
        """GraphQL and settings."""
        body = self._body()
        if body is not None:  # read before any answer: closing over unread bytes would reset the connection
            self._route(lambda path, query: self._post(path, body))

    def _route(self, answer: Callable[[str, str], None]) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if not path.startswith("/_control/") and not self._healthy():
            return
        try:
            answer(path, url.query)
        except (FileNotFoundError, NotFound):
            self._json(404, {"message": f"There is nothing at {path}."})
        except BadLink as error:
            self._bytes(
                error.status, f"<Error><Code>{error.code}</Code><Message>{error}</Message></Error>", "application/xml"
            )

    def _healthy(self) -> bool:
        """Wait as the switches say; False when the request is already dealt with."""
        board = self.server.board
        switches = board.now()
        if switches.hang_s:
            board.pause(switches.hang_s, "hang_s")
            self.close_connection = True
            return False
        if switches.latency_s:
            board.pause(switches.latency_s, "latency_s")
        if switches.down:
            self._bytes(503, "upstream is down", "text/plain")
            return False
        return True

    # GET

    def _get(self, path: str, query: str) -> None:
        if path == "/_control/state":
            self._json(200, control.state(self.server.operations, self.server.board))
        elif path == "/_control/settings":
            self._json(200, self.server.board.change({}))
        elif path == "/_control/predictions":
            run_id = parse_qs(query).get("modelRunId", [""])[0]
            if run_id not in self.server.operations.corpus.runs:
                raise NotFound("ModelRun", run_id)
            self._files(list(self.server.operations.imports.received(run_id)), "application/x-ndjson")
        elif path.startswith("/signed/"):
            self.server.links.check(path, query, required=True)
            self._signed(path.split("/")[2:])
        elif path.startswith("/files/"):
            self.server.links.check(path, query, required=False)
            self._row_file(path)
        else:
            raise FileNotFoundError(path)

    def _signed(self, parts: list[str]) -> None:
        operations = self.server.operations
        if parts[0] == "export":
            file, start, length = operations.exports.content(parts[1], int(parts[2]))
            self._file(file, "application/x-ndjson", start, length)
        elif parts[0] == "import":
            self._file(operations.imports.file(parts[1], parts[2]), "application/x-ndjson")
        else:
            self._file(operations.uploads / parts[1], "application/octet-stream")

    def _row_file(self, path: str) -> None:
        """/files/<source>/<path below files/>; links and .. that lead out of the folder find nothing."""
        _, _, name, relative = path.split("/", 3) if path.count("/") >= 3 else ("", "", "", "")
        source = next((source for source in self.server.operations.corpus.sources if source.name == name), None)
        if source is None:
            raise FileNotFoundError(path)
        folder = (source.folder / FILES_FOLDER).resolve()
        file = (folder / relative).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise FileNotFoundError(path)
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self._file(file, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)

    # POST

    def _post(self, path: str, body: bytes) -> None:
        if path in GRAPHQL_PATHS:
            if self.server.board.take_one("rate_limit"):
                self._json(429, {"message": RATE_LIMIT_MESSAGE})
                return
            answer = self._graphql(path, body)
            self._json(answer.status, answer.body)
        elif path == "/_control/settings":
            try:
                wanted = json.loads(body)
                if not isinstance(wanted, dict):
                    raise BadSwitch("the body must be a JSON object of switches")
                self._json(200, self.server.board.change(wanted))
            except ValueError as error:
                self._json(400, {"message": str(error)})
        else:
            raise FileNotFoundError(path)

    def _graphql(self, path: str, body: bytes) -> Answer:
        try:
            expected = f"Bearer {self.server.api_key}"
            if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected.encode()):
                raise Unauthenticated
            content_type = self.headers.get("Content-Type", "")
            request = request_of(content_type, body) if content_type.startswith("multipart/") else _json_request(body)
            variables = request.get("variables") or {}
            if not isinstance(request.get("query"), str) or not isinstance(variables, dict):
                raise BadInput('A request needs "query" (a text) and, if any, "variables" (an object).')
            return execute(self.server.schemas[path], parse(str(request["query"])), variables)
        except GraphQLFault as fault:
            return refusal(fault)

    def _body(self) -> bytes | None:
        """The request's body; None when it was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
            self.close_connection = True
            self._json(411 if not length.isdigit() else 413, {"message": "a Content-Length of at most 1 GiB is needed"})
            return None
        return self.rfile.read(int(length))

    # Answers

    def _json(self, status: int, body: object) -> None:
        self._bytes(status, json.dumps(body), "application/json")

    def _bytes(self, status: int, body: str, content_type: str) -> None:
        content = body.encode()
        self._head(status, content_type, len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, content_type: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _files(self, files: Iterable[Path], content_type: str) -> None:
        files = list(files)
        self._head(200, content_type, sum(file.stat().st_size for file in files))
        for file in files:
            if self.command != "HEAD":
                with file.open("rb") as content:
                    shutil.copyfileobj(content, self.wfile)

    def _file(self, file: Path, content_type: str, start: int = 0, length: int | None = None) -> None:
        with file.open("rb") as content:
            content.seek(start)
            left = file.stat().st_size - start if length is None else length
            self._head(200, content_type, left)
            while self.command != "HEAD" and left > 0 and (block := content.read(min(left, 1 << 16))):
                self.wfile.write(block)
                left -= len(block)


def _json_request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise BadInput(f"The body is no JSON: {error}") from error
    if not isinstance(request, dict):
        raise BadInput("The body must be a JSON object.")
    return request
