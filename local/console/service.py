"""The console as a process beside the cloud's others: started by `make run` and `make up`, ended with them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.address import Address
from local.cloud import EmbeddedCloud
from local.console.likeness import fitting
from local.functions import ROOT
from local.labelbox_side import NoModelRun, TrainingRequest
from local.processes import LOOPBACK, Process, StartError, free_port, port_is_free
from local.samples import sample_folders

READY_DEADLINE_S = 60.0
STOP_TIMEOUT_S = 2.0  # it holds nothing that could be lost
NAME = "console"


class ConsoleService:
    """The page of one running cloud. `port`: 0 takes a free one."""

    def __init__(self, cloud: EmbeddedCloud, samples: Mapping[str, Path], port: int = 0) -> None:
        """`samples`: the export that each model type's sample is. StartError if the port is taken."""
        if port and not port_is_free(port):
            raise StartError(f"port {port} is taken: give the page another one with --port")
        self._cloud = cloud
        self.port = port or free_port()
        folder = cloud.state.path / NAME
        folder.mkdir(exist_ok=True)
        self._ready_file = folder / "ready.json"
        Address.of(cloud).write(folder)
        self.process = Process(
            NAME,
            [
                *(sys.executable, "-m", "local.console", "--port", str(self.port)),
                *("--state-dir", folder, "--ready-file", self._ready_file, *self._data(samples)),
            ],
            {"PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}"},
            cloud.state.path / "logs" / f"{NAME}.log",
            cloud.state.path,
            port=self.port,
        )

    def _data(self, samples: Mapping[str, Path]) -> Iterable[str | Path]:
        own = self._cloud.options.export
        if own:
            yield from ("--export", own)
            samples = dict.fromkeys(fitting(own, samples), own)
        else:
            for folder in sample_folders(self._cloud.options.samples_dir):
                yield from ("--sample", folder)
        for model_type, export in samples.items():
            with contextlib.suppress(NoModelRun, OSError):  # not every type has a sample
                run = TrainingRequest.for_export(export, model_type).model_run_id
                yield from ("--trains", f"{model_type}={run}")

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{LOOPBACK}:{self.port}/"

    def run_url(self, run: str) -> str:
        """The page of one run."""
        return f"{self.url}runs/{run}"

    def wait_ready(self) -> None:
        """Return once it serves."""
        self.process.wait_ready(self._ready_file.exists, READY_DEADLINE_S)

    @contextmanager
    def serving(self) -> Iterator[ConsoleService]:
        """It runs while the block does; it is on the cloud's record, so that an orphan is ended by the next start."""
        self.process.start()
        self._cloud.state.record([*self._cloud.processes(), self.process])
        try:
            yield self
        finally:
            self.process.stop(STOP_TIMEOUT_S)
