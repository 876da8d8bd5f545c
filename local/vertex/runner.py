"""Runs one job's command and writes down how it ended; started as a file of its own by the stand-in, never imported.

    python -I runner.py FOLDER COMMAND [ARGUMENT ...]

It outlives the stand-in: FOLDER/process.json says which process group this is, and FOLDER/exit.json the exit code, so a
stand-in that was killed and started again finds its jobs. Of two runners of one folder only the first runs anything.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

SECOND_RUNNER = 98
NOT_FOUND = 127


def start_mark(pid: int) -> str:
    """Return when a process started, in the kernel's ticks, so that a reused pid is told apart; empty without /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def write_whole(path: Path, value: object) -> None:
    """Write JSON so that a reader sees all of it or no file."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(value))
    unfinished.replace(path)


def claimed(folder: Path) -> bool:
    """Record this process as the folder's runner; say False when there already is one."""
    mine = folder / f"process.{os.getpid()}.tmp"
    mine.write_text(json.dumps({"pid": os.getpid(), "started": start_mark(os.getpid())}))
    try:
        os.link(mine, folder / "process.json")
    except FileExistsError:
        return False
    finally:
        mine.unlink()
    return True


def main(folder: Path, command: list[str]) -> int:
    """Run the command to its end and return its exit code; a signal n gives 128 + n, as a shell says it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, not SIG_IGN: the command must not inherit deafness. The group's signal reaches it by itself.
        signal.signal(number, lambda *_: None)
    if not claimed(folder):
        return SECOND_RUNNER
    try:
        code = subprocess.Popen(command).wait()
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        code = NOT_FOUND
    code = 128 - code if code < 0 else code
    write_whole(folder / "exit.json", {"code": code})
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
