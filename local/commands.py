"""The two commands: `run` takes one sample through everything and stops; `up` keeps everything running for a person."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from local import deployment
from local.address import Address
from local.cloud import SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.console.service import ConsoleService
from local.functions import ROOT
from local.job_environments import prepare
from local.labelbox_side import ModelRunState, TrainingRequest
from local.offer import Offer
from local.processes import log_tail
from local.progress import Progress, files_table, labelbox_table, metrics_table, near
from local.run_view import JobView, RunReader, RunView, last_line
from local.state import StateFolder
from local.summary import Summary, summarise
from orchestrator.identities import RunId
from orchestrator.pipelines import Pipeline

POLL_S = 0.4
TOLD_DEADLINE_S = 20.0
COMPLETE = "COMPLETE"
EXIT_COMPLETE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class RunOptions:
    """What `run` or `up` was asked for. `port`: of the page, 0 for a free one. `keeps`: the cloud stays after
    the run. `opens`: the page is opened in the browser."""

    pipeline: str
    offer: Offer = field(default_factory=Offer)
    export: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    duplicate: bool = False
    refuse_predictions: bool = False
    google_pubsub: bool = False
    timeout_s: float = 900.0
    port: int = 0
    keeps: bool = False
    opens: bool = False
    local_dir: Path = ROOT / ".local"

    @property
    def cloud(self) -> CloudOptions:
        """The cloud that fits."""
        return CloudOptions(
            export=self.export,
            duplicate=self.duplicate,
            google_pubsub=self.google_pubsub,
            labelbox={"refuse_predictions": True} if self.refuse_predictions else {},
            jobs_dirs=self.offer.jobs_dirs,
            settings=self.offer.settings,
        )

    def console(self, cloud: EmbeddedCloud) -> ConsoleService:
        """The page that shows this cloud."""
        samples = {name: self.offer.sample(name, draws=False) for name in self.offer.pipelines}
        return ConsoleService(cloud, samples, self.port)

    def request(self) -> TrainingRequest:
        """The request for the model run of the export, or of the pipeline's sample."""
        export = self.export or self.offer.sample(self.pipeline)
        return TrainingRequest.for_export(export, self.pipeline)


class LocalRun:
    """One run from the request to the end, watched."""

    def __init__(
        self, options: RunOptions, pipeline: Pipeline, cloud: EmbeddedCloud, page: ConsoleService, console: Console
    ) -> None:
        self._options, self._pipeline, self._cloud, self._console = options, pipeline, cloud, console
        self._page = page
        self._request = options.request()
        self._began = time.monotonic()
        self.view = RunView(())
        self.status = "ERROR"

    def go(self) -> None:
        """Ask for the training as Labelbox would, and watch until it is over or time is up."""
        model_run = self._request.model_run_id
        if self._options.config:
            self._cloud.labelbox_control.set_config(model_run, self._options.config)
        self._began = time.monotonic()
        answer = self._request.send(self._cloud.origin, SERVICE_SECRET)
        run = RunId.parse(answer["runId"])
        assert run is not None, answer
        self._console.print(f"POST /model_run: {answer['status']}, run {run}", highlight=False)
        self._console.print(f"in the browser, while it runs: {self._page.run_url(str(run))}", highlight=False)
        reader = RunReader(self._cloud.storage.host, deployment.BUCKET, run, self._pipeline)
        self._watch(reader)
        self._wait_until_told(model_run)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request."""
        return time.monotonic() - self._began

    def _watch(self, reader: RunReader) -> None:
        with Progress(self._console) as progress:
            while True:
                self.view = reader.look()
                progress.show(self.view, self.elapsed_s, self._details())
                if self.view.outcome:
                    self.status = self.view.outcome
                    return
                if self.elapsed_s > self._options.timeout_s:
                    self.status = "TIMEOUT"
                    return
                time.sleep(POLL_S)

    def _details(self) -> dict[str, str]:
        running = [job.job_id for job in self.view.jobs if job.job_id and not job.ended]
        return {job_id: last_line(self._cloud.job_log(job_id)) for job_id in running}

    def _wait_until_told(self, model_run: str) -> None:
        """The end is recorded before Labelbox is told it."""
        give_up_at = time.monotonic() + TOLD_DEADLINE_S
        while self.view.outcome and self.labelbox(model_run).status != self.view.outcome:
            if time.monotonic() > give_up_at:
                self.status = "UNTOLD"
                return
            time.sleep(0.1)

    @property
    def caution(self) -> str:
        """What must be said beside the figures: the stand-in's are its own trainer's."""
        by_automl = any(job.kind == "TrainingPipeline" for _, job in self._pipeline.jobs())
        return "trained by the local stand-in, not by AutoML" if by_automl else ""

    def job_log(self, job: JobView) -> Path:
        """The log of a job's newest attempt."""
        return self._cloud.job_log(job.job_id)

    def labelbox(self, model_run: str | None = None) -> ModelRunState:
        """What Labelbox knows of the model run."""
        return self._cloud.labelbox_control.model_run(model_run or self._request.model_run_id)

    def results(self) -> list[tuple[str, Path]]:
        """The files of the last stage, copied to the state folder's `results`, and the folders that hold all else."""
        folder = self._cloud.state.path / "results"
        folder.mkdir(exist_ok=True)
        last_stage = self._pipeline.stages[-1].name
        files: list[tuple[str, Path]] = []
        for name, uri in self.view.outputs().items():
            path = self._cloud.local_path(uri)
            if uri.startswith("gs://") and path.is_file() and name.startswith(f"{last_stage}."):
                files.append((name.rpartition(".")[2], Path(shutil.copyfile(path, folder / path.name))))
        logs = [("logs", self._cloud.state.path / "logs"), ("job logs", self._cloud.job_log("x").parent)]
        return [*files, ("bucket", self._cloud.local_path(deployment.BUCKET)), *logs]

    def summary(self, labelbox: list[str]) -> Summary:
        """The figures so far."""
        return summarise(
            self._pipeline.model_type, self.status, self.elapsed_s, self.view, labelbox, self._cloud.state.path
        )


def run(options: RunOptions, console: Console) -> int:
    """Take one model run from the signed request to its end; 0 only on COMPLETE. Everything started is stopped."""
    pipeline = options.offer.pipelines[options.pipeline]
    state = StateFolder.new(options.local_dir)
    try:
        console.print(f"[bold]{pipeline.model_type}[/]  {pipeline.description}", highlight=False)
        prepare(pipeline, options.cloud.environments_dir, state, console, options.offer.jobs_dirs)
        began = time.monotonic()
        with (
            console.status("starting the functions and the stand-ins") as starting,
            EmbeddedCloud(state, options.cloud) as cloud,
            options.console(cloud).serving() as page,
        ):
            starting.stop()
            console.print(f"{len(cloud.processes())} processes serve after {time.monotonic() - began:.1f} s")
            code = _watched(LocalRun(options, pipeline, cloud, page, console), options, console)
            if options.keeps:
                _stay(page, console)
            elif console.is_terminal:
                console.print("To look around in the browser afterwards: make run ARGS=--keep, or make up", style="dim")
            return code
    finally:
        state.close()


def _stay(page: ConsoleService, console: Console) -> None:
    """Keep everything until Ctrl-C, which then is no failure: the run's own exit code stands."""
    with contextlib.suppress(KeyboardInterrupt):
        page.wait_ready()  # a run that fails at once is over before it
        console.print(f"The page stays at {page.url} until Ctrl-C.", highlight=False)
        while True:
            time.sleep(3600)


def _watched(local_run: LocalRun, options: RunOptions, console: Console) -> int:
    labelbox: list[str] = []
    try:
        local_run.go()
        told = local_run.labelbox()
        labelbox = list(told.statuses)
        _show_end(local_run, told, console)
    except KeyboardInterrupt:
        local_run.status = "INTERRUPTED"
        raise
    finally:
        path = near(local_run.summary(labelbox).write(options.local_dir))
    console.print(f"[bold]{local_run.status}[/] after {local_run.elapsed_s:.1f} s; figures in {path}", highlight=False)
    return EXIT_COMPLETE if local_run.status == COMPLETE else EXIT_FAILED


def _show_end(local_run: LocalRun, told: ModelRunState, console: Console) -> None:
    view = local_run.view
    if metrics := view.metrics():
        console.print(metrics_table(metrics, local_run.caution))
    console.print(labelbox_table(told.statuses, told.metadata, told.error_message))
    console.print(
        f"Labelbox has {told.predictions} predictions on {told.prediction_rows} of {told.data_rows} data rows, "
        f"and {told.metrics} metrics",
        highlight=False,
    )
    console.print(files_table(local_run.results()))
    if local_run.status != COMPLETE:
        _show_failure(local_run, console)


def _show_failure(local_run: LocalRun, console: Console) -> None:
    view = local_run.view
    console.print(f"[bold red]{local_run.status}[/] {view.sentence}", highlight=False)
    if view.hint:
        console.print(f"What to do: {view.hint}", highlight=False)
    job = view.failed_job or next((item for item in view.jobs if item.job_id and not item.ended), None)
    if job:
        log = local_run.job_log(job)
        console.print(f"The log of {job.stage}/{job.name} ends with ({log}):", highlight=False)
        console.print(log_tail(log), style="dim", highlight=False, markup=False)


def up(options: RunOptions, console: Console) -> None:
    """Keep everything running until a signal, and say where it is and how to start a training by hand."""
    state = StateFolder.new(options.local_dir)
    try:
        with (
            EmbeddedCloud(state, options.cloud) as cloud,
            options.console(cloud).serving() as page,
            Address.of(cloud).published(options.local_dir),
        ):
            page.wait_ready()
            for name, url in cloud.urls.items():
                console.print(f"{name:<16} {url}", highlight=False)
            console.print(f"{'files and logs':<16} {state.path}", highlight=False)
            for pipeline in (options.pipeline,) if options.export else sorted(options.offer.pipelines):
                _show_request(pipeline, options, cloud, console)
            console.print(
                f"\nRunning. Open [bold]{page.url}[/] to train, watch and look. Ctrl-C stops everything.",
                highlight=False,
            )
            if options.opens:
                webbrowser.open(page.url)
            while True:
                time.sleep(3600)
    finally:
        state.close()


def _show_request(pipeline: str, options: RunOptions, cloud: EmbeddedCloud, console: Console) -> None:
    export = options.export or options.offer.sample(pipeline)
    if export.exists():
        request = TrainingRequest.for_export(export, pipeline)
        console.print(f"\n[bold]{pipeline}[/]: start a training as Labelbox does", highlight=False)
        # Not wrapped: it is to be pasted.
        console.print(request.curl(cloud.origin, SERVICE_SECRET), highlight=False, markup=False, soft_wrap=True)


def parse_setting(text: str) -> tuple[str, Any]:
    """`name=value` of the command line; the value is read as JSON where it is JSON, else as a text. Or ValueError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
