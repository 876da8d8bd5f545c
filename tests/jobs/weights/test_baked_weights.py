"""Weights that are baked into images: only what is locked is fetched, and only what matches is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.weights.hub_server import COMMIT, WEIGHTS, HubServer
from weights import fetch, fill
from weights.hub import HubError
from weights.lock import LOCK, LockError, Wanted, chosen, read_lock, read_wanted


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A hub that is up."""
    with HubServer() as found:
        yield found


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A jobs/ folder with one GPU image and an empty lock."""
    gpu = tmp_path / "jobs" / "train" / "mine" / "gpu"
    gpu.mkdir(parents=True)
    (gpu / "models.txt").write_text("# the backbone\nmine org/model\n")
    (tmp_path / "lock.json").write_text('{"version": 1, "models": {}}')
    return tmp_path


def _fill(hub: HubServer, jobs: Path, *more: str) -> int:
    return fill.main(["--jobs", str(jobs / "jobs"), "--lock", str(jobs / "lock.json"), *more], hub.client)


def _fetch(hub: HubServer, jobs: Path) -> int:
    wanted = jobs / "jobs" / "train" / "mine" / "gpu" / "models.txt"
    return fetch.main(
        ["--wanted", str(wanted), "--into", str(jobs / "models"), "--lock", str(jobs / "lock.json")], hub.client
    )


def test_the_shipped_lock_can_be_read_and_holds_only_what_an_image_asks_for() -> None:
    assert read_lock().keys() <= fill.wanted_everywhere(sorted(LOCK.parents[1].rglob("models.txt"))).keys()


def test_locked_weights_are_fetched_verified_and_not_fetched_twice(hub: HubServer, jobs: Path) -> None:
    assert _fill(hub, jobs) == 0
    locked = read_lock(jobs / "lock.json")["mine"]
    assert (locked.revision, locked.licence) == (COMMIT, "apache-2.0")
    assert locked.files.keys() == {"config.json", "model.safetensors"}, "no pickle, no code"
    assert _fetch(hub, jobs) == 0
    assert (jobs / "models" / "mine" / "model.safetensors").read_bytes() == WEIGHTS
    asked = len(hub.asked)
    assert _fetch(hub, jobs) == 0
    assert len(hub.asked) == asked


def test_nothing_is_fetched_that_is_not_locked_and_the_command_that_locks_is_named(
    hub: HubServer, jobs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fetch(hub, jobs) == 1
    said = capsys.readouterr().err
    assert "mine (org/model) is not in jobs/weights/lock.json" in said and "make lock-weights" in said
    assert hub.asked == []


def test_a_name_that_is_locked_as_another_model_is_refused(hub: HubServer, jobs: Path) -> None:
    assert _fill(hub, jobs) == 0
    with pytest.raises(LockError, match="mine is locked as org/model, and org/other is asked for"):
        chosen([Wanted("mine", "org/other")], read_lock(jobs / "lock.json"))


@pytest.mark.parametrize("bytes_now", [WEIGHTS[:-1] + b"x", WEIGHTS + b"more", WEIGHTS[:-1]])
def test_a_file_that_is_not_what_was_locked_is_not_kept(
    hub: HubServer, jobs: Path, bytes_now: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fill(hub, jobs) == 0
    hub.files["model.safetensors"] = bytes_now
    assert _fetch(hub, jobs) == 1
    assert "model.safetensors is not the file that was locked" in capsys.readouterr().err
    assert [path.name for path in (jobs / "models" / "mine").iterdir()] == ["config.json"]


def test_a_hub_that_is_away_for_a_moment_is_asked_again_and_one_that_stays_away_is_named(
    hub: HubServer, jobs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.failures = 2
    assert _fill(hub, jobs) == 0
    hub.failures = 1000
    assert _fetch(hub, jobs) == 1
    assert "HTTP Error 503" in capsys.readouterr().err


def test_an_answer_that_breaks_off_is_an_error(hub: HubServer) -> None:
    hub.cut = 3
    with pytest.raises(HubError, match="broke off with 3 bytes missing"):
        b"".join(hub.client.file("org/model", COMMIT, "config.json"))


def test_locking_again_changes_nothing_until_an_upgrade_is_asked_for(hub: HubServer, jobs: Path) -> None:
    assert _fill(hub, jobs) == 0
    before = (jobs / "lock.json").read_text()
    hub.files["config.json"] = b'{"hidden": 16}'
    assert _fill(hub, jobs) == 0 and (jobs / "lock.json").read_text() == before
    assert _fill(hub, jobs, "--upgrade", "mine") == 0 and (jobs / "lock.json").read_text() != before
    assert _fill(hub, jobs, "--upgrade", "other") == 1


def test_a_model_without_safe_weights_is_not_locked(
    hub: HubServer, jobs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del hub.files["model.safetensors"]
    assert _fill(hub, jobs) == 1
    assert "pickled weights are not baked in" in capsys.readouterr().err
    assert read_lock(jobs / "lock.json") == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"revision": "main"}, "is no commit"),
        ({"files": {}}, "has no files"),
        ({"files": {"../../etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}}, "no name of a file below"),
        ({"files": {"a": {"sha256": "unknown", "size_bytes": 1}}}, "has no SHA-256"),
        ({"files": "none"}, "no lock of weights"),
    ],
)
def test_a_lock_that_pins_nothing_or_points_elsewhere_is_refused(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    entry = {
        "repository": "org/model",
        "revision": COMMIT,
        "licence": "mit",
        "files": {"model.safetensors": {"sha256": "0" * 64, "size_bytes": 1}},
    }
    file = tmp_path / "lock.json"
    file.write_text(json.dumps({"version": 1, "models": {"mine": entry | change}}))
    with pytest.raises(LockError, match=problem):
        read_lock(file)


def test_a_line_that_names_no_model_is_named_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "models.txt"
    file.write_text("good org/model v1.0  # a tag\n\nonly-a-name\nUPPER org/model\n")
    with pytest.raises(LockError) as caught:
        read_wanted(file)
    assert ":3:" in str(caught.value) and ":4:" in str(caught.value) and ":1:" not in str(caught.value)
