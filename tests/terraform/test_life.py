"""A deployment's life: checked, applied twice, changed, and taken away without a trace."""

from __future__ import annotations

from tests.terraform.workspace import FIRST, SECOND, State, Workspace


def test_the_configuration_is_formatted_and_valid(workspace: Workspace) -> None:
    workspace.run("fmt", "-check", "-recursive", "-diff")
    workspace.run("validate", "-no-color")


def test_terraforms_own_tests_pass_without_an_account(workspace: Workspace) -> None:
    said = workspace.run("test", "-no-color").stdout
    assert " 0 failed" in said


def test_a_second_plan_of_an_applied_deployment_is_empty_whatever_python_leaves_beside_the_source(
    workspace: Workspace, first: State
) -> None:
    stray = workspace.folder / "functions" / "orchestrator" / "__pycache__"
    stray.mkdir()
    (stray / "reply.cpython-313.pyc").write_bytes(b"\x00")
    assert workspace.plan(FIRST, refresh=True) == {}


def test_a_changed_function_source_changes_the_bundle_and_the_functions_and_nothing_else(
    workspace: Workspace, first: State
) -> None:
    source = workspace.folder / "functions" / "orchestrator" / "reply.py"
    original = source.read_text(encoding="utf-8")
    try:
        source.write_text(original + "# changed\n", encoding="utf-8")
        changes = workspace.plan(FIRST)
    finally:
        source.write_text(original, encoding="utf-8")
    functions = {address: actions for address, actions in changes.items() if ".function[" in address}
    assert functions.keys() == {
        f'google_cloudfunctions2_function.function["{name}"]' for name in first.of("google_cloudfunctions2_function")
    }
    assert set(map(tuple, functions.values())) == {("update",)}
    # The new bundle is there before the old one goes.
    assert changes.keys() - functions.keys() == {"google_storage_bucket_object.bundle"}
    assert changes["google_storage_bucket_object.bundle"] == ["create", "delete"]


def test_choosing_other_limits_and_options_replaces_nothing_that_a_run_under_way_needs(
    workspace: Workspace, first: State
) -> None:
    options = {
        name: value
        for name, value in SECOND.items()
        if name not in ("deployment_name", "region", "kms_key_name", "data_buckets", "job_secrets", "vertex_roles")
    }
    changes = workspace.plan({**FIRST, **options, "enable_apis": True})
    replaced = {address for address, actions in changes.items() if "delete" in actions}
    # The door that public_access closes, the topics at which no enabled pipeline starts, and the old bundle.
    assert replaced <= {
        'google_cloud_run_v2_service_iam_member.public["allUsers"]',
        "google_storage_bucket_object.bundle",
    }


def test_destroying_one_deployment_leaves_nothing_of_it_and_all_of_the_other(
    workspace: Workspace, first: State, second: State
) -> None:
    both = workspace.cloud()
    workspace.destroy(SECOND, "second.tfstate")
    left = workspace.cloud()
    assert not [key for key in left if "second" in key]
    assert left == {key: value for key, value in both.items() if key in left}
    assert len(left) == len(first.resources())
    workspace.destroy(FIRST)
    assert workspace.cloud() == {}
