"""An image is fetched and stored once, whoever asks again; what is too large for prediction gets a smaller twin."""

import hashlib
import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobkit.classification import Verdict
from jobkit.dataset_report import DatasetReport
from jobkit.export import ExportRow
from jobkit.fetch import ACCESS_DENIED, FetchRefusedError, FetchRules
from jobkit.image.drafts import Draft, Drafter
from jobkit.image.files import MAX_PREDICTION_BYTES
from jobkit.image.store import MARK_EVERY, ImageSource, ImageStore
from jobkit.renewal import FreshUrls
from jobkit.storage import Storage

FILES = Path(__file__).resolve().parents[3] / "samples" / "image_single_classification" / "files"
SCENE = (FILES / "scene-001.jpg").read_bytes()


class Web:
    """What lies behind the URLs, and how often each was asked for."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.asked: Counter[str] = Counter()

    def read(self, url: str) -> bytes:
        self.asked[url] += 1
        return self.files[url.partition("?")[0].rpartition("/")[2]]


def test_a_row_that_was_met_before_is_not_fetched_again(storage: Storage, folder: str) -> None:
    web = Web(a=SCENE)
    with ImageStore(storage, folder, web.read) as store:
        first = store.keep("row-1", "https://h/a?X-Goog-Signature=1")
        assert store.keep("row-1", "https://h/a?X-Goog-Signature=2") == first
    with ImageStore(storage, folder, web.read) as store:
        again = store.keep("row-1", "https://h/a?X-Goog-Signature=3")
    assert first == again
    assert web.asked.total() == 1
    assert storage.read_bytes(first.uri) == SCENE
    assert first.uri == f"{folder}/{hashlib.sha256(SCENE).hexdigest()}.jpg"
    assert (first.width, first.height, first.predict_uri) == (144, 144, first.uri)


@pytest.mark.parametrize(
    ("row", "url"),
    [pytest.param("row-2", "https://h/a", id="another row"), pytest.param("row-1", "https://h/b", id="another URL")],
)
def test_equal_bytes_are_one_object(storage: Storage, folder: str, row: str, url: str) -> None:
    web = Web(a=SCENE, b=SCENE)
    with ImageStore(storage, folder, web.read) as store:
        assert store.keep("row-1", "https://h/a") == store.keep(row, url)
    assert web.asked.total() == 2
    assert len([uri for uri in storage.list(f"{folder}/") if "/index/" not in uri]) == 1


def test_many_threads_may_keep_the_same_image(storage: Storage, folder: str) -> None:
    with ImageStore(storage, folder, Web(a=SCENE).read) as store, ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda number: store.keep(f"row-{number % 4}", "https://h/a"), range(32)))
    assert len(set(kept)) == 1
    assert storage.read_bytes(kept[0].uri) == SCENE


def test_a_picture_too_large_for_prediction_gets_a_smaller_twin(storage: Storage, folder: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (1100, 1400, 3), dtype=np.uint8))
    out = io.BytesIO()
    noise.save(out, "PNG")
    with ImageStore(storage, folder, Web(a=out.getvalue()).read) as store:
        stored = store.keep("row", "https://h/a")
    assert storage.size(stored.uri) == len(out.getvalue()) > MAX_PREDICTION_BYTES
    assert storage.size(stored.predict_uri) <= MAX_PREDICTION_BYTES
    assert (stored.media_type, stored.predict_media_type) == ("image/png", "image/jpeg")
    assert (stored.width, stored.height) == (1400, 1100)


def test_buckets_are_read_only_where_the_deployment_names_them(storage: Storage, folder: str) -> None:
    storage.write_bytes(f"{folder}/a.jpg", SCENE)
    bucket = folder.split("/")[2]
    source = ImageSource(storage, FetchRules(), frozenset({bucket}))
    assert source.read(f"{folder}/a.jpg") == SCENE
    for reader, url, reason in (
        (ImageSource(storage, FetchRules()), f"{folder}/a.jpg", "bucket_refused"),
        (source, f"{folder}/gone.jpg", "not_found"),
        (ImageSource(storage, FetchRules(max_bytes=100), frozenset({bucket})), f"{folder}/a.jpg", "too_large"),
        (source, "http://169.254.169.254/", "address_refused"),
        (source, "file:///etc/passwd", "bad_url"),
    ):
        with pytest.raises(FetchRefusedError) as caught:
            reader.read(url)
        assert caught.value.reason == reason


START = datetime(2026, 1, 1, tzinfo=UTC)


def used(storage: Storage, uri: str) -> datetime | None:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return storage.client.bucket(bucket).get_blob(name).custom_time


def test_the_lifecycle_counts_from_the_last_run_that_used_an_image(storage: Storage, folder: str) -> None:
    web = Web(a=SCENE)
    now = START
    with ImageStore(storage, folder, web.read, lambda: now) as store:
        kept = store.keep("row", "https://h/a")
        (index,) = storage.list(f"{folder}/index/")
        assert used(storage, kept.uri) == used(storage, index) == START
        now = START + MARK_EVERY - timedelta(seconds=1)  # young enough: one request a row, and no write
        assert store.keep("row", "https://h/a") == kept
        assert used(storage, kept.uri) == START
        now = START + MARK_EVERY
        assert store.keep("row", "https://h/a") == kept
        assert used(storage, kept.uri) == used(storage, index) == now
        now += timedelta(days=3)
        assert store.keep("another row", "https://h/a") == kept  # the same bytes
        assert used(storage, kept.uri) == now
    assert web.asked.total() == 2


def test_an_image_that_the_lifecycle_deleted_is_fetched_again(storage: Storage, folder: str) -> None:
    web = Web(a=SCENE)
    now = START
    with ImageStore(storage, folder, web.read, lambda: now) as store:
        kept = store.keep("row", "https://h/a")
        bucket, _, name = kept.uri.removeprefix("gs://").partition("/")
        storage.client.bucket(bucket).delete_blob(name)
        now = START + timedelta(days=60)
        assert store.keep("row", "https://h/a") == kept
    assert (web.asked.total(), storage.read_bytes(kept.uri)) == (2, SCENE)


def test_an_entry_of_release_0_1_which_says_no_use_is_marked_and_fetches_nothing(storage: Storage, folder: str) -> None:
    web = Web(a=SCENE)
    with ImageStore(storage, folder, web.read, lambda: START) as store:
        kept = store.keep("row", "https://h/a")
        (index,) = storage.list(f"{folder}/index/")
        entry = json.loads(storage.read_text(index))
        del entry["used"]
        storage.write_text(index, json.dumps(entry))
        assert store.keep("row", "https://h/a") == kept
        assert json.loads(storage.read_text(index))["used"] == START.isoformat()
    assert web.asked.total() == 1


def test_a_refused_image_is_read_by_the_address_of_a_new_export(storage: Storage, folder: str) -> None:
    def read(url: str) -> bytes:
        if url.endswith("=new"):
            return SCENE
        raise FetchRefusedError(ACCESS_DENIED, "the server answered 403")

    rows = [ExportRow(name, None, None, f"https://h/{name}?Signature=old") for name in ("known", "gone")]
    fresh_rows = [ExportRow("known", None, None, "https://h/known?Signature=new")]
    report, lines = DatasetReport("single", ()), io.StringIO()
    with ImageStore(storage, folder, read) as store, FreshUrls(lambda: fresh_rows) as fresh:
        drafter = Drafter(store, lambda _: Verdict(labelled=False), lambda _: "test", fresh)
        assert drafter.write(rows, report, lines) == 1
    assert Draft.from_line(lines.getvalue()).data_row_id == "known"
    assert report.skipped.counts == {ACCESS_DENIED: 1}
