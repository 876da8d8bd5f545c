"""Command lines of the jobs: `--name=value` pairs, checked where an error can still be told to the user."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from jobkit import __version__
from jobkit.argument_meanings import MEANINGS
from jobkit.errors import BadConfiguration


@dataclass(frozen=True)
class Arguments:
    """A job's arguments by name (without dashes, with hyphens)."""

    values: dict[str, str]

    def text(self, name: str) -> str:
        """The argument as it was given; "" when it is optional and absent."""
        return self.values[name]

    def whole(self, name: str, least: int = 0) -> int:
        """A whole number of at least `least`."""
        try:
            number = int(self.values[name])
        except ValueError as error:
            raise BadConfiguration(f"--{name} must be a whole number, not '{self.values[name]}'.") from error
        if number < least:
            raise BadConfiguration(f"--{name} must be at least {least}, not {number}.")
        return number

    def share(self, name: str) -> float:
        """A number from 0 to 1."""
        try:
            number = float(self.values[name])
        except ValueError as error:
            raise BadConfiguration(f"--{name} must be a number, not '{self.values[name]}'.") from error
        if not 0.0 <= number <= 1.0:
            raise BadConfiguration(f"--{name} must be from 0 to 1, not {number}.")
        return number

    def flag(self, name: str) -> bool:
        """true or false, in any case."""
        word = self.values[name].strip().lower()
        if word not in ("true", "false"):
            raise BadConfiguration(f"--{name} must be true or false, not '{self.values[name]}'.")
        return word == "true"

    def one_of(self, name: str, words: Sequence[str]) -> str:
        """One of the given words."""
        if self.values[name] not in words:
            raise BadConfiguration(f"--{name} must be one of {', '.join(words)}, not '{self.values[name]}'.")
        return self.values[name]

    def folder(self, name: str) -> str:
        """A gs:// folder, without its last slash."""
        return self.values[name].rstrip("/")


def parse(description: str, required: Sequence[str], optional: dict[str, str], argv: Sequence[str] | None) -> Arguments:
    """Reads the command line. `--ending-uri` is always required; `optional` names the defaults of the others.

    `--help` says what each means, as far as `argument_meanings` knows its name, and its default.
    An unknown or missing argument ends the process with argparse's own message (exit code 2): the orchestrator and
    the job are then of different versions, and no folder is known in which an ending could be written.
    """
    started_as = getattr(sys.modules["__main__"], "__spec__", None)
    parser = argparse.ArgumentParser(
        prog=f"python -m {started_as.name}" if started_as else None, description=description, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    for name in ("ending-uri", *required):
        parser.add_argument(f"--{name}", dest=name, required=True, help=_help(name))
    for name, default in optional.items():
        parser.add_argument(f"--{name}", dest=name, default=default, help=_help(name, f"default: {default or 'empty'}"))
    return Arguments({name: str(value) for name, value in vars(parser.parse_args(argv)).items()})


def _help(name: str, default: str = "") -> str:
    said = "; ".join(part for part in (MEANINGS.get(name, ""), default) if part)
    return said.replace("%", "%%")  # argparse would take it for a format
