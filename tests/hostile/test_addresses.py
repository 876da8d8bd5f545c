"""Addresses of pictures that are none: a row is refused for its reason, and the job goes on."""

from __future__ import annotations

import pytest

from jobkit.fetch import FetchRefusedError, FetchRules, fetch
from jobkit.image.store import ImageSource, ImageStore
from jobkit.storage import Storage
from local.gcs import StorageServer
from tests.hostile.strangers import WIDE, stranger

RULES = FetchRules(timeout_s=2, deadline_s=5, tries=1)
OPEN_RULES = FetchRules(allow_private=True, timeout_s=2, deadline_s=5, tries=2)


@pytest.mark.parametrize(
    "url",
    [
        *("", "http://[::1", "http://127.0.0.1:99999/x.jpg", "http://:80/", "//x/y", "javascript:alert(1)", "data:,x"),
        *("gs://", "gs:///x", "gs://other/x.jpg", "file:///etc/passwd", "http://a b/", "http://x\n/", "ftp://x/y"),
        *("http://127.0.0.1/\ud800", "\ud800", "http://\ud800/", "http://" + "a" * 70_000 + "/"),
        *("http://127.0.0.1/x.jpg", "http://[::1]/x.jpg", "http://2130706433/", "http://0x7f.1/", "http://10.0.0.1/"),
        *("http://[::ffff:127.0.0.1]/", "http://[fd00::1]/", "http://100.64.0.1/", f"http://{WIDE}/"),
    ],
)
def test_a_picture_with_a_hostile_address_is_refused_and_nothing_else_is_raised(
    url: str, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.host)
    storage_server.create_bucket("pictures")
    storage = Storage()
    read = ImageSource(storage, RULES, frozenset({"own"})).read
    with ImageStore(storage, "gs://pictures/images", read) as store, pytest.raises(FetchRefusedError) as refused:
        store.keep("row", url)
    assert refused.value.reason in ("bad_url", "address_refused", "bucket_refused", "unreachable", "not_found")
    assert list(storage.list("gs://pictures/")) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/to-metadata", "address_refused"),
        ("/to-file", "bad_url"),
        ("/to-broken", "bad_url"),
        ("/to-itself", "too_many_redirects"),
        ("/to-nowhere", "bad_answer"),
        ("/short", "unreachable"),
        ("/busy", "unreachable"),
        ("/nothing", "not_found"),
    ],
)
def test_a_strangers_answer_is_refused_for_its_reason(path: str, reason: str) -> None:
    with stranger() as origin, pytest.raises(FetchRefusedError) as refused:
        fetch(origin + path, OPEN_RULES)
    assert refused.value.reason == reason


def test_a_public_looking_redirect_to_loopback_is_refused_where_private_addresses_are() -> None:
    with stranger() as origin, pytest.raises(FetchRefusedError) as refused:
        fetch(origin + "/slow", RULES)
    assert refused.value.reason == "address_refused"
