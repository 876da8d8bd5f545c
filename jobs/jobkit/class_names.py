"""Which class a name means that came back from AutoML. Pure.

AutoML took letters, digits and underscores only, so other signs come back as one of those; and what the 2022 service
trained is called `{question}_{answer}`, with the answer's label in training and its value in Labelbox's answers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from jobkit.dataset_report import ClassEntry

_NONE: Mapping[str, Sequence[str]] = MappingProxyType({})


def _altered(name: str) -> str:
    """As AutoML wrote it: each sign that it did not take is one other sign."""
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name.casefold())


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


class ClassNames:
    """Finds a class by what became of its name on the way: by the name itself, else by what AutoML made of it sign by
    sign, else by letters and digits alone."""

    def __init__(self, classes: Iterable[str], others: Mapping[str, Iterable[str]] = _NONE) -> None:
        """`others` are further names of a class."""
        self._classes = frozenset(classes)
        self._called: dict[str, set[str]] = {}
        self._altered: dict[str, set[str]] = {}
        self._plain: dict[str, set[str]] = {}
        for known in self._classes:
            for name in (known, *others.get(known, ())):
                self._called.setdefault(name, set()).add(known)
                self._altered.setdefault(_altered(name), set()).add(known)
                self._plain.setdefault(_plain(name), set()).add(known)
        self.ambiguous: Counter[str] = Counter()  # names that may mean several classes, and how often they came

    @classmethod
    def of_entries(cls, entries: Iterable[ClassEntry]) -> "ClassNames":
        """Of the classes of a data set, whose questions and values are known."""
        listed = list(entries)
        return cls((entry.display_name for entry in listed), {entry.display_name: _names(entry) for entry in listed})

    def find(self, name: str) -> str:
        """The class's name; the name itself where no class, or more than one, could be meant."""
        if name in self._classes:
            return name
        meant = self._called.get(name) or self._changed(name)
        if len(meant) > 1:
            self.ambiguous[name] += 1
        return next(iter(meant)) if len(meant) == 1 else name

    def _changed(self, name: str) -> set[str]:
        """The classes whose name may have become this one."""
        altered = self._altered.get(_altered(name)) if name.isascii() else None
        letters = _plain(name)
        return altered or (self._plain.get(letters) if letters else None) or set()

    def note(self) -> dict[str, str]:
        """Ambiguous names for the report; empty without one."""
        if not self.ambiguous:
            return {}
        named = ", ".join(f"'{name}' ({count})" for name, count in self.ambiguous.most_common(10))
        return {"names that mean several classes": f"{named}: not used"}


def _names(entry: ClassEntry) -> list[str]:
    answers = [answer for answer in (entry.name, entry.value) if answer]
    return [*answers, *(f"{entry.question_name}_{answer}" for answer in answers if entry.question_name)]
