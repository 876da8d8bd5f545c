"""The check of `doctor` on a real data row: whether what Labelbox says of it leads to bytes."""

from __future__ import annotations

import requests

from ops.check import Fault, Skipped
from ops.deployment import Deployment

TIMEOUT_S = 20.0
_QUERY = (
    "query TrainingServiceDoctor($run: ID!, $first: Int)"
    "{annotationGroups(where: {modelRunId: {id: $run}}, first: $first){nodes{dataRow{id rowData}}}}"
)
_EXPIRED = "its signed URL may have expired: see the storage integration in Labelbox"


def row_is_readable(deployment: Deployment, model_run: str = "") -> str:
    """The first data row of a model run can be read from here, or lies in a bucket that the jobs may read."""
    if not model_run:
        raise Skipped("name a model run whose first data row is read: doctor --model-run MODEL_RUN")
    ident, content = _first_row(deployment, model_run)
    if content.startswith("gs://"):
        return _in_a_bucket(deployment, ident, content)
    if not content.startswith(("http://", "https://")):
        return f"{ident}: a text of {len(content)} characters"
    return _behind_a_url(ident, content)


def _first_row(deployment: Deployment, model_run: str) -> tuple[str, str]:
    settings = deployment.settings
    key = settings.labelbox_api_key
    if not key and (found := deployment.secret_reader(settings.labelbox_api_key_secret).read("latest")):
        key = found[1]
    body = {"query": _QUERY, "variables": {"run": model_run, "first": 1}}
    try:
        answer = requests.post(
            settings.labelbox_endpoint, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S
        )
        content = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise Fault(f"Labelbox did not answer: {type(error).__name__}", "is LABELBOX_ENDPOINT right?") from error
    groups = (content.get("data") or {}).get("annotationGroups") if isinstance(content, dict) else None
    if not groups:
        raise Fault(f"Labelbox knows no model run {model_run}", "is the API key of its workspace?")
    if not groups["nodes"]:
        raise Fault(f"The model run {model_run} has no data row", "add labelled data rows to it")
    row = groups["nodes"][0]["dataRow"]
    return str(row["id"]), str(row.get("rowData") or "")


def _in_a_bucket(deployment: Deployment, ident: str, uri: str) -> str:
    bucket = uri.removeprefix("gs://").partition("/")[0]
    settings = deployment.settings
    if bucket not in {settings.bucket, *(name.strip() for name in settings.data_buckets.split(","))}:
        remedy = f'name it: data_buckets = ["{bucket}"] in terraform.tfvars, then terraform apply'
        raise Fault(f"{ident} lies in bucket {bucket}, which the jobs may not read", remedy)
    return f"{ident}: in bucket {bucket}, which the jobs read with their own account"


def _behind_a_url(ident: str, url: str) -> str:
    """Asks for the first bytes only. The URL is not shown: it may be signed."""
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
            first = next(answer.iter_content(1), b"") if answer.status_code == requests.codes.ok else b""
            status = answer.status_code
    except requests.RequestException as error:
        raise Fault(f"{ident}: its address does not answer ({type(error).__name__})", _EXPIRED) from error
    if status != requests.codes.ok:
        raise Fault(f"{ident}: its address answered {status}", _EXPIRED)
    if not first:
        raise Fault(f"{ident} is empty", "look at it in Labelbox")
    return f"{ident}: its address gives bytes"
