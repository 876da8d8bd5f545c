"""Which class a name means that came back from AutoML, which took letters, digits and underscores only. Pure."""

from collections.abc import Iterable


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


class ClassNames:
    """Finds a class by what became of its name on the way."""

    def __init__(self, classes: Iterable[str]) -> None:
        self._classes = frozenset(classes)
        plain: dict[str, list[str]] = {}
        for name in self._classes:
            plain.setdefault(_plain(name), []).append(name)
        self._plain = {key: names[0] for key, names in plain.items() if len(names) == 1}

    def find(self, name: str) -> str:
        """The class's name; the name itself where no class, or more than one, could be meant."""
        return name if name in self._classes else self._plain.get(_plain(name), name)
