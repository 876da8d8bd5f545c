"""Fine-tuning of networks for pictures: one loop for classes and for boxes, with the best weights on validation, an end
in time, and a standing to go on from.

Needs torch. Everything random depends on the seed and the place in the training only, so a training that was stopped
and goes on ends with the weights of one that was not (to the last bit on a CPU; GPUs may add numbers in another order).
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration
from jobkit.progress import EVERY_S, say
from jobkit.transformer.standing import Parts, Standing, fetch, keep

WEIGHT_DECAY = 1e-4
WARM_UP = 0.05  # of the training
CHECKPOINT_EVERY_S = 300.0  # within an epoch; at its end whenever it is cheap
CHECKPOINT_SHARE = 0.1  # of the time may go into checkpoints
AHEAD = 3  # batches that are made ready while the network learns
COMPLETE, EARLY_STOP, TIME_BUDGET = "complete", "early_stop", "time_budget"

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Plan:
    """How to learn. `budget_s` bounds the whole training, time before a preemption included (0: no bound);
    `largest_gradient` is the norm to which longer gradients are cut."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    budget_s: float = 0.0
    largest_gradient: float = 1.0

    @property
    def patience(self) -> int:
        """Epochs without a better validation score after which the training ends."""
        return max(5, self.epochs // 3)


class Task(Protocol):
    """What is learned. `module` is all that changes; `count` the number of training pictures."""

    module: torch.nn.Module
    device: torch.device
    count: int

    def groups(self) -> list[tuple[list[torch.nn.Parameter], float]]:
        """What is learned, with the share of the learning rate at which it is."""

    def prepare(self, rows: Sequence[int], seeds: Sequence[int]) -> Any:
        """Some training pictures made ready, on any thread; all that is random in each depends on its seed."""

    def loss(self, prepared: Any) -> torch.Tensor:
        """The loss on what was made ready."""

    def score(self) -> float | None:
        """How good the network is on validation pictures, more is better; None where there are none."""


class Tuning:
    """One fine-tuning of a task's network."""

    def __init__(self, task: Task, plan: Plan, checkpoints: Checkpoints | None = None) -> None:
        self._task, self._plan, self._checkpoints = task, plan, checkpoints
        groups = [(parameters, share) for parameters, share in task.groups() if parameters]
        self._optimizer = torch.optim.AdamW(
            [{"params": parameters, "share": share} for parameters, share in groups],
            lr=plan.learning_rate,
            weight_decay=WEIGHT_DECAY,
        )
        half = task.device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        self._scaler = torch.amp.GradScaler(enabled=half)
        self._best: dict[str, Any] = {}
        self._began = self._said = self._kept = time.monotonic()
        self._keeping_s = self._average = 0.0
        self.state = Standing()

    def run(self) -> str:
        """Learns to the end, which is returned as a word; the network then has its best weights."""
        self._go_on()
        end = ""
        while not (end := end or self._end()):
            if not self._epoch(self.state.epoch):
                end = TIME_BUDGET
            self.state.epoch, self.state.batch = self.state.epoch + 1, 0
            self._look_at_validation()
            if not end:
                self._keep(at_end=True)
        self._task.module.load_state_dict(self._best)
        say("The network is fine-tuned", end=end, epochs=self.state.epoch, best_epoch=self.state.best_epoch)
        return end

    @property
    def used_s(self) -> float:
        """Seconds of learning, those before a preemption too."""
        return self.state.used_s + time.monotonic() - self._began

    def _end(self) -> str:
        """Why there is no further epoch; "" if there is."""
        if self.state.epoch >= self._plan.epochs:
            return COMPLETE
        return EARLY_STOP if self.state.epoch - self.state.best_epoch >= self._plan.patience else ""

    def _epoch(self, number: int) -> bool:
        """One pass over all pictures, from where it was left; False when the time ran out."""
        order = np.random.default_rng([self._plan.seed, number]).permutation(self._task.count).tolist()
        size = self._plan.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]

        def made_ready(index: int) -> Any:
            return self._task.prepare(batches[index], [_seed(self._plan.seed, number, row) for row in batches[index]])

        for index, prepared in enumerate_ahead(made_ready, range(self.state.batch, len(batches))):
            done = self._done(number + index / len(batches))
            if done >= 1.0:
                return False
            torch.manual_seed(_seed(self._plan.seed, number, len(order) + index))
            self._step(index, prepared, done)
            self.state.batch = index + 1
            now = time.monotonic()
            if now - self._said >= EVERY_S:
                self._said = now
                self._say("Learning", number + 1, number + (index + 1) / len(batches), batch=index + 1)
            if now - self._kept >= CHECKPOINT_EVERY_S:
                self._keep(at_end=False)
        return True

    def _step(self, index: int, prepared: Any, done: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * group["share"] * pace(done)
        self._task.module.train()
        self._optimizer.zero_grad(set_to_none=True)
        try:
            loss = self._task.loss(prepared)
            self._scaler.scale(loss).backward()
        except torch.cuda.OutOfMemoryError as error:
            raise BadConfiguration(
                f"The GPU's memory is too small for batches of {self._plan.batch_size} pictures of this size.",
                "Set a smaller batch_size or image_size, or take a machine with a larger GPU.",
            ) from error
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._task.module.parameters(), self._plan.largest_gradient)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.state.loss = (0.0 if index == 0 else self.state.loss) + float(loss.detach())
        self._average = self.state.loss / (index + 1)

    def _done(self, epochs: float) -> float:
        """How much of the training is done, by epochs or by time, whichever is further."""
        by_time = self.used_s / self._plan.budget_s if self._plan.budget_s else 0.0
        return max(epochs / self._plan.epochs, by_time)

    def _look_at_validation(self) -> None:
        """Keeps the weights when they are the best so far; without a validation split, the last ones."""
        self._task.module.eval()
        score = self._task.score()
        if score is None or score > self.state.best or not self._best:
            self.state.best = -1.0 if score is None else score
            self.state.best_epoch = self.state.epoch
            self._best = self._weights()
        shown = None if score is None else round(score, 4)
        self._say("Epoch", self.state.epoch, self.state.epoch, validation_score=shown)

    def _say(self, message: str, epoch: int, epochs_done: float, **more: Any) -> None:
        done = min(self._done(epochs_done), 1.0)
        left_s = round(self.used_s * (1 - done) / done, 1) if done else None
        say(message, epoch=epoch, of=self._plan.epochs, loss=round(self._average, 4), left_s=left_s, **more)

    def _weights(self) -> dict[str, Any]:
        return {name: value.detach().cpu().clone() for name, value in self._task.module.state_dict().items()}

    def _keep(self, *, at_end: bool) -> None:
        """Keeps the standing, unless that takes too much of the time: then at a later epoch's end."""
        now = time.monotonic()
        if self._checkpoints is None or (at_end and (now - self._kept) * CHECKPOINT_SHARE < self._keeping_s):
            return
        optimizer = {
            f"{number}.{name}": value.detach().cpu().clone()
            for number, values in self._optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        standing = Standing(**{**vars(self.state), "used_s": self.used_s})
        # Layers that share their numbers need a copy each: safetensors refuses tensors that overlap.
        keep(self._checkpoints, standing, Parts(self._weights(), self._best, optimizer), self._scaler.state_dict())
        self._kept = time.monotonic()
        self._keeping_s = self._kept - now

    def _go_on(self) -> None:
        """Takes up what an earlier attempt left."""
        found = fetch(self._checkpoints) if self._checkpoints is not None else None
        if found is None:
            return
        self.state, parts, scale = found
        self._task.module.load_state_dict(parts.network)
        state: dict[int, dict[str, Any]] = {}
        for key, value in parts.optimizer.items():
            number, _, name = key.partition(".")
            state.setdefault(int(number), {})[name] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._scaler.load_state_dict(scale)
        self._best = parts.best
        say("The training goes on from its checkpoint", epoch=self.state.epoch, batch=self.state.batch)


def pace(done: float) -> float:
    """The part of the learning rate when `done` (0 to 1) of the training is over: up in a line, down in a cosine."""
    if done < WARM_UP:
        return 0.1 + 0.9 * done / WARM_UP
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def enumerate_ahead(make: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[tuple[Given, Made]]:
    """Each item with what is made of it, in order, a few made ahead on other threads."""
    with ThreadPoolExecutor(max_workers=AHEAD) as pool:
        waiting: deque[tuple[Given, Future[Made]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(make, item)))
                if len(waiting) > AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
