"""A web server that answers as strangers may, and an export whose rows point at it and worse."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

MODEL, MODEL_RUN = "9a000000-0000-0000-0000-0000000000ee", "9a000000-0000-0000-0000-0000000000ff"
QUESTION = "clq0000000000000000000001"
# Class names as a stranger with access to the ontology may choose them.
CLASSES = {
    "clo0000000000000000000001": "plain",
    "clo0000000000000000000002": "<script>alert('class')</script>",
    "clo0000000000000000000003": "a \"quoted\", 'class' & more",
    "clo0000000000000000000004": "two\nlines\tand a tab",
    "clo0000000000000000000005": '=HYPERLINK("http://evil.example")',
    "clo0000000000000000000006": "../../up/and/away",
    "clo0000000000000000000007": "plain",
    "clo0000000000000000000008": "</title><img src=x onerror=alert(1)>" + "long " * 100,
}
# The metadata server in full-width digits, which name resolution reads as digits.
WIDE = "".join(chr(ord(digit) + 0xFEE0) if digit != "." else "." for digit in "169.254.169.254")
SLOW_TEXT = "slowly and surely this text arrives as one whole"
SCRIPT_TEXT = "</td><script>alert('row')</script><img src=x onerror=alert(2)> of the second kind"


class _Stranger(BaseHTTPRequestHandler):
    """Each path is one way to misbehave."""

    protocol_version = "HTTP/1.0"
    bodies: ClassVar = {
        "/empty": b"",
        "/spaces": b" \n\t ",
        "/not-utf8": b"\xff\xfe\x00\xd8 caf\xe9",
        "/nul": b"a text\0with a NUL",
        "/large": b"x" * 10_000_000,
        "/gzip": bytes.fromhex("1f8b08000000000000ff") + b"\xab" * 500,
        "/script": SCRIPT_TEXT.encode(),
    }
    redirects: ClassVar = {
        "/to-metadata": "http://169.254.169.254/computeMetadata/v1/",
        "/to-file": "file:///etc/passwd",
        "/to-itself": "/to-itself",
        "/to-nowhere": "",
        "/to-broken": "http://[::1",
    }

    def do_GET(self) -> None:
        if self.path in self.redirects:
            self.send_response(302)
            self.send_header("Location", self.redirects[self.path])
            self.end_headers()
        elif self.path == "/slow":
            self._start(len(SLOW_TEXT))
            for character in SLOW_TEXT:
                self.wfile.write(character.encode())
                time.sleep(0.03)  # the slowness is the test
        elif self.path == "/endless":
            self._start(None)
            while True:  # until the other side hangs up
                self.wfile.write(b"endless " * 8192)
        elif self.path == "/short":
            self._start(1000)
            self.wfile.write(b"too short")
        elif self.path == "/busy":
            self.send_response(503)
            self.send_header("Retry-After", "nan")
            self.end_headers()
        elif self.path in self.bodies:
            self._start(len(self.bodies[self.path]))
            self.wfile.write(self.bodies[self.path])
        else:
            self.send_error(404)

    def _start(self, length: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip" if self.path == "/gzip" else "identity")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """The other side hangs up on what is too large: that is what it should do."""


@contextmanager
def stranger() -> Iterator[str]:
    """The server's origin."""
    with _Server(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@dataclass
class Export:
    """Rows and what must become of each: the reason why it is skipped, or `kept`, with a note where it has no label."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    expected: dict[str, str] = field(default_factory=dict)

    def add(self, row_id: str, row_data: object, expected: str, labels: object = None, **data_row: object) -> None:
        """One data row of the model run."""
        run = {"name": "run", "labels": [] if labels is None else labels, "predictions": [], "split": "TRAINING"}
        run["split"] = ("TRAINING", "TRAINING", "VALIDATION", "TEST")[len(self.rows) % 4]
        self.rows.append(
            {
                "data_row": {"id": row_id, "global_key": f"key-{row_id}", "row_data": row_data, **data_row},
                "media_attributes": {"asset_type": "text"},
                "experiments": {MODEL: {"name": "hostile", "runs": {MODEL_RUN: run}}},
            }
        )
        self.expected[row_id] = expected

    def write(self, samples: Path) -> None:
        """As a sample folder of the Labelbox stand-in."""
        folder = samples / "hostile"
        (folder / "files").mkdir(parents=True)
        (folder / "export.ndjson").write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        (folder / "ontology.json").write_text(json.dumps(ontology()))


def ontology() -> dict[str, Any]:
    """One radio question with the hostile classes."""
    options = [
        {"schemaNodeId": f"n{key}", "featureSchemaId": key, "label": name, "value": f"v{key}", "options": []}
        for key, name in CLASSES.items()
    ]
    question = {
        "schemaNodeId": "n1",
        "featureSchemaId": QUESTION,
        "required": True,
        "type": "radio",
        "scope": "global",
        "name": "<b>Which?</b>",
        "instructions": "<b>Which?</b>",
        "uiMode": "hotkey",
        "options": options,
    }
    return {"name": "hostile", "normalized": {"tools": [], "classifications": [question]}}


def label(option: str, question: str = QUESTION, **answer: object) -> list[dict[str, Any]]:
    """One label with one answer."""
    chosen = {"feature_schema_id": option, "name": CLASSES.get(option, "?"), "value": f"v{option}", **answer}
    asked = {"feature_schema_id": question, "name": "<b>Which?</b>", "radio_answer": chosen}
    return [{"id": f"l-{option}", "annotations": {"objects": [], "classifications": [asked]}}]


def hostile_export(origin: str) -> Export:
    """Every hostile row at once, among enough good ones to learn from."""
    export = Export()
    for place, (option, name) in enumerate(CLASSES.items()):
        for number in range(8):
            text = f"good text number {number} of kind{place} with words{place} {'<i>' if number == 1 else name[:40]}"
            export.add(f"good-{place}-{number}", text, "kept", label(option))
    _addresses(export, origin)
    _texts(export)
    _labels(export)
    return export


def _addresses(export: Export, origin: str) -> None:
    option = next(iter(CLASSES))
    refused = (
        *("http://169.254.169.254/computeMetadata/v1/instance", "http://2852039166/", "http://0xa9fea9fe/"),
        *(
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            f"http://{WIDE}/",
            "http://[::ffff:169.254.169.254]/",
        ),
        *("http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::169.254.169.254]/", "http://[2002:a9fe:a9fe::]/"),
        *("http://[fe80::1]/", "http://0.0.0.0/", "http://[::]/", "http://224.0.0.1/", f"{origin}/to-metadata"),
        *("http://user:pass@169.254.169.254/", "https://169.254.169.254/", "HTTP://169.254.169.254/"),
    )
    by_reason = {
        "address_refused": refused,
        "bucket_refused": ("gs://local-model-training/facts/x", "gs://other/x", "gs://local-model-training"),
        "unsupported_address": ("s3://bucket/x", "azure://x/y"),
        "bad_url": (
            f"{origin}/to-file",
            "http://[::1",
            "http://127.0.0.1:99999/",
            "http://:80/",
            f"{origin}/to-broken",
        ),
        "too_many_redirects": (f"{origin}/to-itself",),
        "bad_answer": (f"{origin}/to-nowhere",),
        "not_found": (f"{origin}/nothing", f"{origin}/\ud800", f"{origin}/\u2603?\u00e9"),
        "empty_text": (f"{origin}/empty", f"{origin}/spaces"),
        "not_utf8": (f"{origin}/not-utf8", f"{origin}/gzip"),
        "not_text": (f"{origin}/nul",),
        "too_large": (f"{origin}/large", f"{origin}/endless"),
        "unreachable": (f"{origin}/short", f"{origin}/busy"),
        "kept": (f"{origin}/slow", f"{origin}/script", "file:///etc/passwd", "gopher://x/ and more words"),
    }
    for reason, addresses in by_reason.items():
        for number, address in enumerate(addresses):
            export.add(f"address-{reason}-{number}", address, reason, label(option))


def _texts(export: Export) -> None:
    option = next(iter(CLASSES))
    for number, (text, expected) in enumerate(
        [
            ("", "empty_text"),
            ("\u00a0\u2003", "empty_text"),
            ("a\0b", "not_text"),
            ("half \ud800 a pair", "not_utf8"),
            ("\u202eright to left\u202c and \u0007 a bell", "kept"),
            ("${parameters.seed} {{7*7}} %s %n $(id) `id`", "kept"),
            ("a\r\nb\u2028c\u2029d\x85e\x0bf", "kept"),
            ("x" * 1_000_000, "kept"),
            ("e\u0301" * 1000, "kept"),
        ]
    ):
        export.add(f"text-{number}", text, expected, label(option))


def _labels(export: Export) -> None:
    option = next(iter(CLASSES))
    for number, labels in enumerate(
        [
            label("clo-unknown"),
            label(option, question="clq-unknown"),
            label("../../x"),
            [],
            [{}],
            label(option) * 50,
            [*label(option), *label("clo0000000000000000000002")],
            label(option, name="\ud800 half", value="\ud800"),
            label(option, classifications=label("clo-unknown")[0]["annotations"]["classifications"]),
        ]
    ):
        export.add(f"label-{number}", f"a fine text with hostile labels, number {number}", "kept", labels)
    for number, labels in enumerate([7, "labels", [7], [None], [{"annotations": 7}], [[]]]):
        export.add(f"shape-{number}", f"a fine text with labels of no shape, number {number}", "unreadable_row", labels)
    for row_id in ("../../../etc/passwd", "<script>id</script>", 'a"b\\c', "x" * 300):
        export.add(row_id, f"a fine text of a row with a hostile id {len(row_id)}", "kept", label(option))
    for number, key in enumerate(["\ud800", "../..", "<script>key</script>", "k" * 5000, None, 7]):
        export.add(
            f"key-{number}", f"a fine text with a hostile key, number {number}", "kept", label(option), global_key=key
        )
    export.add("twin-1", "the same text twice", "kept", label(option), global_key="twin")
    export.add("twin-2", "the same text twice", "kept", label("clo0000000000000000000002"), external_id="\ud800")
