"""Settings of a deployment: read once from the environment, complete or refused with every missing name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from typing import Any

from orchestrator.errors import BadSettings

_LABEL = re.compile(r"(?!lb_)[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple((key.strip(), value.strip()) for key, _, value in (word.partition("=") for word in _words(text)))
    wrong = [key for key, value in pairs if not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value)]
    if wrong:
        raise ValueError(f"labels are key=value of lowercase letters, digits, _ and -, at most 63; wrong: {wrong}")
    return pairs


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError("must be a number above 0; leave it empty for no cap")
    return value


def _prices(text: str) -> tuple[tuple[str, float], ...]:
    pairs = tuple((name.strip(), float(price)) for name, _, price in (word.partition("=") for word in _words(text)))
    if wrong := [name for name, price in pairs if not name or not 0 <= price < math.inf]:
        raise ValueError(f"prices are RESOURCE=PRICE,... and not negative; wrong: {wrong}")
    return pairs


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes"):
        return True
    if text.lower() in ("", "0", "false", "no"):
        return False
    raise ValueError("must be true or false")


def _setting(help_text: str, *, default: Any = MISSING, read: Callable[[str], Any] = str) -> Any:
    return field(default=default, metadata={"help": help_text, "read": read})


@dataclass(frozen=True)
class Settings:
    """Every setting of the functions. A field's environment variable is its name in capitals."""

    google_cloud_project: str = _setting("Project of the deployment.")
    region: str = _setting("Region of Vertex AI, the bucket and the functions.")
    deployment_name: str = _setting("Prefix of topics; label on every Vertex resource.")
    bucket: str = _setting("Bucket of facts and data.")
    job_service_account: str = _setting("Account that Vertex jobs run as.")
    image_repository: str = _setting("Artifact Registry folder of the job images, REGION-docker.pkg.dev/PROJECT/REPO.")
    image_tag: str = _setting("Tag of the job images.", default="latest")

    labelbox_endpoint: str = _setting("Labelbox's GraphQL endpoint.", default="https://api.labelbox.com/graphql")
    labelbox_api_key: str = _setting("Labelbox API key; leave empty to read it from Secret Manager.", default="")
    labelbox_api_key_secret: str = _setting("Secret id of the Labelbox API key.", default="")
    service_secret: str = _setting("Secret that Labelbox signs with; leave empty for Secret Manager.", default="")
    service_secret_secret: str = _setting("Secret id of the signing secret.", default="")

    vertex_endpoint: str = _setting("Vertex endpoint; http://host:port for an insecure channel.", default="")
    secret_manager_endpoint: str = _setting("Secret Manager endpoint; http://host:port as above.", default="")
    artifact_registry_endpoint: str = _setting(
        "Registry to ask for image digests; empty for the image's own host, http://host:port as above.", default=""
    )
    pipelines_dir: str = _setting("Folder of the pipeline files; empty for the shipped one.", default="")
    data_buckets: str = _setting("Buckets of your own whose objects data rows may name, comma separated.", default="")
    allow_private_addresses: bool = _setting("Let jobs fetch from private addresses.", default=False, read=_flag)

    resource_labels: tuple[tuple[str, str], ...] = _setting(
        "Labels of your own on every Vertex resource, k=v,k=v; for the billing export.", default=(), read=_labels
    )
    job_network: str = _setting("Network that jobs are peered with, projects/NUMBER/global/networks/NAME.", default="")
    kms_key_name: str = _setting("Key that encrypts Vertex resources; empty for Google's own.", default="")

    allowed_machines: tuple[str, ...] = _setting(
        "Machine types that a run may ask for.",
        default=("e2-standard-4", "n1-standard-4", "n1-standard-8", "n1-highmem-8", "g2-standard-8"),
        read=_words,
    )
    allowed_accelerators: tuple[str, ...] = _setting(
        "Accelerators that a run may ask for.", default=("NVIDIA_TESLA_T4", "NVIDIA_L4"), read=_words
    )
    max_accelerators: int = _setting("Most accelerators of one job.", default=1, read=int)
    max_automl_milli_node_hours: int = _setting("Largest AutoML budget of a run.", default=24000, read=int)
    max_active_runs: int = _setting("Runs under way at once; a further one fails.", default=20, read=int)
    max_runs_per_day: int = _setting("Runs accepted on one UTC day.", default=100, read=int)

    max_job_hours: float | None = _setting(
        "Most machine hours of one launch, by its time limit or AutoML budget; empty for no cap.",
        default=None,
        read=_positive,
    )
    max_run_hours: float | None = _setting(
        "Most machine hours of a run, all its launches together; one that would pass it is not made; empty for no cap.",
        default=None,
        read=_positive,
    )
    max_job_cost: float | None = _setting(
        "Most that one launch may cost at `HOURLY_PRICES`; empty for no cap.", default=None, read=_positive
    )
    max_run_cost: float | None = _setting(
        "Most that a run may cost at `HOURLY_PRICES`; empty for no cap.", default=None, read=_positive
    )
    hourly_prices: tuple[tuple[str, float], ...] = _setting(
        "Your prices by the hour for the two caps above and for the costs in reports, in one currency: "
        "RESOURCE=PRICE,... of machine types, accelerators, `automl_image_training_node` and "
        "`batch_prediction_node`; RESOURCE/spot for spot machines.",
        default=(),
        read=_prices,
    )

    call_deadline_s: float = _setting("Longest wait for one call to a Google service.", default=20.0, read=float)
    function_timeout_s: float = _setting("Time-out of a function.", default=60.0, read=float)
    ack_deadline_s: float = _setting("Ack deadline of the push subscriptions.", default=90.0, read=float)
    claim_hold_s: float = _setting("How long a claim keeps others from launching.", default=300.0, read=float)
    reconcile_period_s: float = _setting("Period of the reconcile tick.", default=60.0, read=float)
    republish_after_s: float = _setting(
        "Silence of a run after which its event is sent again.", default=900.0, read=float
    )
    retry_backoff_s: float = _setting("Wait before the second attempt of a job; doubles.", default=60.0, read=float)
    quota_backoff_s: float = _setting("Wait after a create was refused for quota.", default=120.0, read=float)
    quota_limit_s: float = _setting("Longest wait for quota before the run fails.", default=86400.0, read=float)
    deleted_check_s: float = _setting(
        "How often a run under way is looked up in Labelbox, to stop it if its model run was deleted.",
        default=900.0,
        read=float,
    )
    early_hint_s: float = _setting("Age up to which an early end hint is refused.", default=300.0, read=float)
    labelbox_timeout_s: float = _setting("Longest wait for one Labelbox request.", default=5.0, read=float)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read all settings; raises BadSettings that names every missing or unreadable variable at once."""
        env = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        problems: list[str] = []
        for item in fields(cls):
            name = item.name.upper()
            text = env.get(name, "")
            if not text:
                if item.default is MISSING:
                    problems.append(f"{name} is not set ({item.metadata['help']})")
                continue
            try:
                values[item.name] = item.metadata["read"](text)
            except ValueError as error:
                problems.append(f"{name}={text!r} cannot be read: {error}")
        if problems:
            raise BadSettings("Settings: " + "; ".join(problems))
        settings = cls(**values)
        settings.check()
        return settings

    def check(self) -> None:
        """Refuse contradictions: secrets without a source, and a broken time chain (docs/decisions/time-chain.md)."""
        problems = []
        if not (self.labelbox_api_key or self.labelbox_api_key_secret):
            problems.append("set LABELBOX_API_KEY or LABELBOX_API_KEY_SECRET")
        if not (self.service_secret or self.service_secret_secret):
            problems.append("set SERVICE_SECRET or SERVICE_SECRET_SECRET")
        chain = ("call_deadline_s", "function_timeout_s", "ack_deadline_s", "claim_hold_s")
        for shorter, longer in pairwise(chain):
            if not getattr(self, shorter) < getattr(self, longer):
                problems.append(
                    f"{shorter.upper()}={getattr(self, shorter):g} must be less than "
                    f"{longer.upper()}={getattr(self, longer):g}"
                )
        if problems:
            raise BadSettings("Settings: " + "; ".join(problems))

    def topic(self, name: str) -> str:
        """Full name of one of the deployment's topics: etl, train, inference, custom, job-state, dead-letter."""
        return f"projects/{self.google_cloud_project}/topics/{self.deployment_name}-{name}"

    @property
    def parent(self) -> str:
        """Parent of every Vertex resource."""
        return f"projects/{self.google_cloud_project}/locations/{self.region}"
