"""Job images without a container engine: an image's name says which folder of jobs/ it is built from."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class JobImage:
    """A folder with a Dockerfile, as the image that is built from it."""

    name: str
    folder: Path
    jobs_dir: Path
    entrypoint: tuple[str, ...]
    default_arguments: tuple[str, ...]

    @property
    def requirements(self) -> Path:
        """Return the file that names what the image has installed."""
        return self.folder / "requirements.txt"


@dataclass(frozen=True)
class JobImages:
    """All images of some jobs folders: `jobs/<stage>/<name>/Dockerfile` and `gpu/Dockerfile` below it. The folders are
    read at each look."""

    jobs_dirs: Sequence[Path]

    def find(self, image_uri: str) -> JobImage | None:
        """Return the image that a uri names by its last part, whatever its registry, tag or digest."""
        return self.named(image_name(image_uri))

    def named(self, name: str) -> JobImage | None:
        """Return the image of this name (`etl-text-classification`), or None."""
        for jobs_dir in self.jobs_dirs:
            for dockerfile in sorted((*jobs_dir.glob("*/*/Dockerfile"), *jobs_dir.glob("*/*/gpu/Dockerfile"))):
                if folder_image_name(dockerfile.parent, jobs_dir) == name:
                    text = dockerfile.read_text()
                    return JobImage(
                        name, dockerfile.parent, jobs_dir, instruction(text, "ENTRYPOINT"), instruction(text, "CMD")
                    )
        return None


def image_name(image_uri: str) -> str:
    """Return the image's name: the last part of the path, before a tag or a digest."""
    return re.split(r"[:@]", image_uri.rsplit("/", 1)[-1], maxsplit=1)[0]


def folder_image_name(folder: Path, jobs_dir: Path) -> str:
    """Return the name that the build gives to the image of a folder: its path, joined by hyphens."""
    return "-".join(folder.relative_to(jobs_dir).parts).replace("_", "-")


def instruction(dockerfile: str, name: str) -> tuple[str, ...]:
    """Return the words of the last `name ["a", "b"]` of a Dockerfile; none when it is missing or not in JSON form."""
    joined = re.sub(r"\\\s*\n", " ", dockerfile)
    found = re.findall(rf"^\s*{name}\s+(\[.*\])\s*$", joined, re.MULTILINE | re.IGNORECASE)
    return tuple(json.loads(found[-1])) if found else ()
