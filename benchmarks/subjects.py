"""What can be measured: each subject is a module with `measure() -> list[Line]`, loaded only when it is its turn."""

from __future__ import annotations

import importlib

from benchmarks.figures import Line

SUBJECTS = {
    "coordinator": ("coordinator", "import of the coordinator, and its answers to posts"),
    "hops": ("hops", "from a job's end to the next job's create call"),
    "texts": ("texts", "ETL of texts and entities, 100,000 and 1,000,000 rows"),
    "images": ("images", "ETL of images: first time, again, and with slow servers"),
    "boxes": ("boxes", "evaluation of boxes beside pycocotools"),
    "rows": ("prediction_rows", "predictions to Labelbox's rows and metric rows"),
    "reconcile": ("reconcile_tick", "one tick over 10,000 active runs"),
    "pipeline": ("pipeline", "the whole text pipeline as `make run` does it"),
    "job_images": ("job_images", "sizes of the job images, where they were built"),
}


def measure(subject: str) -> list[Line]:
    """The subject's lines, measured in this process."""
    module = importlib.import_module(f"benchmarks.{SUBJECTS[subject][0]}")
    lines: list[Line] = module.measure()
    return lines
