"""What a command prints: JSON for scripts, tables for a person, colours only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 200  # of a file or a pipe: long names stay whole
_STYLES = {
    "COMPLETE": "bold green",
    "SUCCEEDED": "green",
    "ok": "green",
    "RUNNING": "cyan",
    "PARTIALLY_SUCCEEDED": "yellow",
    "launching": "yellow",
    "cancelling": "yellow",
    "waits for quota": "yellow",
    "waiting": "dim",
    "not run": "dim",
    "reused": "dim",
    "skipped": "dim",
    "FAILED": "red",
    "CANCELLED": "red",
    "EXPIRED": "red",
    "failed": "red",
}


class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    def show(self, content: Any, *shown: RenderableType) -> None:
        """Print the content as one JSON value, or what a person is shown of it."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")
            sys.stdout.flush()
            return
        for item in shown:
            with _without_padding(self.out):
                self.out.print(item, highlight=False, markup=False, soft_wrap=isinstance(item, str))

    def line(self, content: Mapping[str, Any], text: str) -> None:
        """Print one moment of something that goes on: a JSON line, or a line of text."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, ensure_ascii=False, default=_plain) + "\n")
            sys.stdout.flush()
            return
        self.out.print(text, highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print something beside the result: to standard error, and not among JSON."""
        if not self.as_json:
            self.err.print(text, highlight=False, markup=False, soft_wrap=True, style="dim")

    def fail(self, text: str, hint: str, exit_code: int) -> None:
        """Print why a command failed and what to do next, to standard error."""
        if self.as_json:
            content = {"error": text, "hint": hint, "exit_code": exit_code}
            sys.stderr.write(json.dumps(content, ensure_ascii=False) + "\n")
            return
        self.err.print(Text(text, style="red"), highlight=False, soft_wrap=True)
        if hint:
            self.err.print(f"What to do: {hint}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _without_padding(console: Console) -> Iterator[None]:
    """In a file or a pipe, the spaces that fill a table's last column are only in the way."""
    if console.is_terminal:
        yield
        return
    with console.capture() as captured:
        yield
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    console.file.flush()


def _console(file: Any) -> Console:
    if file.isatty():
        return Console(file=file)
    return Console(file=file, width=PLAIN_WIDTH, no_color=True, force_terminal=False)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=_STYLES.get(state, ""))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], right: frozenset[str] = frozenset()
) -> Table:
    """A plain table; `right` names the columns of figures."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    made.show_header = any(columns)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def duration(seconds: float | None) -> str:
    """A length of time as a person reads it: 4.2 s, 3 min, 2.5 h, 4 d."""
    if seconds is None:
        return ""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            figure = seconds / size
            return f"{figure:.1f} {unit}" if unit != "min" else f"{figure:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def figure(value: float) -> str:
    """A number as a person reads it."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"
