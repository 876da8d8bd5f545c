"""CustomJob: a container of ours as a local process, with what Vertex gives to a container and says at its end."""

from typing import Any
from urllib.parse import quote

from google.cloud import aiplatform_v1

from local.vertex import kinds
from local.vertex.kinds import Outcome, proto_codec
from local.vertex.names import CUSTOM_JOBS, last_part
from local.vertex.processes import Command, JobProcess
from local.vertex.refusal import INVALID_ARGUMENT, JobFailed
from local.vertex.rules import DEFAULT_TIMEOUT_S
from local.vertex.store import Store, Table
from local.vertex.workshop import Workshop

OUTPUT_FOLDERS = {
    "AIP_MODEL_DIR": "model/",
    "AIP_CHECKPOINT_DIR": "checkpoints/",
    "AIP_TENSORBOARD_LOG_DIR": "logs/",
}


class CustomJobs:
    """How a custom job runs."""

    announces_end = True
    codec = proto_codec(aiplatform_v1.CustomJob)

    def __init__(self, store: Store, workshop: Workshop, project: str) -> None:
        self.table: Table[Any] = Table(store, CUSTOM_JOBS, self.codec)
        self._workshop = workshop
        self._project = project

    def timeout_s(self, resource: Any) -> float:
        """Return the job's own limit, or Vertex's seven days."""
        scheduling = resource.job_spec.scheduling
        return float(scheduling.timeout.total_seconds()) if "timeout" in scheduling else DEFAULT_TIMEOUT_S

    def prepare(self, resource: Any) -> Command:
        """Return the container's command with its arguments and environment. Raises JobFailed."""
        container = resource.job_spec.worker_pool_specs[0].container_spec
        image = self._workshop.image(container.image_uri)
        entrypoint = list(container.command) or list(image.entrypoint)
        words = [*entrypoint, *(list(container.args) or ([] if container.command else image.default_arguments))]
        if not words:
            raise JobFailed(
                INVALID_ARGUMENT, f"Image {image.name} has no ENTRYPOINT in JSON form and no command is given."
            )
        environment = {variable.name: variable.value for variable in container.env}
        return self._workshop.command(image, last_part(resource.name), words, {**_outputs(resource), **environment})

    def finish(self, resource: Any, process: JobProcess, code: int) -> Outcome:
        """Say no more than Vertex does: that the container's exit code was not 0. What went wrong is in the log."""
        if code == 0:
            return Outcome(kinds.SUCCEEDED, resource)
        job_id = last_part(resource.name)
        where = quote(f"ml_job/job_id/{job_id}", safe="")
        return Outcome(
            kinds.FAILED,
            resource,
            INVALID_ARGUMENT,
            f"The replica workerpool0-0 exited with a non-zero status of {code}. Termination reason: Error. \n"
            "To find out more about why your job exited please check the logs: "
            f"https://console.cloud.google.com/logs/viewer?project={self._project}&resource={where}",
        )


def _outputs(resource: Any) -> dict[str, str]:
    """Return the folders that Vertex derives from baseOutputDirectory."""
    prefix = resource.job_spec.base_output_directory.output_uri_prefix
    if not prefix:
        return {}
    return {name: f"{prefix.rstrip('/')}/{folder}" for name, folder in OUTPUT_FOLDERS.items()}
