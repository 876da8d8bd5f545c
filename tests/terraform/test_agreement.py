"""Terraform and the code agree: settings, topics, entry points, images, and the words that alerts look for."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from local import deployment as local_deployment
from ops.target import Target
from orchestrator.endpoint import PushHandler
from orchestrator.pipelines import CustomJob, read_pipelines
from orchestrator.settings import Settings
from tests.terraform.workspace import ROOT, SECOND, State

KNOWN = {item.name.upper() for item in fields(Settings)}
# Read by the functions framework, not by our settings.
FRAMEWORK = {"THREADS"}
# Set only where a deployment chose them.
CHOSEN = {
    "DATA_BUCKETS",
    "RESOURCE_LABELS",
    "JOB_NETWORK",
    "KMS_KEY_NAME",
    "MAX_JOB_HOURS",
    "MAX_RUN_HOURS",
    "MAX_JOB_COST",
    "MAX_RUN_COST",
    "HOURLY_PRICES",
}
# Settings that no deployment sets: endpoints and keys for a laptop, and times and switches that are not for changing.
LOCAL = {
    "LABELBOX_API_KEY": "a value would be in the state; LABELBOX_API_KEY_SECRET names the secret",
    "SERVICE_SECRET": "as above",
    "VERTEX_ENDPOINT": "Google's own",
    "SECRET_MANAGER_ENDPOINT": "Google's own",
    "ARTIFACT_REGISTRY_ENDPOINT": "the image's own host",
    "PIPELINES_DIR": "the bundle's own folder",
    "ALLOW_PRIVATE_ADDRESSES": "opens the project's network to strangers' rows (docs/security.md)",
    "REPUBLISH_AFTER_S": "follows from the delivery that pubsub.tf fixes",
    "RETRY_BACKOFF_S": "the code's default",
    "QUOTA_BACKOFF_S": "the code's default",
    "QUOTA_LIMIT_S": "the code's default",
    "EARLY_HINT_S": "the code's default",
    "DELETED_CHECK_S": "the code's default",
    "LABELBOX_TIMEOUT_S": "the code's default",
}
# Set by terraform/tests, or while a deployment is taken away.
ONLY_TRIED_ELSEWHERE = {"automl_regions", "delete_data_on_destroy", "grant_kms_key"}
VARIABLES = (ROOT / "terraform" / "variables.tf").read_text(encoding="utf-8")


def test_every_function_gets_every_setting_that_has_no_default_and_none_that_nobody_reads(first: State) -> None:
    needed = {item.name.upper() for item in fields(Settings) if item.default is MISSING}
    for name in first.of("google_cloudfunctions2_function"):
        given = first.settings(name)
        assert needed <= given.keys()
        assert given.keys() <= KNOWN | FRAMEWORK
        assert Settings.from_environment(given).deployment_name == "model-training"


def test_every_setting_is_given_by_terraform_or_named_here_with_the_reason_why_not(first: State) -> None:
    given = first.settings("etl").keys() | CHOSEN
    assert given >= FRAMEWORK
    assert KNOWN - given == LOCAL.keys()


def test_what_a_deployment_chose_reaches_every_function_and_is_absent_where_it_chose_nothing(
    first: State, second: State
) -> None:
    for name in second.of("google_cloudfunctions2_function"):
        assert {setting for setting in CHOSEN if second.settings(name).get(setting)} == CHOSEN
        assert not first.settings(name).keys() & CHOSEN


def _variables() -> dict[str, str]:
    found = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', VARIABLES, re.MULTILINE | re.DOTALL)
    assert len(found) == VARIABLES.count('\nvariable "') and len(found) > 20
    return dict(found)


@pytest.mark.parametrize("name", _variables())
def test_a_variable_is_typed_described_validated_used_and_tried(name: str) -> None:
    body = _variables()[name]
    assert re.search(r'^  description = "[^"]{20,}', body, re.MULTILINE)
    kind = re.search(r"^  type +=(?: object\()? *(.+)", body, re.MULTILINE)
    assert kind
    # A flag's type leaves nothing to check.
    assert kind[1] == "bool" or "validation {" in body, f"{name} takes anything"
    rest = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "terraform").glob("*.tf"))
    assert len(re.findall(rf"\bvar\.{name}\b", rest)) > len(re.findall(rf"\bvar\.{name}\b", body)), f"{name} is unread"
    assert name in SECOND or name in ONLY_TRIED_ELSEWHERE, f"no test sets {name}"


# Given to `plan` by terraform/tests; the code must judge them alike.
WRONG = {
    ("ner", "backbone"): "hf:../x",
    ("text_single_classification", "minimum_examples"): 1.5,
    ("text_single_classification", "several_labels"): "all",
    ("text_single_classification", "strict_classes"): 3,
    ("text_single_classification", "seed"): -1,
    ("text_single_classification", "machine"): 5,
    ("text_single_classification", "threshold"): "2",
}
RIGHT = {
    ("ner", "backbone"): "hf:modernbert-base",
    ("text_single_classification", "minimum_examples"): 20,
    ("text_single_classification", "several_labels"): "skip",
    ("text_single_classification", "strict_classes"): True,
    ("text_single_classification", "seed"): 0,
    ("text_single_classification", "machine"): "e2-standard-4",
    ("text_single_classification", "threshold"): 0.5,
}


@pytest.mark.parametrize(("run", "values"), [("do_not_take", WRONG), ("take", RIGHT)])
def test_plan_and_code_judge_a_parameters_other_default_alike(run: str, values: dict[tuple[str, str], Any]) -> None:
    text = (ROOT / "terraform" / "tests" / "deployment.tftest.hcl").read_text(encoding="utf-8")
    given = text.split(f'run "values_that_parameters_{run}"')[1].split("\nrun ")[0]
    for (model_type, parameter), value in values.items():
        assert re.search(rf"\b{parameter} += {re.escape(json.dumps(value))}\s", given), f"plan does not try {parameter}"
        refused = read_pipelines()[model_type].parameters[parameter].problem(value)
        assert (refused is None) == (values is RIGHT), refused


def test_variables_stand_in_alphabetical_order() -> None:
    assert list(_variables()) == sorted(_variables())


def test_options_reach_the_settings_that_the_code_reads(second: State) -> None:
    given = {key: value for key, value in second.settings("job-state").items() if key in KNOWN}
    settings = Settings.from_environment(given)
    assert settings.data_buckets == "proj-one-model-training-sources"
    assert settings.max_active_runs == 5
    assert (settings.max_job_hours, settings.max_run_hours) == (10, 24.5)
    assert (settings.max_job_cost, settings.max_run_cost) == (20, 50)
    prices = {"n1-standard-8": 0.5, "n1-standard-8/spot": 0.2, "automl_image_training_node": 3.5}
    assert dict(settings.hourly_prices) == prices
    assert settings.allowed_machines == ("e2-standard-4", "n1-standard-8")
    assert settings.reconcile_period_s == 300
    caps = (settings.max_job_hours, settings.max_run_hours, settings.max_job_cost, settings.max_run_cost)
    assert caps == (10, 24.5, 20, 50)
    assert dict(settings.hourly_prices)["n1-standard-8/spot"] == 0.2
    assert settings.image_tag == "v2"
    assert settings.labelbox_endpoint == "https://labelbox.example.com/graphql"


def test_defaults_that_terraform_repeats_are_those_of_the_code(first: State) -> None:
    given = Settings.from_environment(first.settings("etl"))
    for item in fields(Settings):
        repeated = item.name.startswith(("max_", "allowed_")) or item.name.endswith("_s") or item.name == "image_tag"
        if repeated:
            found, expected = getattr(given, item.name), item.default
            same = set(found) == set(expected) if isinstance(expected, tuple) else found == expected
            assert same, f"{item.name}: {found} in terraform, {expected} in the code"


def test_topics_and_subscriptions_have_the_names_that_the_code_publishes_to(first: State) -> None:
    settings = Settings.from_environment(first.settings("etl"))
    names = {handler.value for handler in PushHandler}
    assert {item["id"] for item in first.of("google_pubsub_topic").values()} == {settings.topic(n) for n in names}
    for name, item in first.of("google_pubsub_subscription").items():
        assert item["id"] == f"projects/proj-one/subscriptions/model-training-{name}-push"
        assert item["topic"] == settings.topic(name)


def test_each_function_has_an_entry_point_of_main_and_the_embedded_cloud_wires_the_same(first: State) -> None:
    tree = ast.parse((ROOT / "functions" / "main.py").read_text(encoding="utf-8"))
    served = {
        item.name
        for item in tree.body
        if isinstance(item, ast.FunctionDef) and any("http" in ast.unparse(d) for d in item.decorator_list)
    }
    wired = {
        name: item["build_config"][0]["entry_point"]
        for name, item in first.of("google_cloudfunctions2_function").items()
    }
    assert set(wired.values()) == served
    assert wired == {"coordinator": "coordinator", **local_deployment.HANDLERS}


def test_a_job_that_names_no_machine_runs_on_the_one_that_plan_takes_for_it() -> None:
    text = (ROOT / "terraform" / "bundle.tf").read_text(encoding="utf-8")
    assert f'job.kind == "CustomJob" ? "{CustomJob.model_fields["machine"].default}"' in text


def test_secrets_and_accounts_are_those_that_the_settings_name(first: State) -> None:
    settings = Settings.from_environment(first.settings("etl"))
    secrets = {item["secret_id"] for item in first.of("google_secret_manager_secret").values()}
    assert {settings.labelbox_api_key_secret, settings.service_secret_secret} == secrets
    assert settings.job_service_account == first.of("google_service_account")["jobs"]["email"]
    assert settings.bucket == first.of("google_storage_bucket")["runs"]["name"]
    repository = first.of("google_artifact_registry_repository")["jobs"]
    assert settings.image_repository == f"us-central1-docker.pkg.dev/proj-one/{repository['repository_id']}"


def test_the_operators_command_line_finds_a_deployment_by_its_names(second: State) -> None:
    named = Target(project="proj-one", region="europe-west4", deployment="second").open({}).settings
    given = Settings.from_environment({k: v for k, v in second.settings("etl").items() if k in KNOWN})
    for name in (
        "bucket",
        "job_service_account",
        "image_repository",
        "labelbox_api_key_secret",
        "service_secret_secret",
        "parent",
    ):
        assert getattr(named, name) == getattr(given, name)


def test_every_image_that_a_pipeline_names_has_a_folder_that_is_built() -> None:
    for pipeline in read_pipelines().values():
        for _, job in pipeline.jobs():
            if isinstance(job, CustomJob) and ":" not in job.image:
                assert (ROOT / "jobs" / job.image / "Dockerfile").is_file(), f"jobs/{job.image} has no Dockerfile"


def test_alerts_and_counters_look_for_words_that_the_code_logs(first: State) -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in Path(ROOT / "functions").rglob("*.py"))
    filters = [item["filter"] for item in first.of("google_logging_metric").values()]
    for policy in first.of("google_monitoring_alert_policy").values():
        (condition,) = policy["conditions"]
        filters.append(condition["condition_matched_log"][0]["filter"])
    words: set[str] = set()
    for text in filters:
        tail = text.split("jsonPayload.message=", 1)
        words |= set(re.findall(r'"([^"]+)"', tail[1])) if len(tail) == 2 else set()
        assert set(re.findall(r'"(model-training-[a-z-]+)"', text)) == {
            item["name"] for item in first.of("google_cloudfunctions2_function").values()
        }
    assert len(words) >= 8
    assert not [word for word in words if f'"{word}"' not in code]
    labels = {
        path.removeprefix("EXTRACT(jsonPayload.").rstrip(")")
        for item in first.of("google_logging_metric").values()
        for path in (item["label_extractors"] or {}).values()
    }
    from orchestrator.logs import FIELDS

    assert labels <= FIELDS
