"""Where jobs run: turns an image and its arguments into a local command with the image's own environment."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.environments import EnvironmentFailed, ensure
from local.vertex.images import JobImage, JobImages
from local.vertex.processes import Command, JobProcess
from local.vertex.refusal import INVALID_ARGUMENT, NOT_FOUND, JobFailed

PYTHONS = ("python", "python3")
# What a process needs of its host. Nothing else is passed on, as a container would see nothing else. MODELS_DIR is the
# folder of pretrained models that a GPU image has baked in.
HOST_VARIABLES = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "MODELS_DIR")


@dataclass(frozen=True)
class Workshop:
    """Images, environments and folders of this machine. `job_environment` is given to every job (emulator hosts)."""

    images: JobImages
    environments_dir: Path
    state_dir: Path
    project: str
    job_environment: Mapping[str, str]

    def process(self, job_id: str) -> JobProcess:
        """Return the process of a job, as it is on record."""
        return JobProcess(self.state_dir / "work" / job_id)

    def log(self, job_id: str) -> Path:
        """Return where a job's output goes."""
        return self.state_dir / "logs" / f"{job_id}.log"

    def image(self, image_uri: str) -> JobImage:
        """Return an image by its uri; raises JobFailed as Vertex says it when it cannot be pulled."""
        found = self.images.find(image_uri)
        if found is None:
            raise JobFailed(INVALID_ARGUMENT, f"Image {image_uri!r} is not found: no folder of jobs/ is built into it.")
        return found

    def own_image(self, name: str) -> JobImage:
        """Return an image of this project by name; raises JobFailed when this checkout has none."""
        found = self.images.named(name)
        if found is None:
            raise JobFailed(NOT_FOUND, f"The local stand-in has no trainer: no folder of jobs/ is built into {name}.")
        return found

    def command(
        self,
        image: JobImage,
        job_id: str,
        words: Sequence[str],
        environment: Mapping[str, str],
    ) -> Command:
        """Return the command that runs `words` in the image, whose environment is installed first (may take minutes).

        The caller's variables win over the defaults, the stand-in's own (emulator hosts) over both. Raises JobFailed.
        """
        try:
            python = ensure(image.requirements, self.environments_dir)
        except EnvironmentFailed as error:
            raise JobFailed(
                INVALID_ARGUMENT, f"Image {image.name} cannot be prepared on this machine: {error}"
            ) from error
        arguments = [str(python), *words[1:]] if words[0] in PYTHONS else list(words)
        return Command(arguments, self._environment(image, job_id, python, environment))

    def _environment(
        self, image: JobImage, job_id: str, python: Path, environment: Mapping[str, str]
    ) -> dict[str, str]:
        folder = self.process(job_id).work_folder
        temporary = folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        others = (path for path in self.images.jobs_dirs if path != image.jobs_dir)
        defaults = {name: os.environ[name] for name in HOST_VARIABLES if name in os.environ}
        defaults["PATH"] = f"{python.parent}{os.pathsep}{defaults.get('PATH', os.defpath)}"
        return {
            **defaults,
            # A home of its own: no job finds the person's credentials or leaves files with them.
            "HOME": str(folder),
            "TMPDIR": str(temporary),
            "PYTHONPATH": os.pathsep.join(str(path.absolute()) for path in (image.jobs_dir, *others)),
            "PYTHONUNBUFFERED": "1",
            # Spinning threads cost a shared laptop several times the time of a training (measured).
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": str(os.cpu_count() or 1),
            **environment,
            "CLOUD_ML_JOB_ID": job_id,
            "CLOUD_ML_PROJECT_ID": self.project,
            **self.job_environment,
        }
