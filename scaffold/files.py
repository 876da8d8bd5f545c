"""Files to be made: all of them or none, and never over one that is there."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# Names that already mean something below jobs/ or in a pipeline file's placeholders.
_TAKEN = ("jobkit", "run", "job", "parameters", "output")


class Refused(Exception):
    """Nothing was made; the text is the sentence that says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """What is to be written, by absolute path, and what to tell the person afterwards."""

    files: Mapping[Path, str]
    next_steps: Sequence[str]

    def write(self) -> list[Path]:
        """Write every file and give their paths; Refused, with nothing written, when one is there already.

        Safe to repeat because a file that exists is never written over.
        """
        there = sorted(str(path) for path in self.files if path.exists())
        if there:
            raise Refused(f"Nothing was made, because this exists already: {', '.join(there)}; choose another name.")
        for path, text in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return list(self.files)


def checked_name(name: str, what: str) -> str:
    """The name, if it can be a Python package, an image's name and a model type; else Refused."""
    if not _NAME.fullmatch(name):
        rule = "lowercase letters, digits and _, beginning with a letter, at most 40 characters"
        raise Refused(f"{name!r} cannot name a {what}: it must be {rule}.")
    if keyword.iskeyword(name) or name in _TAKEN:
        raise Refused(f"{name!r} cannot name a {what}: the word already means something else here.")
    return name


def filled(template: str, **words: str) -> str:
    """A template's text with `__WORD__` replaced by the word of that (lowercase) name."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, word in words.items():
        text = text.replace(f"__{name.upper()}__", word)
    return text
