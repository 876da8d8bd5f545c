"""Fetch locked weights into a folder, verified: the step of a GPU image's build that meets the hub.

    python -m weights.fetch --wanted train/ner/gpu/models.txt --into /models

Nothing is fetched that jobs/weights/lock.json does not hold, and no file is left there that does not match it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from weights.hub import Hub, HubError
from weights.lock import LOCK, LockedFile, LockedModel, LockError, chosen, read_lock, read_wanted


def fetch(name: str, model: LockedModel, into: Path, hub: Hub) -> None:
    """Put a model's files under `into`/`name`. Safe to repeat: a file that matches already is not fetched again."""
    for file, locked in sorted(model.files.items()):
        target = into / name / file
        if not (target.is_file() and _digest(target) == locked.sha256):
            _fetch_file(hub, model, file, locked, target)
        print(f"{name}/{file}: {locked.size_bytes:,} bytes, SHA-256 {locked.sha256[:12]}...", flush=True)  # noqa: T201


def _fetch_file(hub: Hub, model: LockedModel, file: str, locked: LockedFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    digest, size = hashlib.sha256(), 0
    with partial.open("wb") as out:
        for piece in hub.file(model.repository, model.revision, file):
            size += len(piece)
            if size > locked.size_bytes:
                break
            digest.update(piece)
            out.write(piece)
    if size != locked.size_bytes or digest.hexdigest() != locked.sha256:
        partial.unlink()
        raise LockError(
            f"{model.repository}@{model.revision}: {file} is not the file that was locked "
            f"({size:,} bytes, SHA-256 {digest.hexdigest()}); do not use it"
        )
    partial.rename(target)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main(argv: Sequence[str] | None = None, hub: Hub | None = None) -> int:
    """0 when all is there; 1 with every problem on standard error."""
    parser = argparse.ArgumentParser(description="Fetch the weights that the lock holds, and verify them.")
    parser.add_argument("--wanted", type=Path, required=True, help="a models.txt: NAME REPOSITORY [REVISION] a line")
    parser.add_argument("--into", type=Path, default=Path("/models"), help="folder that gets one folder a model")
    parser.add_argument("--lock", type=Path, default=LOCK)
    arguments = parser.parse_args(argv)
    try:
        models = chosen(read_wanted(arguments.wanted), read_lock(arguments.lock))
        for name, model in models.items():
            fetch(name, model, arguments.into, hub or Hub())
    except (LockError, HubError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
