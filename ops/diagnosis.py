"""Every check of `doctor`, in the order in which a person would look."""

from __future__ import annotations

from ops import account_checks, checks, cloud_checks
from ops.check import UNSEEN, Check

CHECKS = (
    Check("settings", checks.settings_are_whole),
    Check("Labelbox API key: secret", checks.api_key_is_there),
    Check("signing secret", checks.signing_secret_is_there),
    Check("bucket", checks.bucket_keeps_facts),
    Check("bucket: region", cloud_checks.bucket_is_in_the_region, UNSEEN),
    Check("bucket: notifications", cloud_checks.endings_are_announced, UNSEEN),
    Check("topics", checks.topics_are_there),
    Check("subscriptions", checks.subscriptions_wake_functions),
    Check("log sink", cloud_checks.job_ends_are_routed, UNSEEN),
    Check("scheduler", cloud_checks.tick_is_scheduled, UNSEEN),
    Check("grants", account_checks.grants_are_there, UNSEEN),
    Check("Vertex AI", checks.vertex_answers),
    Check("Vertex AI: quotas", account_checks.quotas_allow_jobs, UNSEEN),
    Check("images", checks.images_are_there, UNSEEN),
    Check("Labelbox API key: accepted", checks.labelbox_takes_the_key),
    Check("coordinator", checks.coordinator_answers),
    Check("dead letters", checks.nothing_is_dead),
    Check("runs", checks.no_run_is_stuck),
)
