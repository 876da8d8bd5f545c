"""docs/operating.md: the commands in it with their output, run again in the page's order.

python -m tests.ops.operating_page     # run them in an embedded cloud, and write what they print into the page
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from local.address import Address
from local.cloud import CloudOptions, EmbeddedCloud
from local.functions import ROOT
from local.job_environments import prepare
from local.state import StateFolder
from ops.cli import main
from ops.target import Target
from orchestrator.identities import RunId
from orchestrator.pipelines import read_pipelines

PAGE = ROOT / "docs" / "operating.md"
TEXT = "text_single_classification"
MODEL_RUN = "c0a1f6d4-8e3b-47a9-b1d2-94e5f7a3c608"
_BLOCK = re.compile(r"```console\n\$ python -m ops (.*?)\n(.*?)```", re.DOTALL)
_CUT = re.compile(r" \| (head|tail) -(\d+)$")
_SHOWN_HOME = "/home/you/model-training/.local/runs/20261123T160000Z-4242"


@dataclass(frozen=True)
class Example:
    """A command of the page, and the lines that the page says it prints."""

    command: str
    lines: tuple[str, ...]


def examples(text: str) -> list[Example]:
    """Every command of the page, in order."""
    return [Example(match[1], tuple(match[2].splitlines())) for match in _BLOCK.finditer(text)]


class Stage:
    """Runs the page's commands in one embedded cloud, and brings about what a command needs to find there."""

    def __init__(self, cloud: EmbeddedCloud, local_dir: Path, folder: Path) -> None:
        self._cloud, self._local_dir, self._folder = cloud, local_dir, folder

    def lines(self, command: str, run: Callable[[list[str]], str]) -> list[str]:
        """All that a command prints, whatever `| head -N` or `| tail -N` the page has behind it."""
        words = shlex.split(_CUT.sub("", command))
        self._set(words)
        with contextlib.chdir(self._folder):
            return run(["--local", "--local-dir", str(self._local_dir), *words]).splitlines()

    def _set(self, words: list[str]) -> None:
        deployment = Target(local=True, local_dir=self._local_dir).open()
        try:
            if words[0] == "replay" and len(words) == 1:
                letter = b'{"version":1,"reason":"The message\'s data is not JSON","data":"Pw==","attributes":{},'
                source = b'"subscription":"projects/local-project/subscriptions/local-etl-push","published":""}'
                deployment.services.store.create("dead/20.json", letter + source)
            if words[0] == "clean":
                deployment.ledger.unmark_active(RunId(MODEL_RUN, 1))
        finally:
            deployment.close()


def cut(command: str, lines: list[str]) -> list[str]:
    """What the shell leaves of a command's lines."""
    match = _CUT.search(command)
    if not match:
        return lines
    return lines[: int(match[2])] if match[1] == "head" else lines[-int(match[2]) :]


def unlike(line: str) -> str:
    """A line without what differs from run to run: times, numbers, ids, paths, the width of columns."""
    plain = re.sub(r"\S*/(?=vertex/logs/)", "PATH/", line)
    plain = re.sub(r"http://127\.0\.0\.1:\d+", "http://ADDRESS", plain)
    plain = re.sub(r"\b\d+(\.\d+)? (s|min|h|d)\b", "TIME", plain)
    plain = re.sub(r"-[0-9a-f]{10}(?=/)", "-ID", plain)
    return " ".join(re.sub(r"\d[\d,.]*", "#", plain).split())


# What a fast or a slow machine may skip: a state that nobody looked at in time, a status that another overtook.
_TIMING = re.compile(
    r"RUNNING|launching|Labelbox was told (EXP|PREP|TRAIN)|reached PREPARING_DATA|CANCELLED|etl/export/#"
)


def missing_lines(example: Example, printed: list[str]) -> list[str]:
    """The lines of the page that the command did not print."""
    real = {unlike(line) for line in printed}
    return [
        line for line in example.lines if (plain := unlike(line)) and plain not in real and not _TIMING.search(plain)
    ]


def _call(arguments: list[str]) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        main(arguments)
    return output.getvalue()


@contextlib.contextmanager
def page_cloud(folder: Path) -> Iterator[EmbeddedCloud]:
    """An embedded cloud in which nothing has run yet."""
    state = StateFolder(folder / "state")
    options = CloudOptions()
    prepare(read_pipelines()[TEXT], options.environments_dir, state, Console())
    with EmbeddedCloud(state, options) as cloud, Address.of(cloud).published(folder):
        # The quickest training: what is shown here is the commands.
        cloud.labelbox_control.set_config(MODEL_RUN, {"backbone": "none"})
        yield cloud


def write() -> None:
    """Run the page's commands and put what they print into it."""
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as made, page_cloud(Path(made)) as cloud:
        stage = Stage(cloud, Path(made), Path(made))
        for example in examples(text):
            lines = cut(example.command, stage.lines(example.command, _call))
            printed = "\n".join(lines).rstrip().replace(str(cloud.state.path), _SHOWN_HOME)
            old = "\n".join((f"$ python -m ops {example.command}", *example.lines))
            new = f"$ python -m ops {example.command}\n{printed}"
            text = text.replace(f"```console\n{old}\n```", f"```console\n{new}\n```", 1)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
