"""Which sample a pipeline runs on: the folder of its own name, the one that samples/index.json names for it, or that
of a shipped pipeline which begins with the same job.

A sample that is too large for the repository has only its make.py there, and is drawn under .local at its first use.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

from local.functions import ROOT
from orchestrator.pipelines import CustomJob, Pipeline, read_pipelines

SAMPLES = ROOT / "samples"
DRAWN = ROOT / ".local" / "samples"
EXPORT = "export.ndjson"


def sample_export(pipeline: str, definition: Pipeline | None = None, *, draws: bool = True) -> Path:
    """The export of the pipeline's sample; the file need not be there, for not every pipeline has one.

    `definition` is for a pipeline that is none of functions/pipelines/. Without `draws` nothing is drawn that is not.
    """
    shared: dict[str, str] = json.loads((SAMPLES / "index.json").read_text(encoding="utf-8"))
    folder = SAMPLES / shared.get(pipeline, pipeline)
    if not folder.is_dir() and (like := _reads_the_same(definition or read_pipelines().get(pipeline))):
        folder = SAMPLES / like
    export, maker = folder / EXPORT, folder / "make.py"
    if export.exists() or not maker.exists():
        return export
    return drawn(maker) if draws else DRAWN / folder.name / EXPORT


def _reads_the_same(pipeline: Pipeline | None) -> str:
    """The pipeline with a sample of its own whose first job is this one's, too: it reads the same kind of data."""
    if pipeline is None:
        return ""
    first = pipeline.stages[0].jobs[0]
    for name, other in read_pipelines().items():
        same = isinstance(first, CustomJob) and getattr(other.stages[0].jobs[0], "image", "") == first.image
        if same and (SAMPLES / name).is_dir():
            return name
    return ""


def sample_folders(samples_dir: Path) -> list[Path]:
    """The folders to serve: those with an export, and (of the repository's own samples) those that were drawn."""
    found = sorted(samples_dir.glob(f"*/{EXPORT}"))
    if samples_dir == SAMPLES:
        found += sorted(DRAWN.glob(f"*/{EXPORT}"))
    return [export.parent for export in found]


def drawn(maker: Path) -> Path:
    """The export of a sample that its make.py draws, which takes seconds.

    Safe to repeat and to call side by side: the same seed gives the same files, the export is the last of them, a
    lock admits one maker, and a make.py that was changed since draws again.
    """
    folder = DRAWN / maker.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    export = folder / EXPORT
    with maker.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not export.exists() or export.stat().st_mtime < maker.stat().st_mtime:
            subprocess.run([sys.executable, maker, folder], check=True, timeout=300)
    return export
