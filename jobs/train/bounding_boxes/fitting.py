"""The training itself: one loop, with the best weights on validation, an end in time, and a standing to go on from.

Needs torch. The same seed on the same machine gives the same weights, unless the time budget ends the training.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jobkit.boxes.decoding import Found, decode
from jobkit.boxes.features import BoxRecipe
from jobkit.boxes.network import BoxNetwork
from jobkit.progress import say
from jobkit.standing_file import Standing, StandingFile
from train.bounding_boxes.cache import FeatureCache
from train.bounding_boxes.judging import LEAST_CHANCE, MOST, Judge
from train.bounding_boxes.losses import loss
from train.bounding_boxes.targets import target

RATE = 3e-3
WEIGHT_DECAY = 1e-4
WARM_UP = 0.15  # of the training
LARGEST_GRADIENT = 10.0
CHECKPOINT_EVERY_S = 30.0
FEWEST_SAMPLES, FEWEST_EPOCHS, MOST_EPOCHS = 4_200, 8, 60
MEASURE = "map_50_95"


@dataclass(frozen=True)
class Plan:
    """How long to learn. `budget_s` bounds learning, that before a preemption included; 0 is no bound."""

    epochs: int
    batch_size: int
    seed: int
    budget_s: float
    learning_rate: float = RATE

    @property
    def patience(self) -> int:
        """Epochs without a better validation figure after which the training ends."""
        return max(6, self.epochs // 3)


def planned_epochs(looks: int) -> int:
    """Enough epochs for a small data set, few for a large one."""
    return min(max(math.ceil(FEWEST_SAMPLES / max(looks, 1)), FEWEST_EPOCHS), MOST_EPOCHS)


@dataclass
class Progressing:
    """What changes while learning; kept in checkpoints."""

    epoch: int = 0
    used_s: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    cut: float = 0.5
    figures: dict[str, float] = field(default_factory=dict)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)


class Fitting:
    """One training of the head over cached features."""

    def __init__(
        self, cache: FeatureCache, validation: FeatureCache, judge: Judge, recipe: BoxRecipe, classes: int, plan: Plan
    ) -> None:
        torch.manual_seed(plan.seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._cache, self._validation, self._judge = cache, validation, judge
        self._plan, self._classes = plan, classes
        self._cells = recipe.map_shape(0)[1]
        self._network = BoxNetwork(recipe.channels, classes, recipe.width).to(self._device)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=plan.learning_rate, weight_decay=WEIGHT_DECAY
        )
        self._began = time.monotonic()
        self.state = Progressing()

    def run(self, checkpoints: StandingFile) -> str:
        """Learns to the end, which is returned as a word: complete, early_stop or time_budget."""
        standing = checkpoints.load()
        if standing is not None:
            self._restore(standing)
            say("The training goes on from its checkpoint", epoch=self.state.epoch)
        saved = time.monotonic()
        while self.state.epoch < self._plan.epochs:
            average = self._epoch(self.state.epoch)
            if average is None:
                return "time_budget"
            self.state.epoch += 1
            self._look_at_validation(average)
            if time.monotonic() - saved >= CHECKPOINT_EVERY_S:
                checkpoints.save(self._standing())
                saved = time.monotonic()
            if len(self._judge) and self.state.epoch - self.state.best_epoch >= self._plan.patience:
                return "early_stop"
        return "complete"

    def _epoch(self, number: int) -> float | None:
        """One pass over all looks; the average loss, or None when the time ran out."""
        self._network.train()
        order = np.random.default_rng([self._plan.seed, number]).permutation(len(self._cache.looks))
        steps = math.ceil(len(order) / self._plan.batch_size)
        total = 0.0
        for step in range(steps):
            done = self._done(number + step / steps)
            if done >= 1.0:
                return None
            for group in self._optimizer.param_groups:
                group["lr"] = self._plan.learning_rate * pace(done)
            total += self._step(order[step * self._plan.batch_size : (step + 1) * self._plan.batch_size])
        return total / steps

    @property
    def used_s(self) -> float:
        """Seconds of learning, those before a preemption too."""
        return self.state.used_s + time.monotonic() - self._began

    def _done(self, epochs: float) -> float:
        """How much of the training is done, by epochs or by time, whichever is further."""
        by_time = self.used_s / self._plan.budget_s if self._plan.budget_s else 0.0
        return max(epochs / self._plan.epochs, by_time)

    def _step(self, rows: NDArray[np.intp]) -> float:
        targets = [target(self._cache.looks[row], self._classes, self._cells) for row in rows]
        centres, wanted, weights = (
            torch.from_numpy(np.stack([getattr(one, name) for one in targets])).to(self._device)
            for name in ("centres", "distances", "weights")
        )
        maps = [torch.from_numpy(values).to(self._device) for values in self._cache.batch(rows)]
        self._optimizer.zero_grad(set_to_none=True)
        logits, distances = self._network(maps)
        result = loss(logits, distances, centres, wanted, weights)
        result.backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        return float(result.detach())

    def _look_at_validation(self, average: float) -> None:
        """Keeps the weights when they are the best so far; without a validation split, the last ones."""
        state = self.state
        if not len(self._judge):
            state.weights, state.best_epoch = self._weights(), state.epoch
            self._say(average)
            return
        figures, cut = self._judge.figures(self._find)
        score = figures.get(MEASURE, 0.0)
        if score > state.best:
            state.best, state.best_epoch, state.cut, state.figures = score, state.epoch, cut, figures
            state.weights = self._weights()
        self._say(average, validation_map_50=figures.get("map_50", 0.0), validation_map_50_95=score)

    def _say(self, average: float, **more: Any) -> None:
        done = min(self._done(self.state.epoch), 1.0)
        left_s = round(self.used_s * (1 - done) / done, 1)
        say("Epoch", epoch=self.state.epoch, of=self._plan.epochs, loss=round(average, 4), left_s=left_s, **more)

    def _find(self, rows: NDArray[np.intp]) -> list[Found]:
        self._network.eval()
        maps = [torch.from_numpy(values).to(self._device) for values in self._validation.batch(rows)]
        with torch.inference_mode():
            logits, distances = self._network(maps)
            said = torch.sigmoid(logits).cpu().numpy(), distances.cpu().numpy()
        return [decode(chances, edges, LEAST_CHANCE, MOST) for chances, edges in zip(*said, strict=True)]

    def _weights(self) -> dict[str, NDArray[Any]]:
        return {name: value.detach().cpu().numpy().copy() for name, value in self._network.state_dict().items()}

    def _standing(self) -> Standing:
        tensors = {f"network.{name}": value for name, value in self._weights().items()}
        tensors |= {f"best.{name}": value for name, value in self.state.weights.items()}
        for number, values in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": np.array(value.cpu()) for name, value in values.items()}
        state = self.state
        figures: Mapping[str, Any] = {
            "epoch": state.epoch, "best": state.best, "best_epoch": state.best_epoch, "cut": state.cut,
            "figures": state.figures, "used_s": self.used_s,
        }  # fmt: skip
        return Standing(tensors, figures)

    def _restore(self, standing: Standing) -> None:
        parts: dict[str, dict[str, Any]] = {"network": {}, "best": {}, "optimizer": {}}
        for name, value in standing.tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = value
        self._network.load_state_dict({name: torch.from_numpy(value) for name, value in parts["network"].items()})
        state: dict[int, dict[str, Any]] = {}
        for name, value in parts["optimizer"].items():
            number, _, part = name.partition(".")
            state.setdefault(int(number), {})[part] = torch.from_numpy(value)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.state = Progressing(**standing.figures, weights=parts["best"])


def pace(done: float) -> float:
    """The part of the learning rate when `done` (0 to 1) of the training is over: up in a line, down in a cosine."""
    if done < WARM_UP:
        return 0.1 + 0.9 * done / WARM_UP
    return 0.005 + 0.995 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
