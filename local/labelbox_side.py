"""What Labelbox does: finds the model run of an export, sends the signed request, and remembers what it was told."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.signature import sign

REQUEST_TIMEOUT_S = 30.0
SET_CONFIG = (
    "mutation updateModelRunConfigPyApi($modelRunId: ID!, $data: UpdateModelRunConfigInput!)"
    "{updateModelRunConfig(modelRun: {id : $modelRunId}, data: $data){trainingMetadata}}"
)


class NoModelRun(Exception):
    """An export without a row that belongs to a model run."""


class RequestRefused(Exception):
    """The coordinator answered the request with an error; the text has the status and the body."""


@dataclass(frozen=True)
class TrainingRequest:
    """The body of POST /model_run, as Labelbox sends it after "Train model"."""

    model_id: str
    model_run_id: str
    model_type: str

    @classmethod
    def for_export(cls, export: Path, model_type: str) -> TrainingRequest:
        """The request for the first model run that an export names."""
        with export.open(encoding="utf-8") as lines:
            for line in lines:
                for model_id, model in (json.loads(line).get("experiments") or {} if line.strip() else {}).items():
                    for run_id in model.get("runs") or {}:
                        return cls(model_id, run_id, model_type)
        raise NoModelRun(f"{export}: no row belongs to a model run (experiments.<model>.runs.<run>)")

    @property
    def body(self) -> bytes:
        """The raw body: what is signed is exactly this."""
        named = {"modelId": self.model_id, "modelRunId": self.model_run_id, "modelType": self.model_type}
        return json.dumps(named).encode()

    def curl(self, origin: str, secret: str) -> str:
        """A command that a person can paste: this request with a valid signature."""
        return (
            f"curl -sS -X POST {origin}/model_run -H 'Content-Type: application/json' "
            f"-H 'x-hub-signature: {sign(self.body, secret)}' --data '{self.body.decode()}'"
        )

    def send(self, origin: str, secret: str) -> dict[str, Any]:
        """Send it and return the answer. May be repeated: a run that is active answers for itself."""
        request = urllib.request.Request(
            f"{origin}/model_run",
            data=self.body,
            headers={"Content-Type": "application/json", "x-hub-signature": sign(self.body, secret)},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
                content = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode("utf-8", "replace")
            raise RequestRefused(f"POST /model_run was answered {error.code}: {text}") from error
        assert isinstance(content, dict)
        return content


@dataclass(frozen=True)
class ModelRunState:
    """A model run as Labelbox shows it, with every status it was told, in order."""

    status: str
    statuses: tuple[str, ...]
    error_message: str
    metadata: Mapping[str, str]
    predictions: int
    prediction_rows: int
    metrics: int
    data_rows: int

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> ModelRunState:
        """From the stand-in's own words."""
        return cls(
            status=told["status"] or "",
            statuses=tuple(entry["status"] for entry in told["statuses"]),
            error_message=told["error_message"] or "",
            metadata=told["metadata"] or {},
            predictions=told["predictions"],
            prediction_rows=told["prediction_rows"],
            metrics=told["metrics"],
            data_rows=told["data_rows"],
        )


class LabelboxControl:
    """Labelbox beside training: a model run's page and its config; and the switches of the stand-in."""

    def __init__(self, origin: str, api_key: str) -> None:
        self._origin, self._api_key = origin, api_key

    def model_run(self, model_run_id: str) -> ModelRunState:
        """What a model run was told and given."""
        return ModelRunState.read(self.state()["model_runs"][model_run_id])

    def predictions(self, model_run_id: str) -> list[dict[str, Any]]:
        """Every prediction and metric row that was sent for a model run."""
        query = urllib.parse.urlencode({"modelRunId": model_run_id})
        url = f"{self._origin}/_control/predictions?{query}"
        with urllib.request.urlopen(url, timeout=REQUEST_TIMEOUT_S) as answer:
            return [json.loads(line) for line in answer]

    def set_config(self, model_run_id: str, config: Mapping[str, Any]) -> None:
        """Set the model run's config as its page in Labelbox does. Safe to repeat: the last one stands."""
        body = {"query": SET_CONFIG, "variables": {"modelRunId": model_run_id, "data": {"config": config}}}
        answer = self._post("/graphql", body, {"Authorization": f"Bearer {self._api_key}"})
        if errors := answer.get("errors"):
            raise RequestRefused(f"the config was not taken: {errors[0].get('message')}")

    def state(self) -> dict[str, Any]:
        """All that the stand-in knows, by model run and project."""
        with urllib.request.urlopen(f"{self._origin}/_control/state", timeout=REQUEST_TIMEOUT_S) as answer:
            content = json.load(answer)
        assert isinstance(content, dict)
        return content

    def change(self, settings: dict[str, Any]) -> None:
        """Change switches. Safe to repeat: the last value counts."""
        self._post("/_control/settings", settings, {})

    def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(
            self._origin + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
            content = json.load(answer)
        assert isinstance(content, dict)
        return content
