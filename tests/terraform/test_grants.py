"""Least privilege: what terraform grants is exactly what the written table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.terraform.workspace import ROOT, State

Grant = tuple[str, str, str]
PAGE = ROOT / "docs" / "security.md"
_RESOURCE = {
    "google_cloud_run_v2_service_iam_member": ("service", "name"),
    "google_pubsub_topic_iam_member": ("topic", "topic"),
    "google_pubsub_subscription_iam_member": ("subscription", "subscription"),
    "google_secret_manager_secret_iam_member": ("secret", "secret_id"),
    "google_artifact_registry_repository_iam_member": ("repository", "repository"),
    "google_service_account_iam_member": ("account", "service_account_id"),
    "google_storage_bucket_iam_member": ("bucket", "bucket"),
    "google_kms_crypto_key_iam_member": ("key", "crypto_key_id"),
    "google_project_iam_member": ("project", ""),
}
# The condition of the one grant on the project that has one: what Cloud Functions copies the bundle to.
_SOURCES = re.compile(
    r'resource\.name\.startsWith\("projects/_/buckets/gcf-v2-sources-\d+-([a-z0-9-]+?)(?:-|/objects/([a-z-]+)-)"\)'
)
_PREFIX = re.compile(r'resource\.name\.startsWith\("projects/_/buckets/([^/]+)/objects/([^"]+)"\)')


def written(section: str) -> set[Grant]:
    """The rows of a table in docs/security.md, one grant for each thing that a row names."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.split(f"<!-- {section} -->")[1].split(f"<!-- /{section} -->")[0]
    found: set[Grant] = set()
    for row in table.strip().splitlines()[2:]:
        who, role, on, why = (cell.strip() for cell in row.strip("|").split("|"))
        assert why, f"no reason: {row}"
        kind, _, names = on.partition(" ")
        things = [on] if " named in " in on or not names else [f"{kind} {name}" for name in names.split(", ")]
        found |= {(who, role, thing) for thing in things}
    return found


def granted(deployment: State, prefix: str) -> Iterator[Grant]:
    """Every grant of the applied state in the table's words."""
    for kind, values in deployment.resources():
        if "_iam_" in kind:
            assert kind in _RESOURCE, f"{kind} takes grants from others or is not in the table"
            for thing in _things(kind, values, prefix):
                yield _who(values["member"], prefix), values["role"], thing


def _who(member: str, prefix: str) -> str:
    if agent := re.fullmatch(r"serviceAccount:service-\d+@([a-z-]+)\.iam\.gserviceaccount\.com", member):
        return f"agent {agent[1]}"
    own = re.fullmatch(rf"serviceAccount:{prefix}-([a-z]+)@proj-one\.iam\.gserviceaccount\.com", member)
    return own[1] if own else member


def _things(kind: str, values: dict[str, Any], prefix: str) -> Iterator[str]:
    word, attribute = _RESOURCE[kind]
    if not attribute:
        yield _sources(values, prefix) if values.get("condition") else word
        return
    name = values[attribute].rsplit("/", 1)[-1].split("@")[0]
    if conditions := values.get("condition"):
        expression = conditions[0]["expression"]
        if conditions[0]["title"] == "reports":
            assert 'endsWith("/report.html")' in expression
            yield from ("folder reports/", "folder data/**/report.html")
            return
        folders = _PREFIX.findall(expression)
        assert {bucket for bucket, _ in folders} == {f"proj-one-{prefix}-runs"} == {name}
        assert _PREFIX.sub("", expression).replace("||", "").strip() == "", "a condition that the table cannot say"
        yield from (f"folder {folder}" for _, folder in folders)
        return
    short = name.removeprefix("proj-one-").removeprefix(f"{prefix}-")
    yield f"{word} {short}"


def _sources(values: dict[str, Any], prefix: str) -> str:
    matched = _SOURCES.fullmatch(values["condition"][0]["expression"])
    assert matched, "a condition that the table cannot say"
    # A key of one's own makes the bucket's name go on, so that the function's name cannot be asked for.
    assert matched.groups() == {"model-training": ("us-central1", prefix), "second": ("europe-west4", None)}[prefix]
    return "copies of the functions' sources"


def test_the_grants_are_those_of_the_table_and_no_other(first: State) -> None:
    assert set(granted(first, "model-training")) == written("grants")


def test_options_grant_what_their_table_says_and_no_more(second: State) -> None:
    named = {
        ("group:ml-team@example.com", "named in report_readers"),
        ("bucket model-training-sources", "bucket named in data_buckets"),
        ("secret model-training-labelbox-api-key", "secret named in job_secrets"),
        ("key k", "key kms_key_name"),
    }
    words = dict(named)
    found = {(words.get(who, who), role, words.get(thing, thing)) for who, role, thing in granted(second, "second")}
    left_out = {
        ("allUsers", "roles/run.invoker", "service coordinator"),  # public_access = false
        ("jobs", "roles/aiplatform.user", "project"),  # vertex_roles.jobs = ""
    }
    assert found == (written("grants") - left_out) | written("optional grants")


def test_nothing_is_granted_on_the_project_that_can_be_granted_on_a_resource(first: State) -> None:
    grants = first.of("google_project_iam_member").values()
    whole = {item["role"] for item in grants if not item["condition"]}
    assert whole == {"roles/aiplatform.user", "roles/logging.logWriter"}
    # The bucket is Cloud Functions' own and is made after the grant, so that the project is where it can stand.
    assert {item["role"] for item in grants if item["condition"]} == {"roles/storage.objectViewer"}


def test_the_jobs_account_cannot_touch_facts_markers_topics_or_the_signing_secret(first: State) -> None:
    own = {thing for who, _, thing in granted(first, "model-training") if who == "jobs"}
    assert not own & {"folder facts/", "folder active/", "folder dead/", "secret signing-secret"}
    assert not [thing for thing in own if thing.startswith("topic")]


def test_nobody_may_publish_to_job_state_but_googles_own_agents(first: State) -> None:
    publishers = {
        who
        for who, role, thing in granted(first, "model-training")
        if role == "roles/pubsub.publisher" and thing in ("topic job-state", "topic dead-letter")
    }
    assert publishers == {"agent gcp-sa-pubsub", "agent gs-project-accounts", "agent gcp-sa-logging"}
