"""The benchmarks' storage answers as the embedded cloud's own: the orchestrator's client cannot tell them apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.object_server import PAGE, Objects, ObjectServer
from local.gcs import StorageServer
from orchestrator.storage import Bucket


@pytest.fixture(params=[StorageServer, ObjectServer])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with request.param(tmp_path / "objects") as server:
        server.create_bucket("bucket")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.host)
        yield Bucket("bucket", 20.0)


def test_both_servers_create_once_read_list_and_delete_alike(bucket: Bucket) -> None:
    data = b'{"line": "\r\n--x\r\n"}'
    for name in ("facts/runs/b/2/z.json", "facts/runs/a/1/told/ü +.json", "facts/runs/a/1/accepted.json"):
        assert bucket.create(name, data) and not bucket.create(name, b"other")
        assert bucket.read(name) == data
    assert bucket.read("facts/runs/a") is None
    listed = list(bucket.list("facts/runs/a/"))
    assert [item.name for item in listed] == ["facts/runs/a/1/accepted.json", "facts/runs/a/1/told/ü +.json"]
    assert listed[0].created >= listed[1].created
    assert list(bucket.folders("facts/runs/")) == ["a", "b"] and list(bucket.folders("facts/none/")) == []
    for _ in range(2):
        bucket.delete("facts/runs/b/2/z.json")
    assert list(bucket.folders("facts/runs/")) == ["a"]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: bucket.create("facts/contested", b"{}"), range(16))) == 1


def test_both_servers_take_what_a_quick_job_uploads(bucket: Bucket) -> None:
    host, connections = bucket._server()
    url = f"{host}/upload/storage/v1/b/bucket/o?uploadType=media&name=endings%2Fresult.json"
    assert connections.send("POST", url, {}, b"{}", timeout_s=5).status == 200
    assert bucket.read("endings/result.json") == b"{}"


def upload(objects: Objects, name: str) -> None:
    assert objects.answer("POST", f"/upload/storage/v1/b/bucket/o?uploadType=media&name={name}", {}, b"x")[0] == 200


def test_every_object_is_on_one_page_and_announced_once() -> None:
    announced: list[str] = []
    objects = Objects(lambda _bucket, name, _generation: announced.append(name))
    objects.answer("POST", "/storage/v1/b?project=any", {}, b'{"name": "bucket"}')
    names = [f"active/{number:05d}" for number in range(2 * PAGE + 1)]
    for name in reversed(names):
        upload(objects, name)
    found: list[str] = []
    token = ""
    while True:
        query = f"prefix=active/&pageToken={token}" if token else "prefix=active/"
        page = json.loads(objects.answer("GET", f"/storage/v1/b/bucket/o?{query}", {}, b"")[1])
        found += [item["name"] for item in page["items"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert found == names and announced == names[::-1]


def test_a_bucket_that_is_not_there_is_not_found() -> None:
    objects = Objects(lambda *_: None)
    for method, path in (("GET", "/storage/v1/b/none/o"), ("POST", "/upload/storage/v1/b/none/o?uploadType=media")):
        assert objects.answer(method, path, {}, b"")[0] == 404
