"""The trainer learns the sample's fruit from a Vertex import file; its predictions are in Vertex's batch format."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from jobkit.batch_files import SHARD_ROWS, BatchOutput, Instance
from jobkit.image.heads import SoftmaxHead
from jobkit.storage import Storage
from train.image_classification import main as trainer
from train.image_classification import predict as predictor
from train.image_classification.regression import fit, score

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "image_single_classification"
ML_USE = "aiplatform.googleapis.com/ml_use"


def sample_lines(storage: Storage, folder: str) -> list[dict]:
    """The labelled pictures of the sample as lines of a Vertex import file; the pictures are put into the bucket."""
    lines = []
    for text in (SAMPLE / "export.ndjson").read_text().splitlines():
        row = json.loads(text)
        (experiment,) = row["experiments"].values()
        (run,) = experiment["runs"].values()
        if not run["labels"]:
            continue
        path = SAMPLE / row["data_row"]["row_data"]
        uri = f"{folder}/images/{path.name}"
        storage.write_bytes(uri, path.read_bytes())
        name = run["labels"][0]["annotations"]["classifications"][0]["radio_answer"]["name"]
        lines.append(
            {
                "imageGcsUri": uri,
                "classificationAnnotation": {"displayName": name},
                "dataItemResourceLabels": {ML_USE: run["split"].lower()},
            }
        )
    return lines


def write_lines(storage: Storage, uri: str, lines: list[dict]) -> str:
    storage.write_text(uri, "".join(json.dumps(line) + "\n" for line in lines))
    return uri


def train(storage: Storage, folder: str, lines: list[dict], *more: str) -> tuple[int, dict]:
    """Runs the trainer's command line; returns its exit code and its ending."""
    uri = write_lines(storage, f"{folder}/train.jsonl", lines)
    code = trainer.main(
        [f"--training-file={uri}", f"--output-uri={folder}/model/", f"--ending-uri={folder}/endings/", *more]
    )
    ending = "result" if code == 0 else "error"
    return code, json.loads(storage.read_text(f"{folder}/endings/by-hand/{ending}.json"))


def predict(storage: Storage, folder: str, instances: list[dict], *more: str) -> tuple[list[dict], list[dict]]:
    """Runs the predictor's command line; returns the lines of all prediction shards and of all error shards."""
    uri = write_lines(storage, f"{folder}/instances.jsonl", instances)
    out = f"{folder}/out/"
    assert predictor.main([f"--model={folder}/model/", f"--instances={uri}", f"--output-uri={out}", *more]) == 0
    shards = {
        kind: [json.loads(line) for shard in storage.list(f"{out}{kind}_") for line in storage.read_lines(shard)]
        for kind in ("predictions", "errors")
    }
    return shards["predictions"], shards["errors"]


def instance(line: dict) -> dict:
    return {"content": line["imageGcsUri"], "mimeType": "image/jpeg"}


def test_the_sample_is_learned_and_drawings_never_seen_are_recognised(storage: Storage, folder: str) -> None:
    lines = sample_lines(storage, folder)
    code, ending = train(storage, folder, lines, "--seed=20")
    assert code == 0
    assert ending["outputs"]["model"] == f"{folder}/model/"
    assert ending["counts"]["classes"] == 4
    assert ending["counts"]["unreadable_images"] == 0
    assert ending["metrics"]["validation_accuracy"] >= 0.8

    test = [line for line in lines if line["dataItemResourceLabels"][ML_USE] == "test"]
    missing = {"content": f"{folder}/images/gone.jpg", "mimeType": "image/jpeg"}
    storage.write_text(f"{folder}/images/page.jpg", "<html>")
    page = {"content": f"{folder}/images/page.jpg", "mimeType": "image/jpeg"}
    found, errors = predict(storage, folder, [missing, *map(instance, test), page])

    assert [line["instance"] for line in found] == [instance(line) for line in test]
    for line in found:
        answer = line["prediction"]
        assert len(answer["ids"]) == len(answer["displayNames"]) == len(answer["confidences"]) == 4
        assert answer["confidences"] == sorted(answer["confidences"], reverse=True)
        assert sum(answer["confidences"]) == pytest.approx(1, abs=1e-5)
    right = [
        line["prediction"]["displayNames"][0] == truth["classificationAnnotation"]["displayName"]
        for line, truth in zip(found, test, strict=True)
    ]
    assert sum(right) / len(right) >= 0.8
    assert [line["instance"] for line in errors] == [missing, page]
    assert all(line["error"]["code"] and line["error"]["message"] for line in errors)


def test_the_same_file_and_seed_give_the_same_model(storage: Storage, folder: str) -> None:
    lines = sample_lines(storage, folder)[::3]
    saved = []
    for _ in range(2):
        assert train(storage, folder, lines)[0] == 0
        saved.append(storage.read_bytes(f"{folder}/model/model.safetensors"))
    first, second = map(load, saved)
    np.testing.assert_allclose(first["weights"], second["weights"], rtol=1e-4, atol=1e-6)


def test_threshold_and_limit_of_predictions_are_obeyed(storage: Storage, folder: str) -> None:
    lines = sample_lines(storage, folder)[::3]
    assert train(storage, folder, lines)[0] == 0
    (one,), _ = predict(storage, folder, [instance(lines[0])], "--max-predictions=1")
    assert len(one["prediction"]["displayNames"]) == 1
    (none,), _ = predict(storage, folder, [instance(lines[0])], "--confidence-threshold=1.1")
    assert none["prediction"] == {"ids": [], "displayNames": [], "confidences": []}


def line(uri: str = "gs://b/a.jpg", *labels: str, ml_use: str = "training") -> dict:
    annotations = [{"displayName": label} for label in labels]
    return {"imageGcsUri": uri, "classificationAnnotations": annotations, "dataItemResourceLabels": {ML_USE: ml_use}}


@pytest.mark.parametrize(
    ("lines", "more", "kind", "says"),
    [
        pytest.param([], (), "bad_data", "fewer than 2 classes", id="empty"),
        pytest.param([line("gs://b/1", "a")], (), "bad_data", "fewer than 2 classes", id="one class"),
        pytest.param(
            [line("gs://b/1", "a"), line("gs://b/2", "b", ml_use="test")],
            (),
            "bad_data",
            "fewer than 2 classes",
            id="the second class only in test",
        ),
        pytest.param([line("gs://b/1", "a", "b")], (), "bad_data", "several classes", id="several answers"),
        pytest.param([line("gs://b/1", "a", ml_use="train")], (), "bad_data", "ml_use 'train'", id="unknown ml_use"),
        pytest.param([line("https://b/1", "a")], (), "bad_data", "Line 1", id="no gs uri"),
        pytest.param([{"content": "x"}], (), "bad_data", "Line 1", id="another kind of line"),
        pytest.param([], ("--neighbours=0",), "configuration", "at least 1", id="no neighbours"),
    ],
)
def test_what_cannot_be_learned_ends_in_a_sentence(
    storage: Storage, folder: str, lines: list[dict], more: tuple[str, ...], kind: str, says: str
) -> None:
    code, ending = train(storage, folder, lines, *more)
    assert code == 1
    assert ending["kind"] == kind
    assert says in ending["sentence"]


def test_pictures_that_cannot_be_read_are_counted_and_the_others_are_learned(storage: Storage, folder: str) -> None:
    lines = sample_lines(storage, folder)[::3]
    storage.write_bytes(lines[0]["imageGcsUri"], b"\xff\xd8\xff nothing")
    lines[3]["imageGcsUri"] = f"{folder}/images/deleted.jpg"
    for line in (lines[0], lines[3]):
        line["dataItemResourceLabels"][ML_USE] = "training"
    code, ending = train(storage, folder, lines)
    assert code == 0
    assert ending["counts"]["unreadable_images"] == 2


def test_one_box_to_be_ticked_is_enough_where_a_picture_may_have_none(storage: Storage, folder: str) -> None:
    lines = sample_lines(storage, folder)[:48]
    for line in lines:
        name = line.pop("classificationAnnotation")["displayName"]
        line["classificationAnnotations"] = [{"displayName": name}] if name == "Apple" else []
    code, ending = train(storage, folder, lines, "--multi-label=true")
    assert (code, ending["counts"]["classes"]) == (0, 1)
    good, _ = predict(storage, folder, [{"content": line["imageGcsUri"]} for line in lines])
    said = {line["instance"]["content"] for line in good if line["prediction"]["confidences"][0] > 0.5}
    ticked = {line["imageGcsUri"] for line in lines if line["classificationAnnotations"]}
    assert 0 < len(ticked) < len(lines) and len(said ^ ticked) <= 4


@pytest.mark.parametrize("classes", [2, 5])
def test_the_head_gives_scikit_learns_probabilities(classes: int) -> None:
    dice = np.random.default_rng(classes)
    features = dice.normal(3, 2, (80, 6)).astype(np.float32)
    targets = np.arange(80) % classes
    features[:, 0] += targets
    features[:, 5] = 1.0  # a feature that never changes
    fitted = fit((features, targets), (features[:0], targets[:0]), classes, seed=1)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    reference = make_pipeline(StandardScaler(), LogisticRegression(C=fitted.strength, max_iter=1000))
    expected = reference.fit(features, targets).predict_proba(features)
    np.testing.assert_allclose(fitted.head.confidences(features), expected, atol=2e-3)


def test_the_strength_with_the_lowest_validation_loss_is_kept() -> None:
    dice = np.random.default_rng(3)
    targets = np.arange(60) % 3
    features = np.eye(3, 20, dtype=np.float32)[targets] + dice.normal(0, 0.7, (60, 20)).astype(np.float32)
    training, validation = (features[:40], targets[:40]), (features[40:], targets[40:])
    fitted = fit(training, validation, 3, seed=1)
    assert fitted.validation == score(fitted.head, *validation)
    alone = fit(training, (features[:0], targets[:0]), 3, seed=1)
    assert fitted.validation.log_loss <= score(alone.head, *validation).log_loss


def test_large_scores_do_not_overflow() -> None:
    head = SoftmaxHead(np.array([[1e6, -1e6]], np.float32), np.zeros(2, np.float32))
    np.testing.assert_array_equal(head.confidences(np.array([[1.0]], np.float32)), [[1.0, 0.0]])


def test_predictions_are_cut_into_shards(storage: Storage, folder: str) -> None:
    with BatchOutput(storage, folder) as output:
        for number in range(SHARD_ROWS + 1):
            output.answer(Instance({"content": f"gs://b/{number}"}), {})
    files = [uri.rpartition("/")[2] for uri in storage.list(f"{folder}/predictions_")]
    assert files == ["predictions_00001.jsonl", "predictions_00002.jsonl"]
    assert len(list(storage.read_lines(f"{folder}/predictions_00001.jsonl"))) == SHARD_ROWS
