"""A trained model in the Model Registry: versions of one model, found again, never at the cost of the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions

from jobkit.ending import Result
from jobkit.errors import BadConfiguration
from jobkit.model_versions import ModelVersions
from jobkit.registry import OPTIONS, Registration, model_id, with_registration
from tests.local.vertex_world import PARENT, World, world

IMAGE = "us-central1-docker.pkg.dev/p/r/inference-text-classification@sha256:" + "a" * 64
MODEL_URI = "gs://runs/data/mr-1/1/train-fit-1-0a1b2c3d4e/model/"
RESULT = Result(
    outputs={"model": MODEL_URI},
    counts={"classes": 3},
    metrics={"validation_accuracy": 0.93218, "validation_macro_f1": 0.9, "training_seconds": 12.5},
    metadata={"model_kind": "words"},
)


@pytest.fixture(scope="module")
def vertex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("vertex"), slots=0) as opened:
        yield opened


@pytest.fixture
def here(vertex: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The stand-in as a job finds it, as it is by itself."""
    monkeypatch.setenv("VERTEX_ENDPOINT", f"http://{vertex.host}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local-project")
    monkeypatch.setenv("REGION", "us-central1")
    monkeypatch.setenv("DATA_BUCKETS", "ours, theirs")
    vertex.control.set(deny_uploads=False, upload_refusals=0, lost_uploads=0, unavailable=False)
    return vertex


def arguments(model_type: str, attempt: str = "train-fit-1-0a1b2c3d4e", **changes: str) -> dict[str, str]:
    """The arguments of a training job, as the orchestrator puts them in."""
    labels = f"lb_deployment=local,lb_model_run=mr-1,lb_run_number=1,lb_run_key=k,lb_attempt={attempt},team=vision"
    given = {
        "register-model": "true",
        "model-type": model_type,
        "model-run-id": "MR 1",
        "labels": labels,
        "serving-image": IMAGE,
        "serving-command": "python -m inference.text_classification.serve",
    }
    assert given.keys() == OPTIONS.keys()
    return {**given, **changes}


@pytest.fixture
def model_type() -> str:
    """A model type that only this test registers."""
    return f"type_{uuid4().hex[:8]}"


def trained(given: dict[str, str]) -> Result:
    return with_registration(given, lambda: RESULT)


def versions(here: World, model_type: str) -> list[Any]:
    name = f"{PARENT}/models/local-{model_type}"
    return list(here.clients.models.list_model_versions(name=name))


def test_a_model_is_registered_with_all_that_serves_it_and_where_it_comes_from(here: World, model_type: str) -> None:
    result = trained(arguments(model_type))
    name = f"{PARENT}/models/local-{model_type}"
    assert result.outputs == {"model": MODEL_URI, "model_version": f"{name}@1"}
    assert result.metadata == {"model_kind": "words", "model_version": f"{name}@1"}
    assert result.counts == {"classes": 3, "models_registered": 1}
    model = here.clients.models.get_model(name=f"{name}@1")
    assert (model.artifact_uri, model.display_name) == (MODEL_URI, f"local-{model_type}")
    assert dict(model.labels) == {
        "lb_deployment": "local",
        "lb_model_run": "mr-1",
        "lb_run_number": "1",
        "lb_run_key": "k",
        "lb_attempt": "train-fit-1-0a1b2c3d4e",
        "team": "vision",
    }
    assert model.version_description == (
        "Trained from Labelbox model run MR 1, run 1. On the validation split: accuracy 0.9322, macro_f1 0.9."
    )
    container = model.container_spec
    assert container.image_uri == IMAGE
    assert list(container.command) == ["python", "-m", "inference.text_classification.serve"]
    assert (container.predict_route, container.health_route) == ("/predict", "/health")
    assert [port.container_port for port in container.ports] == [8080]
    assert {item.name: item.value for item in container.env} == {
        "GOOGLE_CLOUD_PROJECT": "local-project",
        "PREDICTION_FOLDERS": "gs://runs/images/,gs://ours/,gs://theirs/",
    }


def test_a_deployments_key_encrypts_its_models(here: World, model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    monkeypatch.setenv("KMS_KEY_NAME", key)
    name = trained(arguments(model_type)).outputs["model_version"]
    assert here.clients.models.get_model(name=name).encryption_spec.kms_key_name == key


def test_each_run_is_a_version_and_the_default_stays_where_a_person_put_it(here: World, model_type: str) -> None:
    names = [trained(arguments(model_type, f"train-fit-1-{run}")).outputs["model_version"] for run in "abc"]
    assert [name.rpartition("@")[2] for name in names] == ["1", "2", "3"]
    assert {item.version_id: list(item.version_aliases) for item in versions(here, model_type)} == {
        "3": [],
        "2": [],
        "1": ["default"],
    }
    here.clients.models.merge_version_aliases(name=names[1], version_aliases=["default"])
    trained(arguments(model_type, "train-fit-1-d"))
    assert [item.version_id for item in versions(here, model_type) if item.version_aliases] == ["2"]


def test_an_attempt_that_comes_again_takes_its_version_over(here: World, model_type: str) -> None:
    first = trained(arguments(model_type, "train-fit-1-a"))
    trained(arguments(model_type, "train-fit-1-b"))
    assert trained(arguments(model_type, "train-fit-1-a")).outputs == first.outputs
    assert len(versions(here, model_type)) == 2


def impatient(model: str, patience_s: float = 20.0) -> ModelVersions:
    """As the job makes it, but with short pauses."""
    made = ModelVersions.of_environment(model)
    return ModelVersions(made._client, PARENT, model, patience_s, pause_s=0.01)


def registration(model_type: str, attempt: str = "train-fit-1-a") -> Registration:
    asked = Registration.asked(arguments(model_type, attempt))
    assert asked is not None
    return asked


@pytest.mark.parametrize("fault", [{"lost_uploads": 1}, {"upload_refusals": 2}])
def test_a_lost_answer_or_a_full_quota_for_a_while_leaves_one_version(
    here: World, model_type: str, fault: dict[str, int]
) -> None:
    asked = registration(model_type)
    here.control.set(**fault)
    name = impatient(asked.model_id).register(asked, MODEL_URI, {})
    assert name == f"{PARENT}/models/local-{model_type}@1"
    assert [item.version_id for item in versions(here, model_type)] == ["1"]


def test_runs_that_end_at_once_become_versions_of_one_model(here: World, model_type: str) -> None:
    asked = [registration(model_type, f"train-fit-1-{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        names = list(pool.map(lambda one: impatient(one.model_id).register(one, MODEL_URI, {}), asked))
    assert sorted(names) == [f"{PARENT}/models/local-{model_type}@{number}" for number in range(1, 7)]
    held = {item.labels["lb_attempt"]: item.version_id for item in versions(here, model_type)}
    assert held == {one.labels["lb_attempt"]: name[-1] for one, name in zip(asked, names, strict=True)}


def test_vertex_being_away_for_longer_than_is_waited_for_is_said(here: World, model_type: str) -> None:
    here.control.set(unavailable=True)
    asked = registration(model_type)
    with pytest.raises(exceptions.ServiceUnavailable):
        impatient(asked.model_id, patience_s=0.05).register(asked, MODEL_URI, {})


REFUSALS: dict[str, tuple[dict[str, object], dict[str, str], str]] = {
    "no permission": ({"deny_uploads": True}, {}, "Permission 'aiplatform.models.upload' denied."),
    "an image that is none": ({}, {"serving-image": "no image"}, "The image uri is invalid"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_costs_the_registration_and_not_the_training(here: World, model_type: str, case: str) -> None:
    settings, changes, words = REFUSALS[case]
    here.control.set(**settings)
    result = trained(arguments(model_type, **changes))
    assert result.outputs == {"model": MODEL_URI, "model_version": ""}
    assert result.metrics == RESULT.metrics and result.counts["models_registered"] == 0
    told = result.metadata["model_version"]
    assert told.startswith("not registered: ") and words in told and len(told) <= 255


def test_a_project_that_nobody_named_costs_the_registration_and_not_the_training(
    here: World, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    told = trained(arguments(model_type)).metadata["model_version"]
    assert told == "not registered: The job does not know its project (GOOGLE_CLOUD_PROJECT)."


def test_without_being_asked_nothing_is_registered_and_vertex_is_not_needed() -> None:
    result = with_registration(OPTIONS, lambda: RESULT)
    assert result.outputs == {"model": MODEL_URI, "model_version": ""}
    assert result.metadata == RESULT.metadata and result.counts == RESULT.counts


WRONG: dict[str, tuple[dict[str, str], Sequence[str]]] = {
    "missing": ({"serving-image": "", "model-type": " "}, ("--serving-image", "--model-type")),
    "no flag": ({"register-model": "perhaps"}, ("--register-model", "perhaps")),
    "labels that are none": ({"labels": "Lb=x"}, ("--labels", "Lb=x")),
    "no deployment": ({"labels": "lb_attempt=a"}, ("lb_deployment",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_the_arguments_is_told_before_anything_is_trained(case: str) -> None:
    changes, words = WRONG[case]
    trainings: list[str] = []

    def train() -> Result:
        trainings.append("paid")
        return RESULT

    with pytest.raises(BadConfiguration) as caught:
        with_registration(arguments("t", **changes), train)
    assert all(word in caught.value.sentence for word in words) and not trainings


@pytest.mark.parametrize(
    ("deployment", "model_type", "expected"),
    [
        ("local", "text_single_classification", "local-text_single_classification"),
        ("eu-2", "ner", "eu-2-ner"),
        ("2nd", "ner", "m-2nd-ner"),
        ("Ours!", "ner", "ours--ner"),
    ],
)
def test_a_models_id_is_readable_and_always_the_same(deployment: str, model_type: str, expected: str) -> None:
    assert model_id(deployment, model_type) == expected


def test_ids_that_are_too_long_stay_apart() -> None:
    ids = {model_id("d", "t" * 70 + end) for end in "abc"}
    assert len(ids) == 3 and all(len(one) == 63 for one in ids)
    assert model_id("local", "t" * 57) == "local-" + "t" * 57
