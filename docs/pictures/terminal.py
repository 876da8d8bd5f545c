"""Draws what a command shows on a terminal as an SVG: docs/pictures/make-run.svg is `make run` drawn by this.

.venv/bin/python docs/pictures/terminal.py docs/pictures/make-run.svg make run
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 124, 60
_MOVES = re.compile(r"(\x1b\[2K|\x1b\[1A|\n)")


def record(command: list[str]) -> str:
    """Run a command on a terminal of its own and return everything it wrote; raises if it fails."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)  # noqa: S606  # the command is the caller's own
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written = bytearray()
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # a closed terminal reads as an error on Linux
            break
        if not chunk:
            break
        written += chunk
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return written.decode("utf-8", "replace").replace("\r", "")


def last_screen(written: str) -> str:
    """What is left to see: the erasing and climbing of a live table played through."""
    lines, place = [""], 0
    for piece in _MOVES.split(written):
        if piece == "\x1b[2K":
            lines[place] = ""
        elif piece == "\x1b[1A":
            place = max(0, place - 1)
        elif piece == "\n":
            place += 1
            if place == len(lines):
                lines.append("")
        else:
            lines[place] += piece
    return "\n".join(lines).replace("\x1b[?25l", "").replace("\x1b[?25h", "").rstrip()


def draw(command: list[str], screen: str) -> str:
    """The SVG; without rich's web fonts, so that it opens without a network."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(f"[bold green]$[/] {' '.join(command)}")
    console.print(Text.from_ansi(screen))
    svg = console.export_svg(title=" ".join(command))
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(sys.argv[2:], last_screen(record(sys.argv[2:]))), encoding="utf-8")
