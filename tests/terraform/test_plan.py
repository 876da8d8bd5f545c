"""What a deployment promises: delivery, doors, what expires, the times in order, names that do not collide."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

import pytest

from tests.terraform.workspace import State

FACTS = ("facts/", "active/")


@pytest.fixture(params=["first", "second"])
def deployment(request: pytest.FixtureRequest) -> State:
    """Each promise holds with the defaults and with every option."""
    found: State = request.getfixturevalue(request.param)
    return found


def _subscriptions(deployment: State) -> dict[str, dict[str, Any]]:
    return deployment.of("google_pubsub_subscription")


def test_pushes_go_to_the_services_own_address_and_the_audience_is_that_address_without_a_path(
    deployment: State,
) -> None:
    functions = deployment.of("google_cloudfunctions2_function")
    for name, subscription in _subscriptions(deployment).items():
        (push,) = subscription["push_config"]
        uri = functions[name]["service_config"][0]["uri"]
        assert push["push_endpoint"] == uri != functions[name]["url"]
        assert push["oidc_token"][0]["audience"] == uri
        assert uri.removeprefix("https://").count("/") == 0
        assert push["oidc_token"][0]["service_account_email"].split("@")[0].endswith("-push")


def test_every_message_has_a_week_and_deliveries_that_outlast_an_hours_outage_and_three_claims(
    deployment: State,
) -> None:
    hold_s = float(deployment.settings("etl")["CLAIM_HOLD_S"])
    republish_after_s = 900
    for name, subscription in _subscriptions(deployment).items():
        assert subscription["message_retention_duration"] == "604800s"
        assert subscription["expiration_policy"][0]["ttl"] == ""
        if name == "dead-letter":
            continue
        (policy,), (retry,) = subscription["dead_letter_policy"], subscription["retry_policy"]
        shortest, longest = (float(retry[f"{end}_backoff"].rstrip("s")) for end in ("minimum", "maximum"))
        deliveries = policy["max_delivery_attempts"]
        gaps = [min(shortest * 2**n, longest) for n in range(deliveries - 1)]
        assert deliveries >= 20
        assert sum(gaps) > max(3600, 3 * hold_s)
        # Reconcile must not send again what Pub/Sub is still going to deliver.
        assert longest + subscription["ack_deadline_seconds"] < republish_after_s


def test_a_dead_letter_goes_to_the_dead_letter_topic_once_and_never_in_circles(deployment: State) -> None:
    topics = deployment.of("google_pubsub_topic")
    for name, subscription in _subscriptions(deployment).items():
        if name == "dead-letter":
            assert subscription["dead_letter_policy"] == []
        else:
            assert subscription["dead_letter_policy"][0]["dead_letter_topic"] == topics["dead-letter"]["id"]
    assert _subscriptions(deployment)["dead-letter"]["topic"] == topics["dead-letter"]["id"]


def test_each_time_of_the_chain_is_shorter_than_the_next_as_the_functions_and_as_google_see_it(
    deployment: State,
) -> None:
    for name, function in deployment.of("google_cloudfunctions2_function").items():
        settings = deployment.settings(name)
        chain = [
            float(settings[key]) for key in ("CALL_DEADLINE_S", "FUNCTION_TIMEOUT_S", "ACK_DEADLINE_S", "CLAIM_HOLD_S")
        ]
        assert all(shorter < longer for shorter, longer in pairwise(chain))
        assert function["service_config"][0]["timeout_seconds"] == chain[1]
        if name != "coordinator":
            assert _subscriptions(deployment)[name]["ack_deadline_seconds"] == chain[2]


def test_only_the_coordinator_is_open_to_the_internet_and_only_where_that_is_wanted(
    first: State, second: State
) -> None:
    for deployment, door in ((first, "ALLOW_ALL"), (second, "ALLOW_INTERNAL_AND_GCLB")):
        for name, function in deployment.of("google_cloudfunctions2_function").items():
            expected = door if name == "coordinator" else "ALLOW_INTERNAL_ONLY"
            assert function["service_config"][0]["ingress_settings"] == expected


def test_each_function_runs_one_thread_for_each_request_that_google_sends_it_at_once(deployment: State) -> None:
    for name, function in deployment.of("google_cloudfunctions2_function").items():
        (service,) = function["service_config"]
        assert service["max_instance_request_concurrency"] == int(deployment.settings(name)["THREADS"]) > 1
        assert float(service["available_cpu"]) >= 1, "Cloud Run serves several requests at once only with a whole CPU"
        assert (service["min_instance_count"], service["secret_environment_variables"]) == (0, [])
        assert 0 < service["max_instance_count"] <= 10
        assert function["build_config"][0]["runtime"] == "python313"
        assert function["event_trigger"] == [], "a plain HTTP function: Pub/Sub's subscription is ours to set"


def test_the_dashboard_shows_every_counter_by_its_labels_and_every_subscriptions_oldest_message(
    deployment: State,
) -> None:
    (dashboard,) = deployment.of("google_monitoring_dashboard").values()
    shown = json.loads(dashboard["dashboard_json"])
    queries = [
        line["timeSeriesQuery"]["timeSeriesFilter"]
        for widget in shown["gridLayout"]["widgets"]
        for line in widget["xyChart"]["dataSets"]
    ]
    *counters, oldest = queries
    found = {}
    for query in counters:
        metric = query["filter"].split('"')[1].removeprefix("logging.googleapis.com/user/")
        found[metric] = {field.removeprefix("metric.label.") for field in query["aggregation"]["groupByFields"]}
    assert found == {
        item["name"]: {label["key"] for label in item["metric_descriptor"][0]["labels"]}
        for item in deployment.of("google_logging_metric").values()
    }
    named = {item["name"] for item in _subscriptions(deployment).values()}
    assert set(oldest["filter"].split("one_of(")[1].rstrip(")").replace('"', "").split(", ")) == named


def test_an_alert_tells_of_a_failed_run_a_dead_letter_and_a_repair_and_reaches_who_was_named(
    first: State, second: State
) -> None:
    for deployment, reached in ((first, 0), (second, 1)):
        alerts = deployment.of("google_monitoring_alert_policy")
        assert alerts.keys() >= {"run-failed", "dead-letter", "reconcile-repaired"}
        for alert in alerts.values():
            assert len(alert["notification_channels"] or []) == reached
            assert alert["documentation"][0]["content"]


def test_facts_and_markers_never_expire_and_every_rule_has_a_folder(deployment: State) -> None:
    runs = deployment.of("google_storage_bucket")["runs"]
    assert runs["versioning"][0]["enabled"] is False
    assert runs["lifecycle_rule"]
    for rule in runs["lifecycle_rule"]:
        (condition,) = rule["condition"]
        assert condition["matches_prefix"], "a rule without a folder deletes facts"
        for prefix in condition["matches_prefix"]:
            assert prefix.endswith("/")
            assert not any(kept.startswith(prefix) or prefix.startswith(kept) for kept in FACTS)
        days = condition["days_since_custom_time" if condition["matches_prefix"] == ["images/"] else "age"]
        assert days >= 30


def test_the_bucket_notifies_of_endings_and_batch_output_only(deployment: State) -> None:
    found = deployment.of("google_storage_notification").values()
    assert sorted(item["object_name_prefix"] for item in found) == ["batch/", "endings/"]
    for item in found:
        assert item["event_types"] == ["OBJECT_FINALIZE"]
        assert item["topic"] == deployment.of("google_pubsub_topic")["job-state"]["id"]


def test_buckets_are_closed_to_the_public_and_in_the_one_region(deployment: State) -> None:
    region = deployment.settings("coordinator")["REGION"]
    for bucket in deployment.of("google_storage_bucket").values():
        assert bucket["location"].lower() == region
        assert bucket["uniform_bucket_level_access"] is True
        assert bucket["public_access_prevention"] == "enforced"
    for topic in deployment.of("google_pubsub_topic").values():
        assert topic["message_storage_policy"][0]["allowed_persistence_regions"] == [region]
    for secret in deployment.of("google_secret_manager_secret").values():
        assert [r["location"] for r in secret["replication"][0]["user_managed"][0]["replicas"]] == [region]
    for kind in ("google_cloudfunctions2_function", "google_artifact_registry_repository"):
        assert {item["location"] for item in deployment.of(kind).values()} == {region}


def test_the_clock_speaks_to_the_topic_in_the_words_of_the_code(deployment: State) -> None:
    (job,) = deployment.of("google_cloud_scheduler_job").values()
    assert job["http_target"] == []
    (target,) = job["pubsub_target"]
    assert target["topic_name"] == deployment.of("google_pubsub_topic")["job-state"]["id"]
    assert json.loads(base64.b64decode(target["data"])) == {"version": 1, "kind": "reconcile"}
    minutes = float(deployment.settings("job-state")["RECONCILE_PERIOD_S"]) / 60
    assert job["schedule"] == f"*/{minutes:g} * * * *"


def test_the_log_sink_carries_ends_of_jobs_to_job_state(deployment: State) -> None:
    sink = deployment.of("google_logging_project_sink", "job_ends")["job_ends"]
    assert sink["destination"].endswith(deployment.of("google_pubsub_topic")["job-state"]["id"])
    assert 'resource.type="ml_job"' in sink["filter"]
    assert "severity" not in sink["filter"], "a failed job's line has the severity INFO"
    assert "logName" not in sink["filter"], "each job has a log of its own"


def test_no_secrets_value_is_in_the_state(deployment: State) -> None:
    assert deployment.of("google_secret_manager_secret_version") == {}
    assert "secret_data" not in deployment.text
    for name in deployment.of("google_cloudfunctions2_function"):
        settings = deployment.settings(name)
        assert not {"LABELBOX_API_KEY", "SERVICE_SECRET"} & settings.keys()


def test_two_deployments_in_one_project_share_no_name(first: State, second: State) -> None:
    keys = ("name", "account_id", "secret_id", "repository_id", "bucket_id")

    def names(deployment: State) -> set[tuple[str, str]]:
        return {
            (kind, str(values[key]))
            for kind, values in deployment.resources()
            for key in keys
            # The imaginary cloud makes up what only the real one names.
            if not str(values.get(key) or "fake-").startswith("fake-") and not kind.endswith("_iam_member")
        }

    assert names(first)
    assert not names(first) & names(second)
    assert {name.split("-")[0] for kind, name in names(second) if kind == "google_pubsub_topic"} == {"second"}


def test_every_option_reaches_what_it_is_for(second: State) -> None:
    key = "projects/proj-one/locations/europe-west4/keyRings/r/cryptoKeys/k"
    for kind, attribute in (
        ("google_pubsub_topic", "kms_key_name"),
        ("google_cloudfunctions2_function", "kms_key_name"),
        ("google_artifact_registry_repository", "kms_key_name"),
    ):
        assert {item[attribute] for item in second.of(kind).values()} == {key}
    for bucket in second.of("google_storage_bucket").values():
        assert bucket["encryption"][0]["default_kms_key_name"] == key
    for function in second.of("google_cloudfunctions2_function").values():
        (interface,) = function["service_config"][0]["direct_vpc_network_interface"]
        assert interface["subnetwork"] == "functions"
    labels = second.of("google_storage_bucket")["runs"]["terraform_labels"]
    assert labels == {"team": "vision", "cost_center": "1234", "lb_deployment": "second"}
    (logs,) = second.of("google_logging_project_bucket_config").values()
    assert (logs["location"], logs["retention_days"]) == ("europe-west4", 400)
    assert len(second.of("google_monitoring_notification_channel")) == 1
    ages = {
        rule["condition"][0]["matches_prefix"][0]: rule["condition"][0]["age"]
        or rule["condition"][0]["days_since_custom_time"]
        for rule in second.of("google_storage_bucket")["runs"]["lifecycle_rule"]
    }
    assert ages == {"data/": 60, "images/": 400, "endings/": 180, "batch/": 180, "dead/": 180}


def test_the_outputs_say_what_to_do_next(first: State) -> None:
    coordinator = first.of("google_cloudfunctions2_function")["coordinator"]
    assert first.output("labelbox_url") == coordinator["service_config"][0]["uri"] + "/"
    command = first.output("build_command")
    assert command.startswith("gcloud builds submit ")
    assert f"_REPOSITORY={first.settings('etl')['IMAGE_REPOSITORY']},_TAG=latest" in command
    assert set(first.output("secret_commands")) == {"labelbox-api-key", "signing-secret"}
    logs = unquote(first.output("console_links")["logs"])
    assert 'resource.labels.service_name=("model-training-coordinator" OR ' in logs
