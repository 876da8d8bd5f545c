"""Which sample a pipeline runs on: the folder of its own name, or the one that samples/index.json names for it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

from local.functions import ROOT

SAMPLES = ROOT / "samples"


def sample_export(pipeline: str) -> Path:
    """The export of the pipeline's sample; the file need not be there, for not every pipeline has one.

    A sample that is not kept in the repository is drawn by its make.py at its first use. Safe to repeat and to call
    side by side: the same seed gives the same files, the export is the last of them, and a lock admits one maker.
    """
    shared: dict[str, str] = json.loads((SAMPLES / "index.json").read_text(encoding="utf-8"))
    folder = SAMPLES / shared.get(pipeline, pipeline)
    export, maker = folder / "export.ndjson", folder / "make.py"
    if maker.exists() and not export.exists():
        with maker.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not export.exists():
                subprocess.run([sys.executable, maker], check=True, timeout=300)
    return export
