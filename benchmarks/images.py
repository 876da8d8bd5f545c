"""ETL of images: 2,000 JPEGs of 1024 x 768 from a server on loopback into the storage stand-in.

    .venv/bin/python -m benchmarks images

The limit beside it is a bare copy loop with as many threads: one GET and one upload an image, nothing looked at. Both
write into the stand-in over a file system in memory, so that the disk of this machine is not measured; its own backend
in memory is no limit for anybody: it looks through all objects at each request. Then the same rows again, which must
fetch and copy nothing; then servers that take 50 ms for each image.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import urllib3
from PIL import Image

from benchmarks.figures import Line, Took, peak_mb, timed
from jobkit.classification import Verdict
from jobkit.dataset_report import DatasetReport
from jobkit.export import ExportRow, parse_line
from jobkit.fetch import FetchRules
from jobkit.image.drafts import WORKERS, Drafter
from jobkit.image.store import ImageSource, ImageStore
from jobkit.storage import Storage
from local.gcs import StorageServer

COUNT, SIZE, SHOWN = 2_000, (1024, 768), 20
GOAL, SLOW_GOAL, SLOW_S = 650.0, 450.0, 0.05
BARE_MULTIPLE = 1.5
GOAL_MB = 250.0
BUCKET = "bench-images"
MEMORY = Path("/dev/shm")  # a file system in memory, where there is one


def pictures() -> list[bytes]:
    """Some JPEGs like photographs: smooth shapes with a little noise, about 200 KB each."""
    made = []
    for number in range(SHOWN):
        dice = np.random.default_rng(number)
        few = Image.fromarray(dice.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        noise = dice.normal(0, 12, (SIZE[1], SIZE[0], 1))
        out = io.BytesIO()
        shown = np.clip(np.asarray(few.resize(SIZE, Image.Resampling.BICUBIC)) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(shown).save(out, "JPEG", quality=80)
        made.append(out.getvalue())
    return made


@contextmanager
def picture_server(folder: Path, latency_s: float) -> Iterator[str]:
    """A process that serves /0 to /1999, each picture with a comment of its own and so with bytes of its own."""
    command = [sys.executable, "-m", "benchmarks.picture_server", str(folder), str(latency_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def export(url: str) -> list[bytes]:
    """The rows as Labelbox exports them."""
    return [
        json.dumps({"data_row": {"id": f"row{n}", "row_data": f"{url}/{n}"}, "media_attributes": {}}).encode()
        for n in range(COUNT)
    ]


def etl(storage: Storage, folder: str, lines: list[bytes]) -> tuple[Took, int]:
    """(the time of the image ETL's first pass, images that it fetched)."""
    rows: Iterator[ExportRow] = (parse_line(line, "run") for line in lines)
    report = DatasetReport("single", ())
    rules = FetchRules(allow_private=True)
    with (
        tempfile.TemporaryFile("w+") as file,
        ImageSource(storage, rules) as source,
        ImageStore(storage, f"gs://{BUCKET}/{folder}", source.read) as store,
        timed() as took,
    ):
        written = Drafter(store, lambda _: Verdict(labelled=False), lambda _: "test").write(rows, report, file)
        fetched = store.fetched
    assert written == len(lines), report.skipped.counts
    return took, fetched


def bare(host: str, url: str) -> Took:
    """The copy loop: every thread with one connection to each side."""
    pool = urllib3.PoolManager(maxsize=WORKERS)
    local = threading.local()
    port = int(url.rpartition(":")[2])

    def copy(number: int) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port)
        local.connection.request("GET", f"/{number}")
        data = local.connection.getresponse().read()
        target = f"{host}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=bare/{random.random()}-{number}"
        answer = pool.request("POST", target, body=data, headers={"Content-Type": "image/jpeg"})
        assert answer.status == 200

    with timed() as took, ThreadPoolExecutor(WORKERS) as threads:
        for _ in threads.map(copy, range(COUNT)):
            pass
    return took


@contextmanager
def empty_bucket(folder: Path) -> Iterator[tuple[Storage, str]]:
    """(a client, the server's address) of a storage stand-in that holds nothing."""
    where = MEMORY if MEMORY.is_dir() else folder
    with tempfile.TemporaryDirectory(dir=where) as state, StorageServer(Path(state) / "objects") as server:
        server.create_bucket(BUCKET)
        os.environ |= {"STORAGE_EMULATOR_HOST": server.host, "GOOGLE_CLOUD_PROJECT": "bench"}
        storage = Storage()
        yield storage, server.host
        storage.close()


def measure() -> list[Line]:
    """The first time, again, the bare loop, and slow servers; each but the second begins with an empty bucket."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, data in enumerate(pictures()):
            (folder / f"{number}.jpg").write_bytes(data)
        with picture_server(folder, 0.0) as url:
            lines = export(url)
            with empty_bucket(folder) as (storage, _):
                etl(storage, "warm", lines[: COUNT // 10])
                before_mb = peak_mb()
            with empty_bucket(folder) as (storage, _):
                first, _ = etl(storage, "first", lines)
                again, fetched_again = etl(storage, "first", lines)
            with empty_bucket(folder) as (_, host):
                copied = bare(host, url)
        with picture_server(folder, SLOW_S) as url, empty_bucket(folder) as (storage, _):
            slow, _ = etl(storage, "slow", export(url))
    ours, limit = COUNT / first.wall_s, COUNT / copied.wall_s
    grown = f"{peak_mb() - before_mb:+.0f} MB from {COUNT // 10:,} to {COUNT:,} images"
    size = f"{COUNT:,} JPEGs of {SIZE[0]} x {SIZE[1]}"
    detail = {"first": asdict(first), "bare": asdict(copied)}
    spent = [(took.cpu_s + took.children_s) / COUNT * 1000 for took in (first, copied)]
    return [
        Line(f"ETL of {size}", ours, "images/s", GOAL, against="bare copy loop", theirs=limit, detail=detail),
        Line("its time to the bare copy loop's", limit / ours, "times", at_most=BARE_MULTIPLE),
        Line(
            "its processor time to the bare copy loop's, both servers' included",
            spent[0] / spent[1],
            "times",
            note=f"{spent[0]:.2f} and {spent[1]:.2f} ms an image",
        ),
        Line("its peak of memory", peak_mb(), "MB", at_most=GOAL_MB, note=grown),
        Line("the same rows again: images fetched", fetched_again, "", at_most=0),
        Line("the same rows again", COUNT / again.wall_s, "images/s", note="one small read an image"),
        Line("images with 50 ms of latency each", COUNT / slow.wall_s, "images/s", SLOW_GOAL),
    ]
