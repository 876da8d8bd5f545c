"""A container engine for tests: builds the job images and starts them, also where no registry of images can be reached.

There a base image is made of the distribution's own packages (debootstrap, as root) and given the pinned name: the
Dockerfiles are then built as they stand, on a Debian whose Python is a patch version older.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.terraform.workspace import ROOT

BUILD_TIMEOUT_S, RUN_TIMEOUT_S, PULL_TIMEOUT_S = 1800, 600, 120
NOTHING: Mapping[str, str] = {}
# For a machine whose kernel gives a container less than podman asks for: no right to raise limits, old control groups.
MODEST = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class NoBaseImage(Exception):
    """The base image can neither be pulled nor made here; the text says what was tried."""


@dataclass(frozen=True)
class Built:
    """An image of a job's folder, what it weighs, and how long its build took."""

    folder: str
    name: str
    size_bytes: int
    seconds: float


class Engine:
    """docker or podman. Their own networks need rights that a build machine may not have, so the host's is used."""

    def __init__(self, program: str, scratch: Path) -> None:
        self.program, self.scratch = program, scratch
        self.environment = dict(os.environ)
        self.build_options: list[str] = []

    def run(self, *arguments: str, timeout_s: float = RUN_TIMEOUT_S) -> str:
        """Run it and return what it printed; AssertionError with its words if it fails."""
        done = self._run(arguments, timeout_s)
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def _run(self, arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, image: str, *arguments: str, entrypoint: str = "", environment: Mapping[str, str] = NOTHING) -> str:
        """Start a container and wait for its end."""
        options = ["--rm", "--network", "host", *(["--entrypoint", entrypoint] if entrypoint else [])]
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
        return self.run("run", *options, image, *arguments)

    def build(self, folder: str, context: Path, *more: str) -> Built:
        """The image of a folder below jobs/; `more` are options of the engine's build."""
        name = "job-image-test-" + folder.replace("/", "-").replace("_", "-")
        dockerfile = context / "jobs" / folder / "Dockerfile"
        began = time.monotonic()
        options = ("--network", "host", *self.build_options, *more, "--file", str(dockerfile), "--tag", name)
        self.run("build", *options, str(context), timeout_s=BUILD_TIMEOUT_S)
        seconds = time.monotonic() - began
        size = int(self.run("image", "inspect", "--format", "{{.Size}}", name))
        return Built(folder, name, size, seconds)

    def ready(self, base: str) -> None:
        """Have the base image, pulled or made, and containers that start; NoBaseImage if there is no way."""
        if self._run(("image", "inspect", base), RUN_TIMEOUT_S).returncode != 0:
            pulled = self._run(("pull", "--quiet", base), PULL_TIMEOUT_S)
            if pulled.returncode != 0:
                self._make(base, (pulled.stderr.strip().splitlines() or ["no reason given"])[-1])
        if self._run(("run", "--rm", "--network", "host", base, "python", "--version"), RUN_TIMEOUT_S).returncode != 0:
            modest = self.scratch / "containers.conf"
            modest.write_text(MODEST, encoding="utf-8")
            self.environment["CONTAINERS_CONF"] = str(modest)
            self.run("run", "--rm", "--network", "host", base, "python", "--version")
        self.build_options = self._local_packages()

    def _make(self, base: str, reason: str) -> None:
        """A stand-in for the base image, of the distribution's packages."""
        if not base.endswith("-bookworm") or os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise NoBaseImage(
                f"{base} cannot be pulled ({reason}), and a stand-in for it needs root, debootstrap and Debian bookworm"
            )
        root = self.scratch / "base"
        packages = "python3,python3-pip,python3-venv,ca-certificates"
        _must("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), *_mirror())
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        (root / "usr/local/bin/pip").symlink_to("/usr/bin/pip3")
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / leftover, ignore_errors=True)
        certificates = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
        shutil.copy(certificates, root / "etc/ssl/certs/ca-certificates.crt")
        (root / "etc/pip.conf").write_text(_pip_configuration(), encoding="utf-8")
        archive = self.scratch / "base.tar"
        _must("tar", "-C", str(root), "-cf", str(archive), ".")
        named = base if "/" in base else f"docker.io/library/{base}"
        self.run("import", "--change", 'CMD ["python3"]', str(archive), named)
        shutil.rmtree(root)
        archive.unlink()

    def _local_packages(self) -> list[str]:
        """Folders of packages on this machine that its pip is told to look into, for podman's builds."""
        if "podman" not in self.program:
            return []
        folders = {Path(*Path(urlsplit(place).path).parts[:2]) for place in _pip_places()}
        return [word for folder in sorted(folders) if folder.is_dir() for word in ("--volume", f"{folder}:{folder}:ro")]


def base_image(folders: Sequence[str]) -> str:
    """The one base that all Dockerfiles name."""
    found: set[str] = set()
    for folder in folders:
        text = (ROOT / "jobs" / folder / "Dockerfile").read_text(encoding="utf-8")
        found |= set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    (base,) = found
    return base


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    if done.returncode:
        raise NoBaseImage(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")


def _mirror() -> list[str]:
    """Where this machine's own packages of bookworm come from."""
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm")
    done = subprocess.run(asked, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    return [line for line in done.stdout.splitlines() if line.rstrip("/").endswith("/debian")][:1]


def _pip_settings() -> dict[str, str]:
    """This machine's settings of pip by their short names; the environment's win."""
    done = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        found[key.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ")
    return {key: found[key] for key in ("index-url", "extra-index-url", "find-links") if key in found}


def _pip_places() -> list[str]:
    return [
        place
        for value in _pip_settings().values()
        for place in value.split()
        if urlsplit(place).scheme in ("", "file") and urlsplit(place).path.startswith("/")
    ]


def _pip_configuration() -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in _pip_settings().items())
    return f"[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n{lines}"
