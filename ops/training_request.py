"""The signed requests of Labelbox, sent by an operator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ops.deployment import Deployment
from ops.errors import OpsError
from orchestrator.signature import sign

TIMEOUT_S = 60.0
_KEYS_DIFFER = "the coordinator and this command must read the same signing secret (SERVICE_SECRET_SECRET)"


@dataclass(frozen=True)
class CoordinatorAnswer:
    """What the coordinator answered: the HTTP status and the JSON."""

    status: int
    content: dict[str, Any]


def ask_models(deployment: Deployment, secret: str) -> CoordinatorAnswer:
    """GET /models, signed as Labelbox signs it: over an empty body."""
    return _ask(deployment, "GET", "/models", b"", secret)


def ask_training(deployment: Deployment, model_run_id: str, model_type: str, model_id: str = "") -> CoordinatorAnswer:
    """POST /model_run as Labelbox sends it; OpsError with the coordinator's own words if it refuses.

    Safe to repeat: while a run of the model run is under way, the same run answers.
    """
    body = {"modelRunId": model_run_id, "modelType": model_type, **({"modelId": model_id} if model_id else {})}
    secret = deployment.services.signing_secret.current()
    answer = _ask(deployment, "POST", "/model_run", json.dumps(body).encode(), secret)
    if answer.status not in (200, 202):
        problems = "; ".join(answer.content.get("problems", []))
        text = f"The coordinator answered {answer.status}: {problems or answer.content.get('error', '')}"
        hint = _KEYS_DIFFER if answer.status == 401 else str(answer.content.get("hint", ""))
        raise OpsError(text.rstrip(": "), hint)
    return answer


def _ask(deployment: Deployment, method: str, path: str, body: bytes, secret: str) -> CoordinatorAnswer:
    import requests

    headers = {"content-type": "application/json", "x-hub-signature": sign(body, secret)}
    url = deployment.coordinator_url
    try:
        answer = requests.request(
            method, url + path, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False
        )
    except requests.RequestException as error:
        hint = "see the coordinator's logs; is this its address? (--coordinator-url)"
        raise OpsError(f"The coordinator at {url} did not answer: {type(error).__name__}", hint) from error
    try:
        content = answer.json()
    except ValueError:
        content = {"error": answer.text[:200]}
    return CoordinatorAnswer(answer.status_code, content if isinstance(content, dict) else {})
