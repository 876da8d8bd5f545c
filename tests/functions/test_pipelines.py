"""Pipelines as data: the shipped files are right, and a wrong one says what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from google.cloud.aiplatform_v1.types import AcceleratorType

from local.vertex.automl_rules import CLASSIFICATION, DETECTION, OBJECTIVES
from orchestrator.automl import BUDGETS, budget_problem
from orchestrator.errors import BadDefinition
from orchestrator.limits import limit_problems
from orchestrator.machines import ADDED, BUILT_IN
from orchestrator.parameters import Parameter, settle
from orchestrator.pipelines import SHIPPED, AutoMLImageTraining, Pipeline, dump, read_pipeline, read_pipelines
from orchestrator.templates import render
from tests.functions.world import SETTINGS, World, make_pipeline

GOOD = """
version: 1
model_type: mine
description: A pipeline of one's own.
parameters:
  epochs: {type: integer, default: 3, minimum: 1, maximum: 10, help: "Passes over the data."}
stages:
  - name: etl
    jobs:
      - {name: export, kind: CustomJob, image: etl/mine, status: EXPORTING_DATA, outputs: [table],
         args: {epochs: "${parameters.epochs}"}}
  - name: deploy
    jobs:
      - {name: endpoint, kind: CustomJob, image: "docker.io/me/deploy:7", status: TRAINING_MODEL,
         args: {table: "${etl.export.table}"}}
"""


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("**/*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_pipeline_is_right_and_survives_being_recorded(path: Path) -> None:
    pipeline = read_pipeline(path)
    assert Pipeline.model_validate(dump(pipeline)) == pipeline


@pytest.mark.parametrize("model_type", sorted(read_pipelines()))
def test_every_shipped_pipeline_s_defaults_are_within_the_default_limits(model_type: str) -> None:
    pipeline = read_pipelines()[model_type]
    values, problems = settle(pipeline.parameters, {})
    assert not problems and not limit_problems(pipeline, values, SETTINGS)


def test_dropping_in_a_file_adds_a_model_type_and_its_own_stage_runs_on_the_topic_custom(tmp_path: Path) -> None:
    world = World(pipelines=make_pipeline(GOOD, tmp_path))
    assert "mine" in world.get("/models").content
    world.start("mine")
    world.log_hint(world.end_job(result={"version": 1, "outputs": {"table": "gs://b/t"}}))
    assert [topic for topic, _ in world.queue.messages] == ["custom"]
    world.pump()
    container = world.jobs.requests[1].body["job_spec"]["worker_pool_specs"][0]["container_spec"]
    assert container["image_uri"] == "docker.io/me/deploy:7" and "--table=gs://b/t" in container["args"]


def test_own_pipelines_live_in_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "mine.yaml").write_text(GOOD)
    assert list(read_pipelines(tmp_path)) == ["mine"]
    (tmp_path / "mine.yaml").write_text(GOOD)
    with pytest.raises(BadDefinition, match="two files define the model type 'mine'"):
        read_pipelines(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.update(version=2), "version"),
        (lambda p: p.update(colour="red"), "colour: Extra inputs are not permitted"),
        (lambda p: p.pop("stages"), "stages: Field required"),
        (lambda p: p["stages"].clear(), "stages"),
        (lambda p: p.update(model_type="other"), "name the file after it"),
        (lambda p: p["stages"][0].update(name="Etl"), "stages.0.name"),
        (lambda p: p["stages"].append(p["stages"][0]), "stage 'etl' needs a name of its own"),
        (lambda p: p["stages"][0]["jobs"].append(p["stages"][0]["jobs"][0]), "two jobs 'export'"),
        (lambda p: p["stages"][0]["jobs"][0].update(kind="TuningJob"), "TuningJob"),
        (lambda p: p["stages"][0]["jobs"][0].update(status="COMPLETE"), "EXPORTING_DATA"),
        (lambda p: p["stages"][0]["jobs"][0].update(timeout_s=1), "timeout_s"),
        (
            lambda p: p["stages"][0]["jobs"][0]["args"].update(x="${parameters.none}"),
            "${parameters.none} is no parameter",
        ),
        (lambda p: p["stages"][0]["jobs"][0]["args"].update(x="${deploy.endpoint.x}"), "output of an earlier job"),
        (lambda p: p["stages"][0]["jobs"][0]["args"].update(x="${image.deploy.none}"), "${image.deploy.none} is no"),
        (lambda p: p["stages"][0]["jobs"][0]["args"].update(x="${image.deploy}"), "${image.deploy} is no"),
        (lambda p: p["stages"][0]["jobs"][0].update(machine="${image.deploy.endpoint}"), "a declared parameter"),
        (lambda p: p["stages"][0]["jobs"][0].update(metadata={"a": "${image.deploy.endpoint}"}), "none of its outputs"),
        (lambda p: p["stages"][1]["jobs"][0]["args"].update(x="${etl.export.nothing}"), "${etl.export.nothing}"),
        (lambda p: p["stages"][1]["jobs"][0].update(machine="${etl.export.table}"), "must be a declared parameter"),
        (lambda p: p["stages"][0]["jobs"][0].update(metadata={"a": "${output.b}"}), "none of its outputs"),
        (lambda p: p["parameters"]["epochs"].update(default=11), "must be at most 10, not 11"),
        (lambda p: p["parameters"]["epochs"].update(type="list"), "parameters.epochs.type"),
    ],
)
def test_a_wrong_definition_is_refused_with_the_file_s_name_and_the_problem(
    tmp_path: Path, change: object, words: str
) -> None:
    content = yaml.safe_load(GOOD)
    change(content)  # type: ignore[operator]
    with pytest.raises(BadDefinition) as caught:
        make_pipeline(yaml.safe_dump(content), tmp_path)
    assert "mine.yaml" in str(caught.value) and words in str(caught.value)


def test_all_wrong_files_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{")
    (tmp_path / "b.yaml").write_text("version: 1")
    with pytest.raises(BadDefinition, match=r"(?s)a\.yaml.*b\.yaml"):
        read_pipelines(tmp_path)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", 3, 3),
        ("integer", "3", 3),
        ("integer", 3.0, 3),
        ("number", "0.5", 0.5),
        ("boolean", "True", True),
        ("boolean", False, False),
        ("string", "a,b", "a,b"),
    ],
)
def test_a_value_is_read_in_its_parameter_s_type(kind: str, value: object, expected: object) -> None:
    default = {"integer": 1, "number": 1.0, "boolean": True, "string": ""}[kind]
    values, problems = settle({"x": Parameter(type=kind, default=default, help="h")}, {"x": value})  # type: ignore[arg-type]
    assert (values["x"], problems) == (expected, []) and type(values["x"]) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", 3.5),
        ("integer", True),
        ("integer", "three"),
        ("integer", None),
        ("number", "nan"),
        ("number", float("inf")),
        ("boolean", 1),
        ("string", 7),
        ("string", ["a"]),
    ],
)
def test_a_value_of_another_type_is_a_problem_and_changes_nothing(kind: str, value: object) -> None:
    default = {"integer": 1, "number": 1.0, "boolean": True, "string": ""}[kind]
    values, problems = settle({"x": Parameter(type=kind, default=default, help="h")}, {"x": value})  # type: ignore[arg-type]
    assert values["x"] == default and len(problems) == 1 and problems[0].startswith("x must be a")


def test_two_spellings_of_one_parameter_are_a_problem() -> None:
    declared = {"batch_size": Parameter(type="integer", default=1, help="h")}
    assert settle(declared, {"batch_size": 2, "batchSize": 3})[1] == [
        "batch_size and batchSize name the same parameter"
    ]


def test_a_placeholder_alone_keeps_its_type_and_within_a_text_becomes_words() -> None:
    values = {"a.b": True, "n": 3}
    assert render("${n}", values) == 3
    assert render("x=${n},y=${a.b}", values) == "x=3,y=true"
    assert render("no ${} placeholder here", values | {"": "empty"}) == "no empty placeholder here"


CHOOSING = """
version: 1
model_type: mine
description: Trained in one of two images.
parameters:
  trainer: {type: string, default: cpu, choices: [cpu, gpu], help: "Image of the training job."}
  machine: {type: string, default: n1-standard-4, help: "Its machine."}
  accelerator: {type: string, default: none, help: "Its GPUs."}
  backbone: {type: string, default: auto, pattern: "auto|hf:[a-z0-9-]+", form: "auto or hf:NAME", help: "Its network."}
stages:
  - name: train
    jobs:
      - {name: fit, kind: CustomJob, image: train/mine, status: TRAINING_MODEL, machine: "${parameters.machine}",
         accelerator: {type: "${parameters.accelerator}"},
         other_images: [{parameter: trainer, value: gpu, image: train/mine_gpu}],
         args: {backbone: "${parameters.backbone}", own-image: "${image.train.fit}"}}
"""


@pytest.mark.parametrize(("config", "image"), [({}, "train-mine"), ({"trainer": "gpu"}, "train-mine-gpu")])
def test_a_parameter_chooses_among_the_images_that_the_file_names_and_only_that_one_is_pinned_and_run(
    tmp_path: Path, config: dict[str, str], image: str
) -> None:
    world = World(pipelines=make_pipeline(CHOOSING, tmp_path))
    world.labelbox.configs["mr-1"] = config
    run_id = world.start("mine")
    pool = world.jobs.requests[0].body["job_spec"]["worker_pool_specs"][0]
    assert pool["container_spec"]["image_uri"].rpartition("/")[2].startswith(f"{image}:")
    configured = world.run(run_id).configured
    assert configured and len(configured.images) == 1 and f"/{image}:" in next(iter(configured.images))
    assert "accelerator_type" not in pool["machine_spec"]
    assert f"--own-image={pool['container_spec']['image_uri']}" in pool["container_spec"]["args"]


WRONG_CHOICES = {
    "a parameter that is not there": ("parameter: trainer", "parameter: other", "parameters.other"),
    "a value that the parameter never has": ("value: gpu", "value: tpu", "never has the value 'tpu'"),
    "a need that is never met": (
        'form: "auto',
        'needs: [{when: "hf:.*", parameter: trainer, value: tpu}], form: "auto',
        "never is",
    ),
    "an image that is none": ("train/mine_gpu}", "../../etc}", "other_images"),
    "a pattern without words": ('form: "auto or hf:NAME", ', "", "belong together"),
    "a pattern of a number": ('help: "Image', 'pattern: "1", help: "Image', "belong together"),
}


@pytest.mark.parametrize(("old", "new", "said"), WRONG_CHOICES.values(), ids=WRONG_CHOICES)
def test_a_wrong_choice_of_images_is_found_when_the_file_is_read(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(CHOOSING.replace(old, new))
    with pytest.raises(BadDefinition, match=said):
        read_pipeline(path)


def test_a_parameter_that_needs_another_is_refused_before_anything_is_launched() -> None:
    declared = read_pipelines()["ner"].parameters
    asked = {"backbone": "hf:modernbert-base", "accelerator": "NVIDIA_L4", "threshold": 0.5}
    values, problems = settle(declared, asked)
    assert problems == [
        "backbone 'hf:modernbert-base' needs trainer: gpu",
        "accelerator 'NVIDIA_L4' needs trainer: gpu",
    ]
    assert values["threshold"] == "0.5"  # a number is as good as its word where a word or a number may stand
    assert settle(declared, {**asked, "trainer": "gpu"})[1] == []


def test_a_text_of_another_form_is_refused_in_words() -> None:
    declared = Pipeline.model_validate(yaml.safe_load(CHOOSING)).parameters
    assert settle(declared, {"backbone": "hf:modernbert-base"})[0]["backbone"] == "hf:modernbert-base"
    assert settle(declared, {"backbone": "hf:../../x"})[1] == [
        "backbone must be auto or hf:NAME, not 'hf:../../x'",
    ]


MACHINES = {
    "a plain machine": ("n1-standard-4", "none", 1, None),
    "no GPU by count": ("n1-standard-4", "NVIDIA_TESLA_T4", 0, None),
    "N1 with T4": ("n1-standard-8", "NVIDIA_TESLA_T4", 2, None),
    "N1 with V100": ("n1-highmem-8", "NVIDIA_TESLA_V100", 8, None),
    "G2 with its L4": ("g2-standard-8", "NVIDIA_L4", 1, None),
    "A2 with its A100": ("a2-highgpu-2g", "NVIDIA_TESLA_A100", 2, None),
    "A2 with its large A100": ("a2-ultragpu-1g", "NVIDIA_A100_80GB", 1, None),
    "A3 with its H100": ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8, None),
    "A3 with its large H200": ("a3-ultragpu-8g", "NVIDIA_H200_141GB", 8, None),
    "A4 with its B200": ("a4-highgpu-8g", "NVIDIA_B200", 8, None),
    "as many vCPUs as one T4 takes": ("n1-standard-32", "NVIDIA_TESLA_T4", 1, None),
    "more vCPUs than one T4 takes": ("n1-standard-64", "NVIDIA_TESLA_T4", 1, "too large for 1 NVIDIA_TESLA_T4"),
    "more vCPUs than one V100 takes": ("n1-highmem-16", "NVIDIA_TESLA_V100", 1, "up to 12 vCPUs"),
    "N1 without a number": ("n1-custom", "NVIDIA_TESLA_T4", 1, None),
    "a size that nobody knows yet": ("a3-highgpu-3g", "NVIDIA_H100_80GB", 3, None),
    "a family that nobody knows yet": ("z9-standard-8", "NVIDIA_L4", 1, None),
    "L4 on N1": ("n1-standard-8", "NVIDIA_L4", 1, "N1 machines take NVIDIA_TESLA_T4"),
    "three T4": ("n1-standard-8", "NVIDIA_TESLA_T4", 3, "cannot have 3 NVIDIA_TESLA_T4"),
    "T4 on G2": ("g2-standard-8", "NVIDIA_TESLA_T4", 1, "comes with 1 NVIDIA_L4"),
    "G2 without its L4": ("g2-standard-24", "none", 1, "comes with 2 NVIDIA_L4"),
    "A2 with half its GPUs": ("a2-highgpu-2g", "NVIDIA_TESLA_A100", 1, "comes with 2 NVIDIA_TESLA_A100"),
    "a GPU on E2": ("e2-standard-4", "NVIDIA_L4", 1, "takes no accelerator; NVIDIA_L4 fits g2-standard-4 and"),
    "an H200 on C3": ("c3-standard-4", "NVIDIA_H200_141GB", 1, "NVIDIA_H200_141GB fits a3-ultragpu-8g"),
    "a chip that nobody knows yet": ("e2-standard-4", "NVIDIA_X", 1, "machine e2-standard-4 takes no accelerator"),
}


def test_every_accelerator_that_the_table_of_machines_knows_has_vertex_s_own_name() -> None:
    known = ADDED.keys() | {accelerator for accelerator, _ in BUILT_IN.values()}
    assert known <= {item.name for item in AcceleratorType}
    offered = {choice for pipeline in read_pipelines().values() for choice in _choices(pipeline)}
    assert offered - {"none"} <= known


def _choices(pipeline: Pipeline) -> tuple[object, ...]:
    accelerator = pipeline.parameters.get("accelerator")
    return (accelerator.choices or ()) if accelerator else ()


@pytest.mark.parametrize(("machine", "accelerator", "count", "said"), MACHINES.values(), ids=MACHINES)
def test_an_accelerator_that_does_not_fit_its_machine_is_refused_before_anything_is_launched(
    machine: str, accelerator: str, count: int, said: str | None
) -> None:
    text = CHOOSING.replace('"${parameters.accelerator}"', f'"${{parameters.accelerator}}", count: {count}')
    pipeline = Pipeline.model_validate(yaml.safe_load(text))
    roomy = replace(SETTINGS, allowed_machines=(machine,), allowed_accelerators=(accelerator,), max_accelerators=8)
    values, _ = settle(pipeline.parameters, {"machine": machine, "accelerator": accelerator})
    problems = limit_problems(pipeline, values, roomy)
    assert [said in problem for problem in problems] == [True] if said else not problems


AUTOML = {
    "single_label_classification": CLASSIFICATION,
    "multi_label_classification": CLASSIFICATION,
    "object_detection": DETECTION,
}


@pytest.mark.parametrize("objective", AUTOML)
def test_a_budget_that_vertex_would_refuse_is_refused_before_anything_is_launched(objective: str) -> None:
    assert BUDGETS[objective] == OBJECTIVES[AUTOML[objective]].budgets
    pipeline = next(
        found
        for found in read_pipelines().values()
        for _, job in found.jobs()
        if isinstance(job, AutoMLImageTraining) and job.objective == objective
    )
    roomy = replace(SETTINGS, max_automl_milli_node_hours=10**9)
    choices = pipeline.parameters["automl_model_type"].choices or ()
    assert set(choices) == set(BUDGETS[objective])
    for model_type, (least, most) in BUDGETS[objective].items():
        for budget, fits in ((least - 1, False), (least, True), (most, True), (most + 1, False)):
            asked = {
                **settle(pipeline.parameters, {})[0],
                "automl_model_type": model_type,
                "automl_budget_milli_node_hours": budget,
            }
            problems = limit_problems(pipeline, asked, roomy)
            assert [f"{model_type} takes a budget of {least} to {most}" in one for one in problems] == [True] * (
                not fits
            )
    assert budget_problem(objective, "a type that nobody knows yet", 1) is None
