"""Labelbox as the orchestrator needs it: look a model run and its questions up, tell its status, read that back.

Plain GraphQL requests instead of the SDK: the SDK retries for two minutes whatever time-out it is given, and takes a
status for an unknown model run as a success.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.connections import Connections, NoAnswer
from orchestrator.errors import LabelboxRefused, LabelboxUnavailable
from orchestrator.questions import Question, questions_of
from orchestrator.secret_store import Secret

_LOOK_UP = "query TrainingServiceModelRun($id: ID!) { modelRun(where: {id: $id}) { id modelId trainingMetadata } }"
_MODEL = "query TrainingServiceModel($id: ID!) { model(where: {id: $id}) { id ontologyId } }"
_ONTOLOGY = "query TrainingServiceOntology($id: ID!) { ontology(where: {id: $id}) { id normalized } }"
_TELL = (
    "mutation TrainingServiceStatus($modelRunId: ID!, $data: UpdateTrainingPipelineInput!)"
    " { updateTrainingPipeline(modelRun: {id: $modelRunId}, data: $data) { status } }"
)
_READ_BACK = (
    "query TrainingServicePipeline($modelRunId: ID!)"
    " { trainingPipeline(where: {id: $modelRunId}) { status errorMessage metadata } }"
)
_ANSWER_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class ModelRun:
    """What Labelbox knows of a model run."""

    id: str
    model_id: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Telling:
    """A status due to Labelbox. `key` names it in the ledger; an empty error message clears an older one."""

    key: str
    status: str
    metadata: Mapping[str, str]
    error_message: str = ""


@dataclass(frozen=True)
class ShownStatus:
    """What Labelbox shows for a model run now."""

    status: str | None
    error_message: str
    metadata: Mapping[str, str]


class Labelbox(Protocol):
    """What the handlers need of Labelbox. All raise LabelboxUnavailable and LabelboxRefused."""

    def look_up(self, model_run_id: str) -> ModelRun:
        """The model run and its config."""

    def questions(self, model_run_id: str) -> tuple[Question, ...]:
        """The questions with options in the ontology of the model run's model."""

    def tell(self, model_run_id: str, telling: Telling) -> None:
        """Set the model run's status."""

    def read_back(self, model_run_id: str) -> ShownStatus:
        """The status that Labelbox shows."""


class LabelboxApi:
    """Labelbox's GraphQL API. Each request ends within `timeout_s`, answer and trickle included."""

    def __init__(self, endpoint: str, key: Secret, timeout_s: float) -> None:
        self._endpoint, self._key, self._timeout_s = endpoint, key, timeout_s
        self._connections = Connections(endpoint)
        # The status operations are experimental and live beside the stable endpoint.
        self._experimental = endpoint.replace("/graphql", "/_gql")

    def look_up(self, model_run_id: str) -> ModelRun:
        """See Labelbox. A refused key is read afresh once, since it may have been rotated."""
        found = self._ask(self._endpoint, _LOOK_UP, {"id": model_run_id}).get("modelRun")
        if not found:
            raise LabelboxRefused("unknown", "Labelbox knows no such model run")
        config = found.get("trainingMetadata")
        return ModelRun(
            str(found.get("id", "")), str(found.get("modelId") or ""), config if isinstance(config, dict) else {}
        )

    def questions(self, model_run_id: str) -> tuple[Question, ...]:
        """See Labelbox. Three requests, as the SDK makes them (get_model_run, get_model, get_ontology)."""
        model = self._ask(self._endpoint, _MODEL, {"id": self.look_up(model_run_id).model_id}).get("model")
        if not model:
            raise LabelboxRefused("unknown", "Labelbox knows no such model")
        found = self._ask(self._endpoint, _ONTOLOGY, {"id": str(model.get("ontologyId") or "")}).get("ontology")
        normalized = found.get("normalized") if found else None
        if not isinstance(normalized, dict):
            raise LabelboxRefused("unknown", "Labelbox knows no such ontology")
        return questions_of(normalized)

    def tell(self, model_run_id: str, telling: Telling) -> None:
        """See Labelbox. Safe to repeat: the same status again changes nothing, and metadata is merged."""
        data = {
            "status": telling.status,
            "errorMessage": telling.error_message,
            "metadata": dict(telling.metadata),
        }
        answer = self._ask(self._experimental, _TELL, {"modelRunId": model_run_id, "data": data})
        if not answer.get("updateTrainingPipeline"):
            raise LabelboxRefused("unknown", "Labelbox did not update the model run")

    def read_back(self, model_run_id: str) -> ShownStatus:
        """See Labelbox."""
        answer = self._ask(self._experimental, _READ_BACK, {"modelRunId": model_run_id})
        shown = answer.get("trainingPipeline") or {}
        metadata = shown.get("metadata")
        return ShownStatus(
            shown.get("status"),
            shown.get("errorMessage") or "",
            {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {},
        )

    def _ask(self, url: str, query: str, variables: Mapping[str, object]) -> dict[str, Any]:
        key = self._key.current()
        try:
            return self._ask_with(key, url, query, variables)
        except LabelboxRefused as refused:
            if refused.reason != "key" or (fresh := self._key.current(fresh=True)) == key:
                raise
            return self._ask_with(fresh, url, query, variables)

    def _ask_with(self, key: str, url: str, query: str, variables: Mapping[str, object]) -> dict[str, Any]:
        status, body = self._post(key, url, {"query": query, "variables": variables})
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise LabelboxUnavailable(f"Labelbox answered {status} with something that is not JSON") from error
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if errors:
            raise _error_of(errors, status)
        if status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            raise LabelboxUnavailable(f"Labelbox answered {status}")
        return answer["data"]  # type: ignore[no-any-return]

    def _post(self, key: str, url: str, payload: Mapping[str, object]) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "Content-Type": "application/json"}
        body = json.dumps(payload).encode()
        try:
            answer = self._connections.send(
                "POST", url, headers, body, timeout_s=self._timeout_s, limit_bytes=_ANSWER_LIMIT
            )
        except NoAnswer as error:
            raise LabelboxUnavailable(f"Labelbox did not answer within {self._timeout_s:g} s: {error}") from error
        if answer.status == 429 or answer.status >= 500:
            raise LabelboxUnavailable(f"Labelbox answered {answer.status}")
        return answer.status, answer.body


def _error_of(errors: object, status: int) -> LabelboxRefused | LabelboxUnavailable:
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    extensions = first.get("extensions")
    code = extensions.get("code", "") if isinstance(extensions, dict) else ""
    message = str(first.get("message", ""))[:200]
    if code == "RESOURCE_NOT_FOUND":
        return LabelboxRefused("unknown", message)
    if code in ("AUTHENTICATION_ERROR", "UNAUTHENTICATED", "AUTHORIZATION_ERROR") or status in (401, 403):
        return LabelboxRefused("key", message)
    return LabelboxUnavailable(f"Labelbox answered {status} {code}: {message}")
