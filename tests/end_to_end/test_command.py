"""The commands: `run` shows and sums up a run and exits 0 only on COMPLETE, `up` waits for a person, nothing stays."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.functions import ROOT
from local.labelbox_side import LabelboxControl, TrainingRequest
from local.processes import Process, stop_all
from local.state import sweep
from tests.end_to_end.cloud_runs import TEXT, assert_told_in_order

IMAGE = "image_single_classification"


class Command(Process):
    """`python -m local ...` with a folder of its own for state and summary."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(exist_ok=True)
        self.local_dir = folder / "local"
        argv = [sys.executable, "-m", "local", *arguments, "--local-dir", self.local_dir]
        super().__init__("command", argv, {}, folder / "output.txt", folder, cwd=ROOT)

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def summary(self) -> dict[str, object]:
        content = json.loads((self.local_dir / "summary.json").read_text(encoding="utf-8"))
        assert isinstance(content, dict)
        return content


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts commands side by side; whatever a failed test left running is ended."""
    started: list[Command] = []

    def start(*arguments: str) -> Command:
        started.append(Command(tmp_path / f"command-{len(started)}", *arguments))
        started[-1].start()
        return started[-1]

    yield start
    stop_all(started, timeout_s=20)


def left_running(folder: Path) -> list[str]:
    """Commands of processes, jobs too, that have anything to do with a folder."""
    mark = os.fsencode(str(folder))
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and (
                mark in (process / "cmdline").read_bytes() or mark in (process / "environ").read_bytes()
            ):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended, or is another user's
    return found


def page_of(command: Command, address: str) -> str:
    """What a browser is shown at the address that a command printed."""
    url = re.search(address, command.output)
    assert url, command.output
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url[1], timeout=30) as answer:
        return str(answer.read().decode())


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see all processes")


@needs_proc
@pytest.mark.parametrize("pipeline", [TEXT, IMAGE])
def test_run_ends_complete_with_figures_files_and_a_summary(command: Callable[..., Command], pipeline: str) -> None:
    run = command("run", "--pipeline", pipeline)
    assert run.wait() == 0, run.output
    summary = run.summary
    assert (summary["pipeline"], summary["status"]) == (pipeline, "COMPLETE")
    labelbox = summary["labelbox"]
    assert isinstance(labelbox, list)
    assert_told_in_order(labelbox)
    stages = summary["stages"]
    assert isinstance(stages, list)
    assert [stage["stage"] for stage in stages] == ["etl", "train", "inference"]
    jobs = [job for stage in stages for job in stage["jobs"]]
    assert {job["state"] for job in jobs} == {"SUCCEEDED"}
    assert all(job["seconds"] > 0 for job in jobs)
    metrics = summary["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["accuracy"] >= 0.8
    rows = (ROOT / "samples" / pipeline / "export.ndjson").read_text(encoding="utf-8").splitlines()
    assert summary["predictions"] == len(rows)
    for stage, name in (("etl", "export"), ("inference", jobs[-1]["name"])):
        assert f"{stage}/{name}" in run.output
    assert "told to Labelbox" in run.output
    results = Path(str(summary["state_dir"])) / "results"
    assert {"report.html", "metrics.json"} <= {file.name for file in results.iterdir()}
    assert ("not by AutoML" in run.output) == (pipeline == IMAGE)
    assert left_running(run.local_dir) == []


@needs_proc
def test_runs_side_by_side_do_not_meet_and_a_failed_one_says_why(command: Callable[..., Command]) -> None:
    good = command("run")
    unknown_class = command("run", "--set", "classes=No such class")  # what the ETL job finds out
    bad_config = command("run", "--keep", "--set", "minimum_examples=many", "--set", "no_such_parameter=1")
    bad_config.wait_ready(lambda: "The page stays at" in bad_config.output, 120)
    assert "minimum_examples" in page_of(bad_config, "while it runs: (http://\\S+)")
    assert bad_config.pid is not None
    os.killpg(bad_config.pid, signal.SIGINT)  # what was kept ends, and the run's own code stands
    assert good.wait() == 0, good.output
    assert unknown_class.wait() == 1
    assert bad_config.wait() == 1
    assert unknown_class.summary["status"] == bad_config.summary["status"] == "FAILED"
    assert "No such class" in str(unknown_class.summary["sentence"])
    assert "The log of etl/export ends with" in unknown_class.output
    for name in ("minimum_examples", "no_such_parameter"):
        assert name in str(bad_config.summary["sentence"])
    assert bad_config.summary["labelbox"] == ["FAILED"]
    for run in (good, unknown_class, bad_config):
        assert left_running(run.local_dir) == []


@needs_proc
def test_ctrl_c_while_a_job_runs_leaves_no_process(command: Callable[..., Command]) -> None:
    run = command("run")
    run.wait_ready(lambda: "RUNNING" in run.output, 120)
    assert len(left_running(run.local_dir)) > 10
    assert run.pid is not None
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: the whole foreground group, and again
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait() == 130, run.output
    assert left_running(run.local_dir) == []
    assert run.summary["status"] == "INTERRUPTED"


@needs_proc
def test_what_a_killed_command_left_is_ended_by_the_next(command: Callable[..., Command]) -> None:
    killed = command("up")
    killed.wait_ready(lambda: "Running." in killed.output, 120)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    runs = killed.local_dir / "runs"
    assert len(left_running(runs)) > 10
    sweep(runs)
    assert left_running(runs) == []


@needs_proc
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_up_serves_an_export_of_ones_own_and_prints_a_command_that_starts_a_training(
    command: Callable[..., Command], tmp_path: Path, eventually: Callable[..., object]
) -> None:
    export = tmp_path / "my-export.ndjson"
    shutil.copyfile(ROOT / "samples" / TEXT / "export.ndjson", export)
    request = TrainingRequest.for_export(export, TEXT)
    up = command("up", "--export", str(export))
    up.wait_ready(lambda: "Running." in up.output, 120)
    curl = next(line for line in up.output.splitlines() if line.startswith("curl "))
    assert "Train model" in page_of(up, "Open (http://\\S+) to train")
    answered = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(answered.stdout)["runId"].startswith(request.model_run_id), answered.stdout
    origin = next(line.split()[-1] for line in up.output.splitlines() if line.startswith("labelbox "))
    labelbox = LabelboxControl(origin, "unused")
    eventually(lambda: labelbox.model_run(request.model_run_id).status in ("COMPLETE", "FAILED"), "an end", 150)
    assert labelbox.model_run(request.model_run_id).status == "COMPLETE"
    up.stop(timeout_s=20)
    assert left_running(up.local_dir) == []
    assert "nothing is left running" in up.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "--pipeline", "no_such"), "there is no pipeline 'no_such'"),
        (("run", "--export", "/no/such/file"), "there is no export /no/such/file"),
        (("run", "--set", "nonsense"), "'nonsense' is not name=value"),
    ],
)
def test_a_wrong_command_line_starts_nothing(
    command: Callable[..., Command], arguments: tuple[str, ...], sentence: str
) -> None:
    wrong = command(*arguments)
    assert wrong.wait() == 2
    assert sentence in wrong.output
    assert not (wrong.local_dir / "runs").exists()
