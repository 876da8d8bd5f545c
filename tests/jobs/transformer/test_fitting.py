"""A fine-tuning that is killed goes on where it was: nothing is learned twice, and the end is the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from jobkit.checkpoints import Checkpoints
from jobkit.splits import TRAINING
from jobkit.storage import Storage
from jobkit.text.transformer import TransformerPart
from jobkit.text.transformer_training import TextTask
from jobkit.transformer.fitting import COMPLETE, EARLY_STOP, TIME_BUDGET, Fitting, pace
from jobkit.transformer.network import TEXTS, Network
from jobkit.transformer.options import Options
from tests.jobs.transformer.corpora import corpus

OPTIONS = Options(epochs=4, learning_rate=5e-3, batch_size=8, max_tokens=32, seed=3)


class Killed(BaseException):
    """The machine is gone."""


class Watched(TextTask):
    """Counts what is learned, scores as it is told, and dies at a step."""

    def __init__(self, network: Network, scores: Sequence[float | None], dies_at: int = -1) -> None:
        given = corpus()
        super().__init__(given, network, TransformerPart(network, "tiny", single=True), lambda _: None)
        self.steps, self.rows = 0, list[int]()
        self._scores, self._dies_at = list(scores), dies_at
        self.texts = len(given.splits[TRAINING].texts)

    def loss(self, network: Network, rows: Sequence[int]) -> torch.Tensor:
        if self.steps == self._dies_at:
            raise Killed
        self.steps += 1
        self.rows += rows
        return super().loss(network, rows)

    def score(self, network: Network) -> float | None:
        return self._scores.pop(0)


def network(models: Path) -> Network:
    return Network.begin(models / "tiny-bert", TEXTS, 2, OPTIONS.max_tokens, OPTIONS.seed)


def weights(fitted: Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in fitted.module.state_dict().items()}


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_in_mixed_precision_weights_stay_whole_and_a_killed_training_goes_on_as_well(
    models: Path, folder: str, precision: torch.dtype
) -> None:
    made = []
    for dies_at in (-1, 9):
        checkpoints = Checkpoints(Storage(), f"{folder}/{dies_at}")
        for scores, dies in (([0.1, 0.2, 0.3, 0.4], dies_at), ([0.3, 0.4], -1)):
            fitted = network(models)
            fitted.precision = precision
            task = Watched(fitted, scores, dies)
            try:
                Fitting(fitted, task, OPTIONS, checkpoints).run()
            except Killed:
                continue
            break
        made.append(weights(fitted))
    whole, again = made
    assert all(value.dtype == torch.float32 for value in whole.values() if value.is_floating_point())
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert not torch.equal(whole["classifier.weight"], weights(network(models))["classifier.weight"])


@pytest.fixture(scope="module")
def undisturbed(models: Path) -> Network:
    """One that was not killed."""
    whole = network(models)
    task = Watched(whole, [0.1, 0.2, 0.3, 0.4])
    assert Fitting(whole, task, OPTIONS).run() == COMPLETE
    assert task.steps == 16 and sorted(task.rows[:32]) == list(range(32))
    return whole


@pytest.mark.parametrize("dies_at", [4, 14], ids=["as an epoch begins", "within an epoch"])
def test_a_killed_training_goes_on_and_ends_with_the_weights_of_one_that_was_not(
    models: Path, undisturbed: Network, folder: str, dies_at: int
) -> None:
    checkpoints = Checkpoints(Storage(), f"{folder}/checkpoints")
    first = network(models)
    with pytest.raises(Killed):
        Fitting(first, Watched(first, [0.1, 0.2, 0.3, 0.4], dies_at), OPTIONS, checkpoints).run()
    second = network(models)
    done = dies_at // 4
    going_on = Watched(second, [0.1, 0.2, 0.3, 0.4][done:])
    assert Fitting(second, going_on, OPTIONS, checkpoints).run() == COMPLETE
    assert going_on.steps == 16 - 4 * done  # the epochs that were done are not done again
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(second)[name]), name


def test_the_best_weights_are_kept_and_no_epoch_follows_that_promises_nothing(models: Path) -> None:
    best = network(models)
    short = Watched(best, [0.9])
    Fitting(best, short, Options(**{**vars(OPTIONS), "epochs": 1})).run()
    fitted = network(models)
    task = Watched(fitted, [0.9, 0.5, 0.9, 0.8])
    fitting = Fitting(fitted, task, OPTIONS)
    assert fitting.run() == EARLY_STOP
    assert (fitting.state.epoch, fitting.state.best_epoch) == (3, 1)
    last = network(models)
    Fitting(last, Watched(last, [None] * 4), OPTIONS).run()  # nothing to judge by: all epochs, the last weights
    assert not torch.equal(weights(last)["classifier.weight"], weights(fitted)["classifier.weight"])


def test_a_time_budget_ends_the_training_with_a_model(models: Path) -> None:
    fitted = network(models)
    task = Watched(fitted, [0.5] * 100)
    assert Fitting(fitted, task, Options(**{**vars(OPTIONS), "epochs": 100, "budget_s": 0.5})).run() in (
        TIME_BUDGET,
        EARLY_STOP,
    )
    none = network(models)
    watched = Watched(none, [0.5])
    assert Fitting(none, watched, Options(**{**vars(OPTIONS), "budget_s": 1e-9})).run() == TIME_BUDGET
    assert watched.steps == 0


def test_a_checkpoint_of_other_settings_or_of_another_file_is_never_gone_on_from(folder: str) -> None:
    storage = Storage()
    for name in ("one", "two"):
        storage.write_text(f"{folder}/{name}.jsonl", "{}")
    made = {
        Checkpoints.of(storage, f"{folder}/{name}.jsonl", {"epochs": epochs})._folder
        for name in ("one", "two")
        for epochs in (1, 2)
    }
    assert len(made) == 4 and all(one.startswith(f"{folder}/checkpoints/") for one in made)


def test_vertex_may_say_where_checkpoints_lie(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage()
    storage.write_text(f"{folder}/one.jsonl", "{}")
    monkeypatch.setenv("AIP_CHECKPOINT_DIR", f"{folder}/elsewhere/")
    checkpoints = Checkpoints.of(storage, f"{folder}/one.jsonl", {})
    storage.write_text(f"{checkpoints._folder}/standing.safetensors", "not a standing")
    assert checkpoints._folder.startswith(f"{folder}/elsewhere/")


def test_a_damaged_checkpoint_costs_time_and_nothing_else(models: Path, folder: str) -> None:
    checkpoints = Checkpoints(Storage(), f"{folder}/checkpoints")
    Storage().write_text(f"{folder}/checkpoints/standing.safetensors", "not a standing")
    fitted = network(models)
    assert Fitting(fitted, Watched(fitted, [0.1] * 4), OPTIONS, checkpoints).run() == EARLY_STOP


def test_the_learning_rate_rises_and_falls() -> None:
    assert pace(0.0) == pytest.approx(0.5) and pace(0.1) == pytest.approx(1.0)
    assert pace(0.55) == pytest.approx(0.5) and 0 < pace(1.0) < 1e-6
