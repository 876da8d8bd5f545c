"""What a training has done so far, kept in the bucket, so that a preempted machine's next attempt goes on from there.

A new attempt has a new output folder, and only the training file stays the same. So checkpoints lie beside that file,
or where Vertex says (AIP_CHECKPOINT_DIR:
https://docs.cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables), in a folder named after
the file and the settings: a training of other data or with other settings never goes on from them.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from jobkit.errors import JobError
from jobkit.progress import say
from jobkit.storage import Storage

FOLDER_VARIABLE = "AIP_CHECKPOINT_DIR"


class Checkpoints:
    """A folder of files that belong to one training."""

    def __init__(self, storage: Storage, folder_uri: str) -> None:
        self._storage = storage
        self._folder = folder_uri.rstrip("/")

    @classmethod
    def of(cls, storage: Storage, training_file: str, settings: Mapping[str, object]) -> "Checkpoints":
        """Those of a training with these settings on this file."""
        words = json.dumps([training_file, storage.size(training_file), dict(settings)], sort_keys=True)
        name = hashlib.sha256(words.encode()).hexdigest()[:20]
        above = os.environ.get(FOLDER_VARIABLE) or f"{training_file.rpartition('/')[0]}/checkpoints"
        return cls(storage, f"{above.rstrip('/')}/{name}")

    def inner(self, name: str) -> "Checkpoints":
        """A folder within this one."""
        return Checkpoints(self._storage, f"{self._folder}/{name}")

    def keep(self, name: str, path: Path) -> None:
        """Copies a file to the folder, over what had the name. Safe to repeat. A file that cannot be kept is only
        logged: it costs time at worst."""
        try:
            self._storage.upload_file(path, f"{self._folder}/{name}")
        except JobError as error:
            say("The checkpoint could not be kept", severity="WARNING", reason=error.sentence)

    def fetch(self, name: str, path: Path) -> bool:
        """Copies a file of the folder to `path`; False where there is none that can be read."""
        uri = f"{self._folder}/{name}"
        try:
            if not self._storage.exists(uri):
                return False
            self._storage.download(uri, path)
        except JobError as error:
            say("A checkpoint cannot be read; its part is done anew", severity="WARNING", reason=error.sentence)
            return False
        return True
