"""The public door: whatever is sent to the coordinator is answered 2xx or 4xx, and nothing of it shows or stays."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import socket
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.cloud import SERVICE_SECRET
from local.functions import COORDINATOR_THREADS
from local.processes import LOOPBACK
from orchestrator.signature import sign
from orchestrator.webhook import BODY_LIMIT
from tests.end_to_end.quick_jobs import QUICK, request_body
from tests.hostile.conftest import MARK, MODEL_RUNS, Answer, HostileCloud, assert_answered

KEYS = ("modelRunId", "modelType", "modelId")
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
ids = st.one_of(
    st.integers(),
    st.text(max_size=220),
    any_json,
    st.sampled_from(["../../facts/runs/x", "..", "a/b", "a\\b", "%2e%2e%2f", "a\0b", "\ud800", "x" * 201, "é", "٣"]),
)
payloads = st.fixed_dictionaries(
    {}, optional={"modelRunId": ids, "modelType": st.sampled_from([QUICK, "none"]) | ids, "modelId": ids}
)
tokens = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)


def digest(body: bytes, algorithm: str = "sha1", secret: str = SERVICE_SECRET) -> str:
    return hmac.new(secret.encode(), body, algorithm).hexdigest()


@given(payloads)
def test_a_signed_payload_of_any_values_is_2xx_or_4xx(hostile: HostileCloud, payload: dict[str, object]) -> None:
    assert_answered(hostile.signed(json.dumps(payload).encode()))


@given(st.binary(max_size=300))
def test_signed_bytes_that_are_no_payload_are_400(hostile: HostileCloud, body: bytes) -> None:
    answer = hostile.signed(body)
    assert_answered(answer)
    assert answer.status == 400


@given(
    st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "X-ANY"]),
    st.lists(st.sampled_from(["model_run", "models", "ping", "..", "%00", "%ff", "é", "a", ""]), max_size=4),
    st.dictionaries(
        st.sampled_from(["x-hub-signature", "x-hub-signature-256", "traceparent", "cookie", "content-type", "range"]),
        tokens,
        max_size=4,
    ),
)
def test_any_method_at_any_path_is_2xx_or_4xx(
    hostile: HostileCloud, method: str, parts: list[str], headers: Mapping[str, str]
) -> None:
    path = "/" + "/".join(part.replace("é", "%C3%A9") for part in parts)
    assert_answered(hostile.ask("coordinator", method, path, b"", headers))


def bodies() -> Iterator[tuple[str, bytes, int]]:
    """Signed bodies with what they are answered."""
    run = MODEL_RUNS[0]
    yield "deep arrays", b"[" * 30_000 + b"]" * 30_000, 400
    yield "deep objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400
    yield "deep at the parser's limit", b'{"modelId":' + b"[" * 900 + b"]" * 900 + b"}", 400
    yield "a huge number", b'{"modelRunId": 1' + b"0" * 5_000 + b"}", 400
    yield "infinity", b'{"modelRunId": 1e999, "modelType": NaN}', 400
    yield "UTF-16", request_body("no-such-run").decode().encode("utf-16"), 404
    yield "UTF-7", request_body(run).decode().encode("utf-7").replace(b'"', b"+ACI-"), 400
    yield "Latin-1", '{"modelRunId": "é", "modelType": "quick"}'.encode("latin-1"), 400
    yield "a byte order mark twice", b"\xef\xbb\xbf\xef\xbb\xbf{}", 400
    yield "NULs", b"\0" * 1000, 400
    yield "an escaped NUL in the id", b'{"modelRunId": "a\\u0000b", "modelType": "quick"}', 400
    yield "half a surrogate pair", b'{"modelRunId": "\\ud800", "modelType": "quick"}', 400
    yield "half a surrogate pair as model id", b'{"modelRunId":"no-such","modelType":"quick","modelId":"\\ud800"}', 400
    yield (
        "a control character as model id",
        b'{"modelRunId":"no-such","modelType":"quick","modelId":"a\\u001b[2J"}',
        400,
    )
    yield "numbers as ids", b'{"modelRunId": 7, "modelType": 7, "modelId": 7}', 400
    yield "a path as id", b'{"modelRunId": "../../active/x", "modelType": "quick"}', 404
    yield "a path as type", b'{"modelRunId": "no-such", "modelType": "../quick"}', 400
    yield "a folder as type", b'{"modelRunId": "no-such", "modelType": "custom/quick"}', 400
    yield "right-to-left", '{"modelRunId": "\u202eabc", "modelType": "quick"}'.encode(), 400
    yield "a doubled key", b'{"modelRunId": "x", "modelRunId": 5, "modelType": "quick"}', 400
    yield "two documents", request_body(run) * 2, 400
    yield "a form", b"modelRunId=x&modelType=quick", 400
    yield "GraphQL in the id", b'{"modelRunId": "\\") { secret }", "modelType": "quick"}', 404
    at_limit = b'{"modelRunId": "no-such", "modelType": "quick", "x": "'
    yield "64 KiB exactly", at_limit + b"a" * (BODY_LIMIT - len(at_limit) - 2) + b'"}', 404
    yield "64 KiB and one byte", at_limit + b"a" * (BODY_LIMIT - len(at_limit) - 1) + b'"}', 413
    yield "a megabyte", b"a" * 1_000_000, 413


@pytest.mark.parametrize(("body", "status"), [pytest.param(b, s, id=name) for name, b, s in bodies()])
def test_a_signed_body_is_answered_with_its_own_4xx(hostile: HostileCloud, body: bytes, status: int) -> None:
    answer = hostile.signed(body)
    assert_answered(answer)
    assert answer.status == status


def signatures(body: bytes) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Headers over one body, and whether they are a signature."""
    sha1, sha256 = digest(body), digest(body, "sha256")
    yield "as Labelbox sends it", {"X-Hub-Signature": f"sha1={sha1}"}, True
    yield "another case of name and digits", {"x-HUB-signature": f"sha1={sha1.upper()}"}, True
    yield "SHA-256", {"X-Hub-Signature-256": f"sha256={sha256}"}, True
    yield "both, right", {"X-Hub-Signature": f"sha1={sha1}", "X-Hub-Signature-256": f"sha256={sha256}"}, True
    yield (
        "the stronger one wrong",
        {"X-Hub-Signature": f"sha1={sha1}", "X-Hub-Signature-256": "sha256=" + "0" * 64},
        False,
    )
    yield "the stronger one empty", {"X-Hub-Signature": f"sha1={sha1}", "X-Hub-Signature-256": ""}, False
    yield "no signature", {}, False
    yield "empty", {"X-Hub-Signature": ""}, False
    yield "no hash named", {"X-Hub-Signature": sha1}, False
    yield "hash named in capitals", {"X-Hub-Signature": f"SHA1={sha1}"}, False
    yield "MD5", {"X-Hub-Signature": f"md5={digest(body, 'md5')}"}, False
    yield "SHA-512", {"X-Hub-Signature": f"sha512={digest(body, 'sha512')}"}, False
    yield "SHA-256 under the old name", {"X-Hub-Signature": f"sha256={sha256}"}, False
    yield "SHA-1 under the new name", {"X-Hub-Signature-256": f"sha1={sha1}"}, False
    yield "a plain hash without the secret", {"X-Hub-Signature": f"sha1={hashlib.sha1(body).hexdigest()}"}, False
    yield "an empty secret", {"X-Hub-Signature": f"sha1={digest(body, secret='')}"}, False
    yield "one digit short", {"X-Hub-Signature": f"sha1={sha1[:-1]}"}, False
    yield "one digit long", {"X-Hub-Signature": f"sha1={sha1}0"}, False
    yield "two in one", {"X-Hub-Signature": f"sha1={sha1},sha1={sha1}"}, False
    yield "wide digits", {"X-Hub-Signature": "sha1=" + "\u00b2" * 40}, False
    yield "an underscore in the name", {"X_Hub_Signature": f"sha1={sha1}"}, False
    yield "of the body and a newline", {"X-Hub-Signature": sign(body + b"\n", SERVICE_SECRET)}, False


UNKNOWN = request_body("no-such-run")


@pytest.mark.parametrize(
    ("headers", "is_one"), [pytest.param(headers, is_one, id=name) for name, headers, is_one in signatures(UNKNOWN)]
)
def test_only_a_signature_opens_the_door(hostile: HostileCloud, headers: dict[str, str], is_one: bool) -> None:
    answer = hostile.ask("coordinator", "POST", "/model_run", UNKNOWN, headers)
    assert_answered(answer)
    assert answer.status == (404 if is_one else 401)


def raw_request(*headers: str, body: bytes = b"") -> bytes:
    lines = ["POST /model_run HTTP/1.1", "Host: x", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def raw_requests() -> Iterator[tuple[str, bytes, set[int]]]:
    """Requests as bytes, with the statuses they may be answered with; 0 stands for a closed connection."""
    signed = f"X-Hub-Signature: {sign(UNKNOWN, SERVICE_SECRET)}"
    large = b"a" * (BODY_LIMIT + 1)
    length = f"Content-Length: {len(UNKNOWN)}"
    yield "chunked, no length", raw_request(signed, "Transfer-Encoding: chunked", body=chunked(UNKNOWN)), {404}
    yield (
        "chunked and too large",
        raw_request(
            f"X-Hub-Signature: {sign(large, SERVICE_SECRET)}", "Transfer-Encoding: chunked", body=chunked(large, 4000)
        ),
        {413},
    )
    yield "no length at all", raw_request(signed, body=UNKNOWN), {401}
    yield "two signatures, right and wrong", raw_request(signed, "X-Hub-Signature: sha1=0", length, body=UNKNOWN), {401}
    yield "two equal signatures", raw_request(signed, signed, length, body=UNKNOWN), {401}
    yield "two lengths", raw_request(signed, "Content-Length: 1", length, body=UNKNOWN), {400}
    yield (
        "length and chunks",
        raw_request(signed, length, "Transfer-Encoding: chunked", body=chunked(UNKNOWN)),
        {0, 400, 401, 404},
    )
    yield "a negative length", raw_request(signed, "Content-Length: -1", body=UNKNOWN), {400}
    yield "a length of words", raw_request(signed, "Content-Length: many", body=UNKNOWN), {400}
    yield "a body that ends early", raw_request(signed, "Content-Length: 5000", body=UNKNOWN), {0, 400, 401, 404}
    for name, chunks in {
        "chunks that are none": f"{MARK}\r\n",
        "a chunk that ends early": f"fff\r\n{MARK}",
        "a chunk of an endless size": f"{'f' * 5000}\r\n{MARK}",
        "a chunk without its end": f"1\r\n{MARK}\r\n0\r\n\r\n",
    }.items():
        yield name, raw_request(signed, "Transfer-Encoding: chunked", body=chunks.encode()), {0, 400, 401}
    yield (
        "a thousand headers",
        raw_request(*(f"X-{n}: {MARK}" for n in range(1000)), length, body=UNKNOWN),
        {0, 400, 431},
    )
    yield "a header of a megabyte", raw_request("X-Long: " + MARK * 50_000), {0, 400, 431}
    yield "a header with a NUL", raw_request(f"X-Nul: {MARK}\0{MARK}"), {400}
    yield "a header without a name", raw_request(f": {MARK}"), {400}
    yield "a header that is none", raw_request(f"<script> {MARK}"), {400}
    yield "a folded header", raw_request("X-Folded: a", f" {MARK}"), {400, 401}
    yield "HTTP/9", b"POST /model_run HTTP/9.9\r\n\r\n", {0, 400, 505}
    yield "no HTTP", b"\x16\x03\x01\x02\x00\x01\x00" + MARK.encode(), {0, 400}
    yield (
        "a long first line",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        {0, 404, 414},
    )
    yield "a NUL in the path", b"GET /models\0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {400, 401, 404}
    yield "a whole address", b"GET http://evil.example/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {401}
    yield "a method in lower case", b"get /models HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401, 405}


@pytest.mark.parametrize(
    ("request_bytes", "statuses"), [pytest.param(raw, statuses, id=name) for name, raw, statuses in raw_requests()]
)
def test_a_request_that_breaks_http_is_refused_without_an_echo(
    hostile: HostileCloud, request_bytes: bytes, statuses: set[int]
) -> None:
    received = hostile.raw("coordinator", request_bytes)
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1]) if head else 0
    assert status in statuses, received[:300]
    if head:
        assert_answered(Answer(status, {"head": head.decode("latin-1")}, body))
    if b"Invalid HTTP Header" in body:  # the HTTP server's own page names the line to its sender, escaped
        body = body.replace(MARK.encode(), b"")
    assert MARK.encode() not in head + body and b"<script>" not in body


def test_requests_that_stop_in_the_middle_hold_no_other(hostile: HostileCloud) -> None:
    address = (LOOPBACK, hostile.cloud.functions["coordinator"].port)
    with contextlib.ExitStack() as open_connections:
        for _ in range(COORDINATOR_THREADS - 1):  # a Cloud Run instance is given no more at once than it has threads
            connection = open_connections.enter_context(socket.create_connection(address, timeout=10))
            connection.sendall(raw_request("X-Hub-Signature: sha1=" + "0" * 40, "Content-Length: 5000", body=b"{"))
        assert hostile.ask("coordinator", "GET", "/ping").status == 200


def test_replayed_and_reordered_requests_start_each_run_once(hostile: HostileCloud) -> None:
    """Also one whose id only another spelling of the JSON tells apart: the run is found by its id, not by its bytes."""
    names: dict[str, set[str]] = {}
    for run in (MODEL_RUNS[0], MODEL_RUNS[1], MODEL_RUNS[0], MODEL_RUNS[1], MODEL_RUNS[0]):
        for body in (request_body(run), request_body(run).replace(b": ", b" :\n")):
            answer = hostile.signed(body)
            assert_answered(answer)
            if answer.status == 202 or json.loads(answer.body)["runId"].endswith(".1"):
                names.setdefault(run, set()).add(json.loads(answer.body)["runId"])
    assert names == {run: {f"{run}.1"} for run in MODEL_RUNS[:2]}


def test_what_is_not_signed_leaves_no_trace_anywhere(hostile: HostileCloud) -> None:
    body = json.dumps({"modelRunId": MARK, "modelType": MARK, MARK: MARK}).encode()
    headers = {"X-Hub-Signature": "sha1=" + "0" * 40, "X-Marked": MARK, "Cookie": MARK, "traceparent": f"00-{MARK}-1-1"}
    for path in ("/model_run", f"/{MARK}", f"/models?{MARK}"):
        for method in ("POST", "GET", "PUT"):
            answer = hostile.ask("coordinator", method, path, body, headers)
            assert_answered(answer)
            assert answer.status in (401, 404, 405)
            assert MARK not in answer.text
    assert hostile.places_of(MARK) == []
