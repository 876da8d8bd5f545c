"""How a pretrained model is fine-tuned: what a run may set, with the values that need no thought."""

import math
from dataclasses import dataclass

from jobkit.arguments import Arguments
from jobkit.errors import BadConfiguration

# The usual choice for encoders of this size: https://arxiv.org/abs/1810.04805, appendix A.3, tries 2e-5 to 5e-5.
LEARNING_RATE = 3e-5
OPTIONAL = {
    "epochs": "4",
    "learning-rate": str(LEARNING_RATE),
    "batch-size": "16",
    "max-tokens": "256",
    "time-budget-s": "0",
}


@dataclass(frozen=True)
class Options:
    """`max_tokens` is the window that long texts are cut into; `budget_s` bounds the whole training (0: no bound);
    `seed` is of everything random."""

    epochs: int = 4
    learning_rate: float = LEARNING_RATE
    batch_size: int = 16
    max_tokens: int = 256
    budget_s: float = 0.0
    seed: int = 0

    @property
    def patience(self) -> int:
        """Epochs without a better validation score after which the training ends."""
        return max(2, self.epochs // 3)


def options_of(arguments: Arguments) -> Options:
    """The job's arguments, checked; BadConfiguration names the wrong one."""
    try:
        rate = float(arguments.text("learning-rate"))
    except ValueError:
        rate = math.nan
    if not 0.0 < rate <= 1.0:
        raise BadConfiguration(
            f"--learning-rate must be over 0 and at most 1, not {arguments.text('learning-rate')!r}."
        )
    return Options(
        epochs=arguments.whole("epochs", least=1),
        learning_rate=rate,
        batch_size=arguments.whole("batch-size", least=1),
        max_tokens=arguments.whole("max-tokens", least=16),
        budget_s=float(arguments.whole("time-budget-s")),
        seed=arguments.whole("seed"),
    )
