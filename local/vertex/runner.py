"""Runs one job's command and writes down how it ended; started as a file of its own by the stand-in, never imported.

    python -I -S runner.py FOLDER COMMAND [ARGUMENT ...]

It outlives the stand-in: FOLDER/process.json says which process group this is, and FOLDER/exit.json the exit code, so a
stand-in that was killed and started again finds its jobs. Of two runners of one folder only the first runs anything.
It imports little, because its start comes before every job's.
"""

# ruff: noqa: PTH105, PTH108, PTH123 - pathlib, json and subprocess would be half of its start

import os
import signal
import sys

SECOND_RUNNER = 98
NOT_FOUND = 127


def start_mark(pid: int) -> str:
    """Return when a process started, in the kernel's ticks, so that a reused pid is told apart; empty without /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def write_new(path: str, text: str) -> None:
    """Write a file whole."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def claimed(folder: str) -> bool:
    """Record this process as the folder's runner; say False when there already is one."""
    mine = f"{folder}/process.{os.getpid()}.tmp"
    write_new(mine, f'{{"pid": {os.getpid()}, "started": "{start_mark(os.getpid())}"}}')
    try:
        os.link(mine, f"{folder}/process.json")
    except FileExistsError:
        return False
    finally:
        os.unlink(mine)
    return True


def main(folder: str, command: list[str]) -> int:
    """Run the command to its end and return its exit code; a signal n gives 128 + n, as a shell says it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, not SIG_IGN: the command must not inherit deafness. The group's signal reaches it by itself.
        signal.signal(number, lambda *_: None)
    if not claimed(folder):
        return SECOND_RUNNER
    try:
        # Python ignores these two; a command expects to die of them.
        ignored = [signal.SIGPIPE, signal.SIGXFSZ]
        pid = os.posix_spawnp(command[0], command, os.environ, setsigdef=ignored)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        code = NOT_FOUND
    code = 128 - code if code < 0 else code
    # A reader sees all of it or no file.
    unfinished = f"{folder}/exit.{os.getpid()}.tmp"
    write_new(unfinished, f'{{"code": {code}}}')
    os.replace(unfinished, f"{folder}/exit.json")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
