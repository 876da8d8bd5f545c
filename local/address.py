"""`.local/up.json`: where a cloud that `up` keeps running serves, for the operator's command line and for scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from local.cloud import API_KEY, EmbeddedCloud

FILE_NAME = "up.json"


@dataclass(frozen=True)
class Address:
    """How to reach a running embedded cloud.

    environment: the settings of its functions, which name every endpoint. coordinator_url: what Labelbox would call.
    job_logs: the folder of the jobs' logs, `<job number>.log`. pid: the process whose end is the cloud's end.
    """

    coordinator_url: str
    labelbox_url: str
    state_dir: str
    job_logs: str
    environment: Mapping[str, str]
    pid: int
    labelbox_api_key: str = API_KEY
    version: int = 1

    @classmethod
    def of(cls, cloud: EmbeddedCloud) -> Address:
        """The address of a cloud of this process."""
        return cls(
            coordinator_url=cloud.origin,
            labelbox_url=cloud.labelbox.url,
            state_dir=str(cloud.state.path),
            job_logs=str(cloud.job_log("x").parent),
            environment=dict(cloud.environment),
            pid=os.getpid(),
        )

    def write(self, local_dir: Path) -> Path:
        """Write the file whole, over that of another cloud, and return its path."""
        path = local_dir / FILE_NAME
        local_dir.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{FILE_NAME}.{self.pid}.tmp")
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
        return path

    @classmethod
    def read(cls, folder: Path) -> Address:
        """What `write` left in a folder; OSError or ValueError where there is none that can be read."""
        content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})

    @contextmanager
    def published(self, local_dir: Path) -> Iterator[None]:
        """The file stands while the block runs; afterwards it goes, unless another cloud has written its own."""
        path = self.write(local_dir)
        mine = path.read_bytes()
        try:
            yield
        finally:
            if path.exists() and path.read_bytes() == mine:
                path.unlink()
