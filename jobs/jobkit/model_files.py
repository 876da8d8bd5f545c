"""A saved model as files in the bucket: a folder up, and a folder down. What lies in it is the model's own affair."""

from pathlib import Path

from jobkit.errors import BadConfiguration
from jobkit.storage import Storage

DESCRIPTION_FILE = "model.json"  # says of which kind a model is; every kind has it


def upload_model(storage: Storage, folder: Path, folder_uri: str) -> None:
    """Copies every file below a local folder. Safe to repeat: the same files, the same names."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.upload_file(path, f"{folder_uri.rstrip('/')}/{path.relative_to(folder).as_posix()}")


def download_model(storage: Storage, folder_uri: str, folder: Path) -> None:
    """Copies every object below a gs:// folder; BadConfiguration where none is a model's description."""
    above = folder_uri.rstrip("/") + "/"
    for uri in storage.list(above):
        name = uri.removeprefix(above)
        if not name or ".." in name.split("/"):
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.download(uri, path)
    if not (folder / DESCRIPTION_FILE).is_file():
        raise BadConfiguration(f"{above} does not exist or holds no model.", "Give the folder that training wrote.")
