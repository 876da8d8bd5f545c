"""A pretrained network beside the model that was learned on it: its files go up to the bucket, and come down again."""

import atexit
import shutil
import tempfile
from pathlib import Path

from jobkit.errors import BadConfiguration
from jobkit.image.pretrained import CONFIG, PROCESSOR
from jobkit.storage import Storage

NETWORK = "network"  # the folder within a model's


def keep_network(storage: Storage, network: Path, folder_uri: str) -> None:
    """Copies a network's description, numbers and preprocessing. Safe to repeat: the same files, the same names."""
    for path in [network / CONFIG, network / PROCESSOR, *sorted(network.glob("*.safetensors*"))]:
        if path.is_file():
            storage.upload_file(path, f"{folder_uri.rstrip('/')}/{NETWORK}/{path.name}")


def fetch_network(storage: Storage, folder_uri: str) -> Path:
    """A model's network on this machine, for as long as this process lasts; BadConfiguration where there is none."""
    above = f"{folder_uri.rstrip('/')}/{NETWORK}/"
    folder = Path(tempfile.mkdtemp(prefix="network-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for uri in storage.list(above):
        name = uri.removeprefix(above)
        if name and "/" not in name:
            storage.download(uri, folder / name)
    if not (folder / CONFIG).is_file():
        raise BadConfiguration(f"{above} holds no network.", "Give the folder that the training job wrote.")
    return folder
