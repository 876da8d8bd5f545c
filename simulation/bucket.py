"""The bucket in memory: strongly consistent, as Cloud Storage is, with creates that have one winner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from orchestrator.errors import Unavailable
from orchestrator.storage import Listed
from simulation.faults import Dice, Fault
from simulation.gate import Gate
from simulation.timeline import Timeline


class MemoryBucket:
    """ObjectStore in memory. Objects are kept by folder, so that a list costs what it finds."""

    def __init__(self, timeline: Timeline, gate: Gate, dice: Dice) -> None:
        self._timeline, self._gate, self._dice = timeline, gate, dice
        self._contents: dict[str, bytes] = {}
        self._folders: dict[str, dict[str, Listed]] = {}
        self._listed: dict[str, Sequence[Listed]] = {}  # what `list` answers, until the folder changes
        self.on_created: Callable[[str], None] = lambda _name: None

    def put(self, name: str, data: bytes) -> bool:
        """Create an object unless it exists; what a job's container does, and the server's part of `create`."""
        if name in self._contents:
            return False
        self._contents[name] = data
        folder = _folder_of(name)
        self._folders.setdefault(folder, {})[name] = Listed(name, self._timeline.now())
        self._listed.pop(folder, None)
        self._gate.changed()
        if name.startswith(("endings/", "batch/")):
            self.on_created(name)
        return True

    def create(self, name: str, data: bytes) -> bool:
        """See ObjectStore."""
        fault = self._gate.effect("bucket.create", name)
        if fault is Fault.REFUSED:
            raise Unavailable("The bucket did not create an object")
        created = self.put(name, data)
        if fault is Fault.ANSWER_LOST:
            raise Unavailable("The bucket did not answer a create")
        if fault is Fault.OWN_412 and created:
            # The client's own retry of a create whose answer was lost meets the object it made.
            self._dice.happened[fault] += 1
            created = False
        self._gate.applied("bucket.create", name)
        return created

    def read(self, name: str) -> bytes | None:
        """See ObjectStore."""
        if self._gate.read("bucket.read", name):
            raise Unavailable("The bucket did not read an object")
        return self._contents.get(name)

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """See ObjectStore."""
        return [self.read(name) for name in names]

    def folders(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        if self._gate.read("bucket.folders", prefix):
            raise Unavailable("The bucket did not list folders")
        return iter(self.names_of_folders(prefix))

    def delete(self, name: str) -> None:
        """See ObjectStore."""
        fault = self._gate.effect("bucket.delete", name)
        if fault is Fault.REFUSED:
            raise Unavailable("The bucket did not delete an object")
        if self._contents.pop(name, None) is not None:
            folder = _folder_of(name)
            del self._folders[folder][name]
            self._listed.pop(folder, None)
            self._gate.changed()
        if fault is Fault.ANSWER_LOST:
            raise Unavailable("The bucket did not answer a delete")
        self._gate.applied("bucket.delete", name)

    def names_of_folders(self, prefix: str) -> Sequence[str]:
        """Folders below a folder, for the world; no handler's call."""
        size = len(prefix)
        return sorted({folder[size:].split("/")[0] for folder in self._folders if folder.startswith(prefix)})

    def content(self, name: str) -> bytes | None:
        """An object as it is, for the world and the invariants; no handler's call."""
        return self._contents.get(name)

    def run_folders(self) -> Iterator[tuple[str, list[tuple[Listed, bytes]]]]:
        """Every run's folder with its facts, for the invariants."""
        for folder, items in self._folders.items():
            if folder.startswith("facts/runs/"):
                yield folder, [(item, self._contents[name]) for name, item in items.items()]

    def has_unaccepted_marker(self) -> bool:
        """Whether an active marker stands for a run that nobody has accepted yet."""
        markers = (name.removeprefix("active/").rsplit(".", 1)[0] for name in self._folders.get("active/", ()))
        return any(f"facts/runs/{marker.replace('.', '/')}/accepted.json" not in self._contents for marker in markers)

    def names(self, prefix: str) -> list[str]:
        """Names for the invariants; no handler's call."""
        return sorted(self._folders.get(prefix, ()))

    def list(self, prefix: str) -> Iterator[Listed]:
        """See ObjectStore."""
        if self._gate.read("bucket.list", prefix):
            raise Unavailable("The bucket did not list")
        listed = self._listed.get(prefix)
        if listed is None:
            found = self._folders.get(prefix, {})
            listed = self._listed[prefix] = [found[name] for name in sorted(found)]
        return iter(listed)


def _folder_of(name: str) -> str:
    """The prefix under which handlers list this object: a run's facts as a whole, else its own folder."""
    if name.startswith("facts/runs/"):
        return "/".join(name.split("/", 4)[:4]) + "/"
    return name[: name.rindex("/") + 1]
