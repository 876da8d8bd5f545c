"""Where a pipeline's sample comes from: kept in the repository, shared, or drawn at its first use."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local import samples

MAKER = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
with (folder / "drawings").open("a") as file:
    file.write("drawn\\n")
(folder / "export.ndjson").write_text("{}\\n")
"""


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(samples, "SAMPLES", tmp_path / "samples")
    monkeypatch.setattr(samples, "DRAWN", tmp_path / ".local" / "samples")
    (tmp_path / "samples" / "boxes").mkdir(parents=True)
    (tmp_path / "samples" / "index.json").write_text('{"boxes_custom": "boxes"}')
    path = tmp_path / "samples" / "boxes" / "make.py"
    path.write_text(MAKER)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def test_a_sample_that_is_not_kept_is_drawn_once_however_many_ask_and_again_when_its_maker_changes(
    maker: Path,
) -> None:
    with ThreadPoolExecutor(4) as pool:
        exports = set(pool.map(samples.sample_export, ["boxes", "boxes_custom"] * 4))
    (export,) = exports
    assert export.exists() and not list(maker.parent.glob("export*"))
    assert (export.parent / "drawings").read_text() == "drawn\n"
    assert samples.sample_folders(samples.SAMPLES) == [export.parent]
    os.utime(maker)
    os.utime(export, (1_000_000_001, 1_000_000_001))
    samples.sample_export("boxes")
    assert (export.parent / "drawings").read_text() == "drawn\n" * 2


def test_a_kept_sample_is_never_drawn_and_a_pipeline_may_have_none(maker: Path) -> None:
    kept = maker.parent / "export.ndjson"
    kept.write_text("{}\n")
    assert samples.sample_export("boxes") == kept and samples.sample_folders(samples.SAMPLES) == [kept.parent]
    assert not samples.sample_export("another").exists()
