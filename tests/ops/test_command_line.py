"""`python -m ops` as a process: exit codes, completion, colours on a terminal only, and what it imports."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from local.cloud import EmbeddedCloud
from local.functions import ROOT
from ops.deployment import Deployment
from orchestrator.facts import Accepted
from orchestrator.identities import RunId

COMMAND = [sys.executable, "-m", "ops"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--help",), 0),
        (("cancel", "--help"), 0),
        (("completion", "zsh"), 0),
        (("pipelines",), 0),
        ((), 2),
        (("nope",), 2),
        (("show",), 2),
        (("--prices", "/no/such/file", "--local-dir", "/no/such/folder", "runs"), 1),
        (("pipelines", "nope"), 3),
    ],
)
def test_exit_codes_of_the_process(arguments: tuple[str, ...], code: int) -> None:
    ended = run(*arguments)
    assert ended.returncode == code, ended
    assert "Traceback" not in ended.stderr


def test_the_process_finds_the_embedded_cloud(cloud: EmbeddedCloud, local_dir: Path) -> None:
    ended = run("--local-dir", str(local_dir), "runs", "--limit", "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("deployment local, embedded cloud of this machine")


def test_the_shell_completes_commands_runs_and_pipelines(local_dir: Path, deployment: Deployment) -> None:
    run_id = RunId("completed-by-the-shell", 1)
    deployment.ledger.record(run_id, Accepted("m", "", "", "k", {}, "", "", "", abandoned=True))
    script = ROOT / "ops" / "bin" / "ops"
    for words, expected in (
        ("ops can", "cancel"),
        ("ops train x --pipeline text_sing", "text_single_classification"),
        (f"ops --local-dir {local_dir} show completed-by", str(run_id)),
        ("ops --local-dir /no/such/folder show completed-by", ""),
    ):
        environment = {
            **os.environ,
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
            "_OPS_COMPLETE": "bash_complete",
        }
        ended = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60)
        assert ended.stdout.strip() == (f"plain,{expected}" if expected else ""), ended
    deployment.services.store.delete(f"{run_id.facts}accepted.json")


def output_on_a_terminal(arguments: list[str], **environment: str) -> bytes:
    """What a command writes when its standard output is a terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", **environment}
    with subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                written += (part := os.read(ours, 65536))
            except OSError:  # Linux's answer once the other side is closed
                break
            if not part:
                break
        process.wait(60)
    os.close(ours)
    return written


def test_colours_are_for_terminals() -> None:
    arguments = ["pipelines", "text_single_classification"]
    assert b"\x1b[" in output_on_a_terminal(arguments)
    assert b"\x1b[" not in output_on_a_terminal([*arguments, "--json"])
    assert "\x1b[" not in run(*arguments, FORCE_COLOR="1").stdout


def test_ops_imports_neither_jobs_nor_the_embedded_cloud() -> None:
    for path in (ROOT / "ops").glob("*.py"):
        lines = [line.split()[1] for line in path.read_text(encoding="utf-8").splitlines() if _imports(line)]
        assert not {name.split(".")[0] for name in lines} & {"local", "jobkit", "etl", "train", "inference"}, path


def _imports(line: str) -> bool:
    return line.lstrip().startswith(("from ", "import "))
