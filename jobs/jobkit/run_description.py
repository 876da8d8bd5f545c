"""What the orchestrator tells a job of its run (environment RUN_DESCRIPTION); nothing where a job is run by hand."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VARIABLE = "RUN_DESCRIPTION"


@dataclass(frozen=True)
class RunDescription:
    """The run of this job; every field is empty where nothing was told.

    run       the run's id, MODEL_RUN.NUMBER
    accepted  when the run began, RFC 3339 in UTC
    model_version  the run's model in the Model Registry, where it has one
    jobs      each attempt so far: stage, job, attempt, kind, state, launched, ended, machine, image, spot,
                   resources (name and number of each thing that is billed by its hours)
    prices         by the hour, of those resources that the deployment has a price for
    """

    run: str = ""
    model_run_id: str = ""
    pipeline: str = ""
    accepted: str = ""
    model_version: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    jobs: Sequence[Mapping[str, Any]] = ()
    reused_jobs: Sequence[str] = ()
    prices: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "RunDescription":
        """What was told; an unreadable text counts as nothing, since no result depends on it."""
        try:
            body = json.loads(environment.get(VARIABLE) or "{}")
        except ValueError:
            return cls()
        if not isinstance(body, dict):
            return cls()
        known = {name: body[name] for name in cls.__dataclass_fields__ if name in body}
        return cls(**known)
