"""What Vertex refuses at once, shared by all kinds of resources: labels, names, uris, custom jobs.

The limits are those of the fields' comments in google-cloud-aiplatform 2.7.0 and of Vertex's documentation.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from local.vertex.refusal import Problems, Refused

LARGEST_DISPLAY_NAME = 128
MOST_LABELS = 64
LONGEST_LABEL = 64
MOST_ENVIRONMENT_VARIABLES = 100
LONGEST_MODEL_ID = 63
DEFAULT_TIMEOUT_S = 7 * 24 * 3600.0
DISK_TYPES = ("", "pd-ssd", "pd-standard", "hyperdisk-balanced")
IMAGE_URI = r"[\w.:-]+(/[\w.-]+)*/[\w.-]+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?"
SMALLEST_DISK_GB, LARGEST_DISK_GB = 100, 64000


def display_name(problems: Problems, field: str, value: str) -> None:
    """Note a missing display name and one of more than 128 characters."""
    if not value:
        problems.add(field, "Required field is not set.")
    elif len(value) > LARGEST_DISPLAY_NAME:
        problems.add(field, f"The display name must be at most {LARGEST_DISPLAY_NAME} characters long.")


def label_text_is_legal(text: str) -> bool:
    """Say whether a label's key or value keeps to lowercase letters, digits, underscores and hyphens, 64 at most.

    Letters of scripts without case are lowercase letters, too.
    """
    return len(text) <= LONGEST_LABEL and all(
        character in "_-" or character.isdigit() or (character.isalpha() and character == character.lower())
        for character in text
    )


def labels(problems: Problems, field: str, values: Mapping[str, str]) -> None:
    """Note too many labels, and keys and values out of the alphabet or too long."""
    if len(values) > MOST_LABELS:
        problems.add(field, f"At most {MOST_LABELS} labels are allowed.")
    for key, value in values.items():
        if not key or not key[0].isalpha() or not label_text_is_legal(key) or not label_text_is_legal(value):
            problems.add(
                field,
                "Label keys and values can only contain lowercase letters, numbers, dashes and underscores, at most "
                f"{LONGEST_LABEL} characters; keys start with a letter: {key!r}: {value!r}",
            )


def gcs_uri(problems: Problems, field: str, value: str) -> None:
    """Note what is not gs://bucket or gs://bucket/object."""
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+[a-z0-9](/.*)?", value):
        problems.add(field, f"The Cloud Storage uri is invalid: {value!r}")


def model_id(problems: Problems, field: str, value: str) -> None:
    """Note a model id that is too long, out of the alphabet, or begins with a digit or hyphen."""
    if not re.fullmatch(rf"[a-z_][a-z0-9_-]{{0,{LONGEST_MODEL_ID - 1}}}", value):
        problems.add(
            field,
            f"The model id must be at most {LONGEST_MODEL_ID} of [a-z0-9_-] and must not start with a digit or hyphen.",
        )


def custom_job(job: Any) -> None:
    """Refuse a custom job that Vertex would refuse; and one that only this stand-in cannot run, as UNIMPLEMENTED."""
    problems = Problems()
    display_name(problems, "custom_job.display_name", job.display_name)
    labels(problems, "custom_job.labels", job.labels)
    spec = job.job_spec
    if not spec.worker_pool_specs:
        problems.add("custom_job.job_spec.worker_pool_specs", "Required field is not set.")
    for number, pool in enumerate(spec.worker_pool_specs):
        _worker_pool(problems, f"custom_job.job_spec.worker_pool_specs[{number}]", pool, first=number == 0)
    if "base_output_directory" in spec:
        uri = spec.base_output_directory.output_uri_prefix
        gcs_uri(problems, "custom_job.job_spec.base_output_directory.output_uri_prefix", uri)
    if "timeout" in spec.scheduling and spec.scheduling.timeout.total_seconds() <= 0:
        problems.add("custom_job.job_spec.scheduling.timeout", "The timeout must be positive.")
    problems.refuse_if_any()
    if len(spec.worker_pool_specs) > 1 or spec.worker_pool_specs[0].python_package_spec.package_uris:
        raise Refused(
            grpc.StatusCode.UNIMPLEMENTED, "The local stand-in runs one container in one worker pool, nothing else."
        )


def _worker_pool(problems: Problems, field: str, pool: Any, first: bool) -> None:
    if not pool.machine_spec.machine_type:
        problems.add(f"{field}.machine_spec.machine_type", "Required field is not set.")
    if pool.machine_spec.accelerator_count and not pool.machine_spec.accelerator_type:
        problems.add(f"{field}.machine_spec.accelerator_type", "Required with accelerator_count.")
    if pool.replica_count < 1 or (first and pool.replica_count != 1):
        problems.add(f"{field}.replica_count", "The first worker pool needs exactly 1 replica, any other at least 1.")
    _disk(problems, f"{field}.disk_spec", pool.disk_spec)
    if "python_package_spec" in pool:
        return
    container = pool.container_spec
    if not container.image_uri:
        problems.add(f"{field}.container_spec.image_uri", "Required field is not set.")
    elif not re.fullmatch(IMAGE_URI, container.image_uri):
        problems.add(f"{field}.container_spec.image_uri", f"The image uri is invalid: {container.image_uri!r}")
    environment(problems, f"{field}.container_spec.env", container.env)


def environment(problems: Problems, field: str, variables: Sequence[Any]) -> None:
    """Note too many of a container's environment variables, and names that are none."""
    if len(variables) > MOST_ENVIRONMENT_VARIABLES:
        problems.add(field, f"At most {MOST_ENVIRONMENT_VARIABLES} variables are allowed.")
    if any(not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable.name) for variable in variables):
        problems.add(f"{field}.name", "Each name must be a valid C identifier.")


def _disk(problems: Problems, field: str, disk: Any) -> None:
    if disk.boot_disk_type not in DISK_TYPES:
        problems.add(f"{field}.boot_disk_type", f"Unknown disk type: {disk.boot_disk_type!r}")
    if disk.boot_disk_size_gb and not SMALLEST_DISK_GB <= disk.boot_disk_size_gb <= LARGEST_DISK_GB:
        problems.add(f"{field}.boot_disk_size_gb", f"Must be between {SMALLEST_DISK_GB} and {LARGEST_DISK_GB}.")
