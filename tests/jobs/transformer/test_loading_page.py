"""Every example of docs/loading-models.md runs on a model that training wrote, and says what the jobs say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobkit.ner.training import train as train_entities
from jobkit.text.model import TextModel
from jobkit.text.training import train
from jobkit.transformer.options import Options
from tests.jobs.transformer.corpora import corpus
from tests.jobs.transformer.test_transformer_entities import corpus as entities

PAGE = Path(__file__).resolve().parents[3] / "docs" / "loading-models.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
QUICK = Options(epochs=1, learning_rate=5e-3, batch_size=8, max_tokens=48, seed=1)


def example(word: str, folder: Path) -> dict[str, Any]:
    """Runs the one example that has the word; its names."""
    (code,) = (code for code in EXAMPLES if word in code)
    names: dict[str, Any] = {"folder": str(folder)}
    exec(code.replace("I want my money back", "iron copper and plum"), names)
    return names


def test_every_example_is_run() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("single", [True, False], ids=["single", "several"])
def test_a_transformer_of_texts_is_read_by_transformers_alone(tmp_path: Path, single: bool) -> None:
    train(corpus(single), "hf:tiny-modernbert", options=QUICK).model.save(tmp_path)
    ours, theirs = example("TextModel.load", tmp_path), example("AutoModelForSequenceClassification", tmp_path)
    assert theirs["answers"] == pytest.approx(ours["answers"], abs=1e-5)


def test_tfidf_is_read_by_scikit_learn_alone(tmp_path: Path) -> None:
    train(corpus(), "none").model.save(tmp_path)
    names = example("TfidfVectorizer", tmp_path)
    scores = TextModel.load(tmp_path).scores(["iron copper and plum"])[0]
    shares = np.exp(names["logits"][0] - names["logits"][0].max())
    assert shares / shares.sum() == pytest.approx(scores, abs=1e-5)
    assert names["best"] == "metal"


def test_models_of_entities_are_read_by_ours_and_by_transformers_alone(tmp_path: Path) -> None:
    for name, backbone in (("crf", "crf"), ("network", "hf:tiny-modernbert")):
        (tmp_path / name).mkdir()
        train_entities(entities(), "words", 20, backbone=backbone, options=QUICK).model.save(tmp_path / name)
        assert isinstance(example("load_finder", tmp_path / name)["entities"], tuple)
    pieces = example("AutoModelForTokenClassification", tmp_path / "network")["pieces"]
    assert "".join(piece for piece, _ in pieces) == "AdawenttoParis"
    assert {tag for _, tag in pieces} <= {"O", "B-City", "I-City", "B-Person", "I-Person"}
