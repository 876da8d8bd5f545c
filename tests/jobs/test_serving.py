"""The model behind Vertex's container contract: the real process, real requests, a model from the bucket."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobkit.class_names import ClassNames
from jobkit.ner.automl import entities_of_prediction
from jobkit.ner.spans import Entity
from jobkit.ner.training import Corpus, Examples, train
from jobkit.serving import MAX_REQUEST_BYTES, Routes
from jobkit.splits import TRAINING, VALIDATION
from jobkit.storage import Storage
from jobkit.text.model import TextModel
from jobkit.text.parts import Linear, TfidfPart, new_vectorizers
from local.processes import Process, free_port, stop_all
from tests.jobs.conftest import REPOSITORY
from tests.jobs.served import HEALTH, PREDICT, Served

Start = Callable[[str, str], tuple[Served, Process]]


@pytest.fixture
def start(tmp_path: Path, folder: str) -> Iterator[Start]:
    """start(module, folder_of_the_model): the process, not yet waited for."""
    processes: list[Process] = []

    def begin(module: str, model: str) -> tuple[Served, Process]:
        port = free_port()
        environment = {
            "PYTHONPATH": str(REPOSITORY / "jobs"),
            "STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"],
            "GOOGLE_CLOUD_PROJECT": "local-project",
            "AIP_HTTP_PORT": str(port),
            "AIP_HEALTH_ROUTE": HEALTH,
            "AIP_PREDICT_ROUTE": PREDICT,
            "AIP_STORAGE_URI": model,
        }
        state = tmp_path / "served"
        state.mkdir()
        process = Process("serve", [sys.executable, "-m", module], environment, state / "log", state, port=port)
        processes.append(process)
        process.start()
        return Served(port), process

    yield begin
    stop_all(processes)


def saved(model: Any, path: Path, folder: str) -> str:
    path.mkdir()
    model.save(path)
    storage = Storage()
    for file in path.iterdir():
        storage.upload_file(file, f"{folder}/model/{file.name}")
    storage.close()
    return f"{folder}/model/"


def entity_model() -> Any:
    examples = Examples()
    for number in range(40):
        name = ("Ada", "Bo", "Cleo", "Dan")[number % 4]
        text = f"{'🚀 ' * (number // 4 % 2)}yesterday {name} went home"
        start = text.index(name)
        examples.texts.append(text)
        examples.entities.append((Entity(start, start + len(name), "A person"),))
    return train(Corpus(("A person",), {TRAINING: examples, VALIDATION: Examples()}), "words").model


def text_model() -> TextModel:
    texts = ["red apple", "blue sky"]
    vectorizers = new_vectorizers(2)
    for vectorizer in vectorizers:
        vectorizer.fit(texts)
    width = sum(len(one.vocabulary_) for one in vectorizers)
    words = sorted(vectorizers[0].vocabulary_, key=vectorizers[0].vocabulary_.__getitem__)
    weights = np.zeros((width, 2), dtype=np.float32)
    weights[words.index("apple"), 0] = weights[words.index("sky"), 1] = 9.0
    linear = Linear(weights, np.zeros(2, dtype=np.float32), True)
    return TextModel(("fruit", "weather"), (TfidfPart(vectorizers, linear),), True)


BAD = {
    "not JSON": (b"{", 400),
    "no instances": ({"texts": []}, 400),
    "instances are no list": ({"instances": "a"}, 400),
    "an instance without a text": ({"instances": ["ok", {"mimeType": "text/plain"}]}, 400),
    "a number": ({"instances": [1]}, 400),
    "parameters that are no object": ({"instances": ["ok"], "parameters": [1]}, 400),
    "not UTF-8": (b'{"instances": ["\xff"]}', 400),
    "deeply nested": (b"[" * 100_000, 400),
    "too large": (b" " * (MAX_REQUEST_BYTES + 1), 413),
}


def test_entities_are_served_as_vertex_asks_and_bad_requests_harm_nothing(
    start: Start, tmp_path: Path, folder: str
) -> None:
    served, process = start("inference.ner.serve", saved(entity_model(), tmp_path / "model", folder))
    process.wait_ready(served.healthy, 60)
    texts = ["yesterday Zora went home", "🚀 yesterday Ada went home", "", "\0 \ud83d"]
    predictions = served.predict(
        texts[0], {"content": texts[1], "mimeType": "text/plain"}, {"textContent": texts[2]}, texts[3]
    )
    assert [one["textSegmentStartOffsets"] for one in predictions[:3]] == [["10"], ["12"], []]
    assert [one["textSegmentEndOffsets"] for one in predictions[:3]] == [["13"], ["14"], []]
    assert len(predictions) == 4  # half a surrogate pair is no reason to die
    for text, prediction in zip(texts[:2], predictions, strict=False):
        (found,), unusable = entities_of_prediction(prediction, len(text), ClassNames(["A person"]))
        assert (text[found.start : found.end] in ("Zora", "Ada"), found.name, unusable) == (True, "A person", 0)
    for name, (body, status) in BAD.items():
        try:
            answered, answer = served.ask("POST", PREDICT, body)
        except (BrokenPipeError, ConnectionResetError):  # it hung up on a body that it would not read
            assert status == 413, name
            continue
        assert (answered, bool(answer["error"])) == (status, True), name
    assert served.refusal(1, "ok", {"x": "y"}) == "; ".join(
        f'instance {number} must be a text or an object with a text as "content"' for number in (0, 2)
    )
    assert served.refusal(*[1] * 30).endswith("; and 10 more")
    assert served.ask("GET", "/elsewhere")[0] == 404
    assert served.ask("POST", "/elsewhere", {})[0] == 404
    assert served.predict() == []
    process.stop()
    assert not served.healthy()


def test_classes_are_served_the_surest_first(start: Start, tmp_path: Path, folder: str) -> None:
    served, process = start("inference.text_classification.serve", saved(text_model(), tmp_path / "model", folder))
    process.wait_ready(served.healthy, 60)
    fruit, weather = served.predict("an apple", {"content": "the sky"})
    assert fruit["displayNames"] == ["fruit", "weather"]
    assert weather["displayNames"] == ["weather", "fruit"]
    assert fruit["confidences"][0] > 0.5
    assert sum(fruit["confidences"]) == pytest.approx(1.0, abs=1e-5)
    assert served.predict() == []


def test_a_model_that_is_not_there_ends_the_process_with_a_sentence(start: Start, folder: str, tmp_path: Path) -> None:
    _, process = start("inference.ner.serve", f"{folder}/nothing/")
    assert process.wait() == 1
    assert "does not exist" in (tmp_path / "served" / "log").read_text(encoding="utf-8")


def test_by_hand_the_routes_have_defaults() -> None:
    assert Routes.from_environment({}) == Routes(8080, "/health", "/predict")
