"""Fine-tuning: one loop for texts and for words, with the best weights on validation, an end in time, and a standing to
go on from.

Needs torch. Everything random depends on the seed and on the place in the training only, so a training that was stopped
and goes on ends with the weights of one that was not (to the last bit on a CPU; GPUs may add numbers in another order).
"""

import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration, BadData
from jobkit.progress import EVERY_S, say
from jobkit.transformer.network import Network
from jobkit.transformer.options import Options
from jobkit.transformer.standing import Parts, Standing, fetch, keep

WEIGHT_DECAY = 0.01
WARM_UP = 0.1  # of the training
LARGEST_GRADIENT = 1.0
CHECKPOINT_EVERY_S = 300.0  # within an epoch; at its end whenever it is cheap
CHECKPOINT_SHARE = 0.1  # of the time may go into checkpoints
CHEAP_S = 3.0  # a checkpoint that takes no longer is made after every epoch
BUCKET = 32  # batches whose windows are sorted by length together, so that little is padded

COMPLETE, EARLY_STOP, TIME_BUDGET = "complete", "early_stop", "time_budget"


class Task(Protocol):
    """What is learned."""

    lengths: Sequence[int]  # of each training example, in pieces

    def loss(self, network: Network, rows: Sequence[int]) -> torch.Tensor:
        """The loss of some training examples."""

    def score(self, network: Network) -> float | None:
        """How good the network is on validation rows, more is better; None where there are none."""


class Fitting:
    """One fine-tuning of a network."""

    def __init__(self, network: Network, task: Task, options: Options, checkpoints: Checkpoints | None = None) -> None:
        if not task.lengths:
            raise BadData("There is nothing to learn from.")
        self._network, self._task, self._options, self._checkpoints = network, task, options, checkpoints
        self._optimizer = torch.optim.AdamW(
            network.module.parameters(), lr=options.learning_rate, weight_decay=WEIGHT_DECAY
        )
        self._scaler = torch.amp.GradScaler(network.device.type, enabled=network.precision == torch.float16)
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
        self._network.module.load_state_dict(self._best)
        say("The model is fine-tuned", end=end, epochs=self.state.epoch, best_epoch=self.state.best_epoch)
        return end

    def _end(self) -> str:
        """Why there is no further epoch; "" if there is."""
        if self.state.epoch >= self._options.epochs:
            return COMPLETE
        return EARLY_STOP if self.state.epoch - self.state.best_epoch >= self._options.patience else ""

    @property
    def used_s(self) -> float:
        """Seconds of learning, those before a preemption too."""
        return self.state.used_s + time.monotonic() - self._began

    def _epoch(self, number: int) -> bool:
        """One pass over all examples, from where it was left; False when the time ran out."""
        batches = self._batches(number)
        for index in range(self.state.batch, len(batches)):
            done = self._done(number + index / len(batches))
            if done >= 1.0:
                return False
            self._step(number, index, batches[index], done)
            self.state.batch = index + 1
            now = time.monotonic()
            if now - self._said >= EVERY_S:
                self._said = now
                self._say("Learning", number + 1, number + (index + 1) / len(batches), batch=index + 1)
            if now - self._kept >= CHECKPOINT_EVERY_S:
                self._keep(at_end=False)
        return True

    def _step(self, epoch: int, index: int, rows: Sequence[int], done: float) -> None:
        torch.manual_seed(int(np.random.SeedSequence([self._options.seed, epoch, index]).generate_state(1)[0]))
        for group in self._optimizer.param_groups:
            group["lr"] = self._options.learning_rate * pace(done)
        self._network.module.train()
        self._optimizer.zero_grad(set_to_none=True)
        try:
            loss = self._task.loss(self._network, rows)
            self._scaler.scale(loss).backward()
        except torch.cuda.OutOfMemoryError as error:
            raise BadConfiguration(
                f"The GPU's memory is too small for batches of {self._options.batch_size} windows of "
                f"{self._network.max_tokens} pieces.",
                "Set a smaller batch_size or max_tokens, or take a machine with a larger GPU.",
            ) from error
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._network.module.parameters(), LARGEST_GRADIENT)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.state.loss = (0.0 if index == 0 else self.state.loss) + float(loss.detach())
        self._average = self.state.loss / (index + 1)

    def _batches(self, epoch: int) -> list[list[int]]:
        """Examples of like length together, in an order of this epoch's own. No batch has more windows' worth of pieces
        than it should, unless a single example has."""
        chance = np.random.default_rng([self._options.seed, epoch])
        order = chance.permutation(len(self._task.lengths))
        most = self._options.batch_size * self._network.max_tokens
        batches: list[list[int]] = []
        together = BUCKET * self._options.batch_size
        for start in range(0, len(order), together):
            rows = sorted(order[start : start + together].tolist(), key=lambda row: (self._task.lengths[row], row))
            batch: list[int] = []
            for row in rows:
                full = len(batch) == self._options.batch_size
                if batch and (full or sum(self._task.lengths[one] for one in batch) + self._task.lengths[row] > most):
                    batches.append(batch)
                    batch = []
                batch.append(row)
            batches.append(batch)
        return [batches[index] for index in chance.permutation(len(batches))]

    def _done(self, epochs: float) -> float:
        """How much of the training is done, by epochs or by time, whichever is further."""
        budget_s = self._options.budget_s
        return max(epochs / self._options.epochs, self.used_s / budget_s if budget_s else 0.0)

    def _look_at_validation(self) -> None:
        """Keeps the weights when they are the best so far; without a validation split, the last ones."""
        score = self._task.score(self._network)
        if score is None or score > self.state.best or not self._best:
            self.state.best = -1.0 if score is None else score
            self.state.best_epoch = self.state.epoch
            self._best = self._weights()
        shown = None if score is None else round(score, 4)
        self._say("Epoch", self.state.epoch, self.state.epoch, validation_score=shown)

    def _say(self, message: str, epoch: int, epochs_done: float, **more: Any) -> None:
        done = min(self._done(epochs_done), 1.0)
        left_s = round(self.used_s * (1 - done) / done, 1) if done else None
        say(message, epoch=epoch, of=self._options.epochs, loss=round(self._average, 4), left_s=left_s, **more)

    def _weights(self) -> dict[str, Any]:
        return {name: value.detach().cpu().clone() for name, value in self._network.module.state_dict().items()}

    def _keep(self, *, at_end: bool) -> None:
        """Keeps the standing, unless that takes too much of the time: then at a later epoch's end."""
        now = time.monotonic()
        dear = self._keeping_s > CHEAP_S and (now - self._kept) * CHECKPOINT_SHARE < self._keeping_s
        if self._checkpoints is None or (at_end and dear):
            return
        optimizer = {
            f"{number}.{name}": value.detach().cpu().clone()
            for number, values in self._optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        standing = Standing(**{**vars(self.state), "used_s": self.used_s})
        keep(self._checkpoints, standing, Parts(self._weights(), self._best, optimizer), self._scaler.state_dict())
        self._kept = time.monotonic()
        self._keeping_s = self._kept - now

    def _go_on(self) -> None:
        """Takes up what an earlier attempt left."""
        found = fetch(self._checkpoints) if self._checkpoints is not None else None
        if found is None:
            return
        self.state, parts, scale = found
        self._network.module.load_state_dict(parts.network)
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
    """The part of the learning rate when `done` (0 to 1) of the training is over: up in a line, and down in a line."""
    if done < WARM_UP:
        return (0.1 + done) / (0.1 + WARM_UP)
    return max((1.0 - done) / (1.0 - WARM_UP), math.ulp(1.0))
