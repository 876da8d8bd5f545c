"""Why a job could not do its work, said so that the person who pressed "Train model" can act.

JobError                 internal       a fault of ours; the log has the details
|- BadData               bad_data       the labelled data cannot be used: no retry can help
|- BadConfiguration      configuration  a parameter, a setting or the ontology is wrong: no retry can help
|- PermissionRefused     permission     a key or an account may not do this
`- Transient             transient      an outside service was down: trying again later may help
"""

from typing import ClassVar

MAX_SENTENCE = 255  # Labelbox shows at most this many characters of an error (observed by its 2022 service)


def shorten(text: str, limit: int = MAX_SENTENCE) -> str:
    """One line of at most `limit` characters; what is cut off is marked with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


class JobError(Exception):
    """A job's end that the user reads. `sentence` says what is wrong (at most 255 characters, no secrets),
    `hint` what to do next, `kind` whether trying again can help."""

    kind: ClassVar[str] = "internal"

    def __init__(self, sentence: str, hint: str = "") -> None:
        self.sentence = shorten(sentence)
        self.hint = hint
        super().__init__(self.sentence)


class BadData(JobError):
    """The labelled data of the model run cannot be used as it is."""

    kind = "bad_data"


class BadConfiguration(JobError):
    """A parameter of the run, a setting of the deployment or the ontology does not fit."""

    kind = "configuration"


class PermissionRefused(JobError):
    """Labelbox or Google refused the key or the account of the job."""

    kind = "permission"


class Transient(JobError):
    """Something outside was down for longer than the job waits."""

    kind = "transient"
