"""Which sample a pipeline runs on: the folder of its own name, or the one that samples/index.json names for it."""

from __future__ import annotations

import json
from pathlib import Path

from local.functions import ROOT

SAMPLES = ROOT / "samples"


def sample_export(pipeline: str) -> Path:
    """The export of the pipeline's sample; the file need not be there, for not every pipeline has one."""
    shared = json.loads((SAMPLES / "index.json").read_text(encoding="utf-8"))
    return SAMPLES / shared.get(pipeline, pipeline) / "export.ndjson"
