"""Before a pipeline runs: what its jobs' images would hold is installed, an environment per set of requirements."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from local.environments import environment_key, resolved_lines
from local.functions import ROOT
from local.processes import Process, StartError, log_tail
from local.state import StateFolder
from orchestrator.pipelines import AutoMLImageTraining, BatchPrediction, CustomJob, Pipeline

JOBS = (ROOT / "jobs",)
# What stands in for AutoML: the stand-in trains with the project's own trainer of the same task.
CLASSIFIER, DETECTOR = "train/image_classification", "train/bounding_boxes"


def requirements_of(pipeline: Pipeline, jobs_dirs: Sequence[Path] = JOBS) -> list[Path]:
    """The requirement files of all jobs of a pipeline, each once, in the order in which they are needed."""
    images = [_image(job) for _, job in pipeline.jobs()]
    found = ([folder / image / "requirements.txt" for folder in jobs_dirs] for image in dict.fromkeys(images) if image)
    # An image given by its full uri has none here.
    return [file for files in found for file in [next(filter(Path.exists, files), None)] if file]


def _image(job: CustomJob | AutoMLImageTraining | BatchPrediction) -> str:
    """The folder of jobs/ that a job runs; none for a batch prediction, which runs what the training did."""
    if isinstance(job, CustomJob):
        return job.image
    if isinstance(job, AutoMLImageTraining):
        return DETECTOR if job.objective == "object_detection" else CLASSIFIER
    return ""


def prepare(
    pipeline: Pipeline,
    environments_dir: Path,
    state: StateFolder,
    console: Console,
    jobs_dirs: Sequence[Path] = JOBS,
) -> None:
    """Install what is missing, side by side, and say so; quick where nothing is. StartError with pip's last lines.

    Safe to repeat and to interrupt: an environment gets its name only when it is whole.
    """
    missing = [
        file
        for file in requirements_of(pipeline, jobs_dirs)
        if not (environments_dir / environment_key(resolved_lines(file)) / "bin" / "python").exists()
    ]
    if not missing:
        return
    names = ", ".join("/".join(file.parts[-3:-1]) for file in missing)
    installer = Process(
        "environments",
        [sys.executable, "-m", "local.environments", "--root", environments_dir, *missing],
        {"PYTHONPATH": str(ROOT)},
        state.path / "logs" / "environments.log",
        state.path,
    )
    began = time.monotonic()
    try:
        installer.start()
        state.record([installer])
        with console.status(f"installing what the jobs need, once: {names}"):
            if not console.is_terminal:
                console.print(f"installing what the jobs need, once: {names}", highlight=False)
            code = installer.wait()
    finally:
        installer.stop()
    if code:
        raise StartError(f"the jobs' environments could not be made:\n{log_tail(installer.log)}")
    console.print(f"installed in {time.monotonic() - began:.0f} s", highlight=False)
