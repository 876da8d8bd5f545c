"""A trained model becomes a version of its model type's one model in Vertex's Model Registry.

Training is paid for before this begins, so nothing here can fail the job: what is wrong with the arguments is told
before the training, and a refusal of Vertex after it becomes a note in the result.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from jobkit.ending import Result
from jobkit.errors import BadConfiguration, JobError, shorten
from jobkit.progress import say

# Arguments of every training job that registers its model, with their defaults (jobkit.arguments.parse).
OPTIONS = {
    "register-model": "false",
    "model-type": "",
    "model-run-id": "",
    "labels": "",
    "serving-image": "",
    "serving-command": "",
}
LONGEST_MODEL_ID = 63  # https://docs.cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/upload
LONGEST_NOTE = 255
DEPLOYMENT, RUN_NUMBER = "lb_deployment", "lb_run_number"
FIGURES = 6  # of a description


@dataclass(frozen=True)
class Registration:
    """What is known of a model before it is trained: where it will be registered, as whose, and what serves it."""

    model_type: str
    model_run_id: str
    labels: Mapping[str, str]
    serving_image: str
    serving_command: tuple[str, ...]

    @classmethod
    def asked(cls, arguments: Mapping[str, str]) -> "Registration | None":
        """What the arguments ask for; None without --register-model=true. Raises BadConfiguration that names all that
        is missing or wrong."""
        flag = arguments["register-model"].strip().lower()
        if flag not in ("true", "false"):
            raise BadConfiguration(f"--register-model must be true or false, not '{arguments['register-model']}'.")
        if flag == "false":
            return None
        from jobkit.vertex import parse_labels

        missing = [name for name in OPTIONS if not arguments[name].strip()]
        if missing:
            raise BadConfiguration(
                f"--register-model=true needs {', '.join(f'--{name}' for name in missing)}, too.",
                "Compare the job's args in the pipeline file with those of functions/pipelines/.",
            )
        labels = parse_labels(arguments["labels"])
        if DEPLOYMENT not in labels:
            raise BadConfiguration(f"--labels must hold {DEPLOYMENT}: the model is named after it.")
        command = tuple(arguments["serving-command"].split())
        return cls(
            arguments["model-type"], arguments["model-run-id"], labels, arguments["serving-image"].strip(), command
        )

    @property
    def model_id(self) -> str:
        """The same for every run of this model type in this deployment."""
        return model_id(self.labels[DEPLOYMENT], self.model_type)

    def description(self, metrics: Mapping[str, float]) -> str:
        """Where a version comes from and its headline figures, for people."""
        number = f", run {self.labels[RUN_NUMBER]}" if RUN_NUMBER in self.labels else ""
        told = [f"{name} {value:.4g}" for name, value in _headline(metrics)]
        figures = f" On the validation split: {', '.join(told)}." if told else ""
        return f"Trained from Labelbox model run {self.model_run_id}{number}.{figures}"


def model_id(deployment: str, model_type: str) -> str:
    """DEPLOYMENT-MODEL_TYPE in Vertex's alphabet. One that is too long ends in a hash, so that no two are the same."""
    joined = f"{deployment}-{model_type}"
    safe = re.sub(r"[^a-z0-9_-]", "-", joined.lower())
    if not re.match(r"[a-z_]", safe):
        safe = f"m-{safe}"
    if len(safe) <= LONGEST_MODEL_ID:
        return safe
    digest = hashlib.sha256(joined.encode()).hexdigest()[:10]
    return f"{safe[: LONGEST_MODEL_ID - 11]}-{digest}"


def with_registration(arguments: Mapping[str, str], train: Callable[[], Result]) -> Result:
    """Trains, then registers the output `model` if the arguments ask for it. The result tells the version's resource
    name (output and metadata `model_version`), or why there is none.

    Safe to repeat: a version that has this attempt's label is taken over. Raises BadConfiguration before the training.
    """
    registration = Registration.asked(arguments)
    result = train()
    if registration is None:
        return replace(result, outputs={**result.outputs, "model_version": ""})
    name, note = _registered(registration, result)
    return replace(
        result,
        outputs={**result.outputs, "model_version": name},
        counts={**result.counts, "models_registered": 1 if name else 0},
        metadata={**result.metadata, "model_version": name or shorten(f"not registered: {note}", LONGEST_NOTE)},
    )


def _registered(registration: Registration, result: Result) -> tuple[str, str]:
    """(the version's name, "") or ("", why there is none)."""
    try:
        from google.api_core import exceptions as google_errors
        from google.auth import exceptions as auth_errors

        from jobkit.model_versions import ModelVersions
    except ImportError as error:
        return "", f"the training job's image lacks a package of Google's ({error.name})"
    try:
        versions = ModelVersions.of_environment(registration.model_id)
        name = versions.register(registration, result.outputs["model"], result.metrics)
    except JobError as error:
        reason = error.sentence
    except (google_errors.GoogleAPIError, auth_errors.GoogleAuthError) as error:
        reason = str(getattr(error, "message", "") or error) or type(error).__name__
    else:
        say("The model is registered", version=name)
        return name, ""
    say("The model is not registered; the run goes on without", severity="WARNING", reason=reason)
    return "", reason


def _headline(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    prefix = "validation_"
    return [(name.removeprefix(prefix), value) for name, value in metrics.items() if name.startswith(prefix)][:FIGURES]
