"""Which earlier run of the same pipeline a run is compared with: kept under reports/ of the bucket, found by listing.

Each run leaves reports/PIPELINE/MOMENT-RUN.jsonl, the outcomes of its rows. MOMENT is when the run was accepted, so
that the names are in the order of the runs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jobkit.errors import JobError
from jobkit.progress import say
from jobkit.report.outcomes import Outcome, Outcomes
from jobkit.run_description import RunDescription
from jobkit.storage import Storage

PREVIOUS, NONE = "previous", "none"
_NAME = re.compile(r"(?P<moment>\d{8}T\d{6}Z)-(?P<run>[^/]+)\.jsonl")


@dataclass(frozen=True)
class EarlierRun:
    """A run whose outcomes are kept."""

    uri: str
    moment: str
    run: str

    @property
    def day(self) -> str:
        """When it was accepted, as a person reads it."""
        day, hour = self.moment[:8], self.moment[9:13]
        return f"{day[:4]}-{day[4:6]}-{day[6:]} {hour[:2]}:{hour[2:]} UTC"


class KeptRuns:
    """The runs of one pipeline in one bucket."""

    def __init__(self, storage: Storage, bucket: str, run: RunDescription) -> None:
        self._storage, self._run = storage, run
        self._folder = f"gs://{bucket}/reports/{run.pipeline}/"
        self._moment = re.sub(r"[-:]", "", run.accepted)

    def find(self, wanted: str) -> EarlierRun | None:
        """The run before this one (`previous`), or one by its id, by its model run's id (the newest), or by its number
        among this model run's; None where there is none."""
        if wanted == NONE:
            return None
        found = [one for one in self._all() if (one.moment, one.run) < (self._moment, self._run.run)]
        own = self._run.run.rpartition(".")[0]
        names = {wanted, f"{own}.{wanted}"} if wanted.isdigit() else {wanted}
        chosen = [one for one in found if wanted == PREVIOUS or {one.run, one.run.rpartition(".")[0]} & names]
        return chosen[-1] if chosen else None

    def outcomes(self, one: EarlierRun) -> Iterator[Outcome]:
        """Its rows, streamed."""
        return (Outcome.from_line(line) for line in self._storage.read_lines(one.uri) if line)

    def keep(self, outcomes: Outcomes) -> str:
        """Keep this run's rows; the uri. Safe to repeat: an attempt writes over what the one before left."""
        uri = f"{self._folder}{self._moment}-{self._run.run}.jsonl"
        with self._storage.line_writer(uri) as file:
            for outcome in outcomes:
                file.write(outcome.to_line())
        return uri

    def _all(self) -> Iterator[EarlierRun]:
        for uri in self._storage.list(self._folder):
            if matched := _NAME.fullmatch(uri.removeprefix(self._folder)):
                yield EarlierRun(uri, matched["moment"], matched["run"])


def kept_runs(storage: Storage, folder: str, run: RunDescription) -> KeptRuns | None:
    """The kept runs of the bucket that `folder` is in; None for a job that was told nothing of its run."""
    if not run.pipeline or not run.run or not run.accepted:
        return None
    return KeptRuns(storage, folder.removeprefix("gs://").partition("/")[0], run)


def keep(kept: KeptRuns | None, outcomes: Outcomes) -> None:
    """Keep this run's rows, if that can be: a comparison that cannot be made later costs no run its end."""
    if kept is None:
        return
    try:
        kept.keep(outcomes)
    except JobError as error:
        say("The outcomes could not be kept for later comparisons", severity="WARNING", reason=error.sentence)
