"""Pictures of strangers through a whole image pipeline at once: each bad one costs its own row, for its reason."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local import deployment
from local.cloud import API_KEY, SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.job_environments import prepare
from local.labelbox_side import TrainingRequest
from local.run_view import RunReader, RunView
from local.state import StateFolder
from orchestrator.identities import RunId
from orchestrator.pipelines import read_pipelines

PIPELINE = "image_knn_classification"
SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "image_single_classification"


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that says it has this size, whatever its data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


# What stands in a file in the place of its picture, given the picture.
FILES: dict[str, Callable[[bytes], bytes]] = {
    "a bomb of pixels": lambda _: png(60_000, 60_000, b"\0" * 1_000_000),
    "a picture without data": lambda _: png(100, 100),
    "a picture of no size": lambda _: png(0, 0),
    "a page": lambda _: b"<html><script>alert(1)</script></html>",
    "SVG with a script": lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "a picture cut off": lambda picture: picture[: len(picture) // 2],
    "nothing but a beginning": lambda picture: picture[:20],
    "NULs": lambda _: b"\0" * 5000,
    "a GIF without frames": lambda _: b"GIF89a\x10\x00\x10\x00\x00\x00\x00;",
    "PostScript that reads a file": lambda _: (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n"
    ),
}
ADDRESSES = {
    "http://169.254.169.254/computeMetadata/v1/": "address_refused",
    "http://[::ffff:169.254.169.254]/a.jpg": "address_refused",
    "gs://local-model-training/facts/x": "bucket_refused",
    "s3://bucket/a.jpg": "bad_url",
    "http://127.0.0.1:99999/a.jpg": "bad_url",
    "file:///etc/passwd": "bad_url",
    "files/../../../../etc/passwd": "not_found",
    "files/no-such.jpg": "not_found",
}


@dataclass
class Spoiled:
    """A copy of the sample with hostile rows in it, and the reason for which each must be skipped."""

    folder: Path
    expected: dict[str, str]
    rows: list[str]


def spoil(samples: Path) -> Spoiled:
    folder = samples / "pictures"
    shutil.copytree(SAMPLE, folder)
    rows = [json.loads(line) for line in (folder / "export.ndjson").read_text().splitlines()]
    files = {path.read_bytes(): 0 for path in (folder / "files").iterdir()}
    assert len(files) > len(FILES)
    # Spoiled rows come evenly from everywhere, so that no split or class loses all of its rows.
    hostile = iter(rows[:: len(rows) // (len(FILES) + len(ADDRESSES))])
    expected = {}
    for make in FILES.values():
        row = next(hostile)["data_row"]
        picture = folder / row["row_data"]
        (folder / "files" / f"hostile-{len(expected)}.jpg").write_bytes(make(picture.read_bytes()))
        row["row_data"] = f"files/hostile-{len(expected)}.jpg"
        expected[row["id"]] = "unreadable_image"
    for address, reason in ADDRESSES.items():
        row = next(hostile)["data_row"]
        row["row_data"], expected[row["id"]] = address, reason
    (folder / "export.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Spoiled(folder, expected, [row["data_row"]["id"] for row in rows])


@dataclass
class PictureRun:
    """The finished run, and all that it left."""

    cloud: EmbeddedCloud
    spoiled: Spoiled
    request: TrainingRequest
    view: RunView

    def text(self, output: str) -> str:
        return self.cloud.local_path(self.view.outputs()[output]).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, eventually: Any) -> Iterator[PictureRun]:
    folder: Path = tmp_path_factory.mktemp("pictures")
    spoiled = spoil(folder / "samples")
    state = StateFolder(folder / "state")
    options = CloudOptions(samples_dir=folder / "samples")
    pipeline = read_pipelines()[PIPELINE]
    prepare(pipeline, options.environments_dir, state, Console(quiet=True))
    with EmbeddedCloud(state, options) as cloud:
        request = TrainingRequest.for_export(spoiled.folder / "export.ndjson", PIPELINE)
        run_id = RunId.parse(request.send(cloud.origin, SERVICE_SECRET)["runId"])
        assert run_id is not None
        reader = RunReader(cloud.storage.host, deployment.BUCKET, run_id, pipeline)
        ends = ("COMPLETE", "FAILED")
        eventually(lambda: cloud.labelbox_control.model_run(request.model_run_id).status in ends, "the run ends", 300)
        yield PictureRun(cloud, spoiled, request, reader.look())


def test_a_run_with_hostile_pictures_ends_complete(run: PictureRun) -> None:
    assert (run.view.outcome, run.view.sentence) == ("COMPLETE", "")


def test_each_hostile_picture_is_skipped_for_its_reason_and_no_other(run: PictureRun) -> None:
    report = json.loads(run.text("etl.export.dataset_report"))
    found = {row: reason for reason, skipped in report["skipped"].items() for row in skipped["ids"]}
    assert found == run.spoiled.expected


def test_every_picture_that_was_kept_is_predicted(run: PictureRun) -> None:
    kept = set(run.spoiled.rows) - run.spoiled.expected.keys()
    manifest = [json.loads(line) for line in run.text("etl.export.manifest").split("\n") if line]
    assert {row["data_row_id"] for row in manifest} == kept
    lines = run.text("inference.evaluate.predictions").split("\n")
    assert {json.loads(line)["dataRow"]["id"] for line in lines if line} <= kept


def test_nothing_is_written_outside_the_prefixes_of_the_run_and_of_images(run: PictureRun) -> None:
    bucket = run.cloud.local_path(f"gs://{deployment.BUCKET}")
    model_run = run.request.model_run_id
    own = [f"{top}/{model_run}/1/" for top in ("facts/runs", "data", "endings", "batch")]
    others = [
        name
        for name in (str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file())
        if not name.startswith((*own, "images/", f"active/{model_run}.1.", "facts/days/", f"reports/{PIPELINE}/"))
    ]
    assert others == []
    assert {path.name for path in bucket.parent.iterdir() if path.is_dir()} == {deployment.BUCKET}


def test_no_file_of_the_run_holds_a_secret_or_a_file_of_the_machine(run: PictureRun) -> None:
    files = [path for path in run.cloud.state.path.rglob("*") if path.is_file() and path.name != "secrets.json"]
    assert len(files) > 50
    for planted in (API_KEY, SERVICE_SECRET, "root:x:0:0"):
        assert [str(path) for path in files if planted.encode() in path.read_bytes()] == []
