"""Fill the lock from the hub: `make lock-weights`. Read the difference before you commit it.

python -m weights.fill                     every models.txt below jobs/; what is locked stays as it is
python -m weights.fill --upgrade NAME ...  lock these anew, at the revision that their models.txt names
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from weights.hub import Hub, HubError, Listing
from weights.lock import LOCK, LockedFile, LockedModel, LockError, Wanted, read_lock, read_wanted, write_lock

JOBS = Path(__file__).resolve().parents[1]
# What a model and its tokenizer are loaded from. Pickled weights are left out: reading one runs code.
_NEEDED = re.compile(
    r"(?:config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|"
    r"model\.safetensors\.index)\.json|vocab\.txt|merges\.txt|(?:spm|sentencepiece\.bpe|tokenizer)\.model|"
    r"model(?:-\d{5}-of-\d{5})?\.safetensors|LICEN[CS]E(?:\.txt|\.md)?"
)


def lock(wanted: Wanted, hub: Hub) -> LockedModel:
    """One model as the hub has it now. Small files are read and hashed here; large ones are stored by their hash."""
    listing = hub.listing(wanted)
    names = sorted(name for name in listing.sizes if _NEEDED.fullmatch(name))
    if not any(name.endswith(".safetensors") for name in names):
        raise LockError(f"{wanted.repository} has no model.safetensors, and pickled weights are not baked in")
    files = {name: _file(wanted, listing, name, hub) for name in names}
    return LockedModel(wanted.repository, listing.revision, listing.licence, files)


def _file(wanted: Wanted, listing: Listing, name: str, hub: Hub) -> LockedFile:
    size = listing.sizes[name]
    if name in listing.sha256 and size is not None:
        return LockedFile(listing.sha256[name], size)
    digest, size = hashlib.sha256(), 0
    for piece in hub.file(wanted.repository, listing.revision, name):
        digest.update(piece)
        size += len(piece)
    return LockedFile(digest.hexdigest(), size)


def wanted_everywhere(folders: Iterable[Path]) -> dict[str, Wanted]:
    """Every model that any models.txt asks for; LockError if one name stands for two models."""
    found: dict[str, Wanted] = {}
    for file in folders:
        for item in read_wanted(file):
            if found.setdefault(item.name, item) != item:
                raise LockError(f"{file}: {item.name} is {found[item.name].repository} elsewhere: give it another name")
    return found


def main(argv: Sequence[str] | None = None, hub: Hub | None = None) -> int:
    """0 when every model that is asked for is locked; 1 with the reason, and the lock as it was."""
    parser = argparse.ArgumentParser(description="Lock the weights that models.txt files ask for.")
    parser.add_argument("--upgrade", nargs="*", default=[], metavar="NAME", help="lock these anew")
    parser.add_argument("--jobs", type=Path, default=JOBS, help="folder in which models.txt files are looked for")
    parser.add_argument("--lock", type=Path, default=LOCK)
    arguments = parser.parse_args(argv)
    try:
        wanted = wanted_everywhere(sorted(arguments.jobs.rglob("models.txt")))
        if unknown := sorted(set(arguments.upgrade) - wanted.keys()):
            raise LockError(f"no models.txt names {', '.join(unknown)}; there are: {', '.join(sorted(wanted))}")
        before = read_lock(arguments.lock)
        after = {name: before[name] for name in wanted.keys() & before.keys() - set(arguments.upgrade)}
        for name in sorted(wanted.keys() - after.keys()):
            after[name] = lock(wanted[name], hub or Hub())
            locked = after[name]
            print(f"{name}: {locked.repository}@{locked.revision}, {locked.licence}, {len(locked.files)} files")  # noqa: T201
        write_lock(after, arguments.lock)
    except (LockError, HubError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{len(after)} models are locked in {arguments.lock}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
