"""A run beside an earlier one of the same pipeline, on the rows that say something about both.

Counted are data rows of both test splits, with the same label in both, whose content is in neither training split. So
neither model has seen them, and both were asked the same.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from html import escape
from math import comb, erfc, sqrt
from typing import Any

from jobkit.errors import JobError
from jobkit.evaluation import DIGITS, f1, ratio
from jobkit.report.earlier_runs import NONE, PREVIOUS, EarlierRun, KeptRuns
from jobkit.report.outcomes import Outcome, Outcomes
from jobkit.report.page import Cell, short, table
from jobkit.splits import TEST, TRAINING

MAX_ROWS_SHOWN = 24
_EXACT_UP_TO = 1000


@dataclass
class Side:
    """One run on the common rows."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    right: int = 0

    def add(self, outcome: Outcome) -> None:
        """Notes one row."""
        self.tp, self.fp, self.fn = self.tp + outcome.tp, self.fp + outcome.fp, self.fn + outcome.fn
        self.right += outcome.right

    @property
    def f1(self) -> float:
        """Over all answers together."""
        return f1(self.tp, self.fp, self.fn)


@dataclass
class Comparison:
    """What came of it. `improved` and `regressed` are rows with a better or worse F1 than before."""

    rows: int = 0
    before: Side = field(default_factory=Side)
    now: Side = field(default_factory=Side)
    improved: list[tuple[float, str]] = field(default_factory=list)
    regressed: list[tuple[float, str]] = field(default_factory=list)
    relabelled: int = 0
    trained_on: int = 0

    @property
    def chance(self) -> float:
        """How often at least so uneven a number of improved and regressed rows comes about by chance (two-sided sign
        test)."""
        return sign_test(len(self.improved), len(self.regressed))

    def to_json(self, run: str) -> dict[str, Any]:
        """metrics.json's part."""
        sides = {"before": self.before, "now": self.now}
        return {
            "run": run,
            "rows": self.rows,
            **{
                name: {"micro_f1": side.f1, "row_accuracy": ratio(side.right, self.rows)}
                for name, side in sides.items()
            },
            "improved": len(self.improved),
            "regressed": len(self.regressed),
            "p_value": round(self.chance, DIGITS),
            "improved_rows": _first(self.improved),
            "regressed_rows": _first(self.regressed),
            "left_out": {"label_changed": self.relabelled, "content_trained_on": self.trained_on},
        }


def compare(earlier: Iterable[Outcome], now: Outcomes) -> Comparison:
    """Reads both twice at most. Memory holds the earlier run's test rows, and a digest a training row."""
    before: dict[str, Outcome] = {}
    trained: set[str] = set()
    for outcome in earlier:
        if outcome.split == TEST and outcome.truth:
            before[outcome.data_row_id] = outcome
        elif outcome.split == TRAINING:
            trained.add(outcome.content)
    trained |= {outcome.content for outcome in now if outcome.split == TRAINING}
    found = Comparison()
    for outcome in now:
        older = before.get(outcome.data_row_id)
        if older is not None and outcome.split == TEST and outcome.truth:
            _add(found, older, outcome, trained)
    return found


def _add(found: Comparison, older: Outcome, outcome: Outcome, trained: Collection[str]) -> None:
    if older.content in trained or outcome.content in trained:
        found.trained_on += 1
    elif older.truth != outcome.truth:
        found.relabelled += 1
    else:
        found.rows += 1
        found.before.add(older)
        found.now.add(outcome)
        change = outcome.f1 - older.f1
        if change > 0:
            found.improved.append((change, outcome.data_row_id))
        elif change < 0:
            found.regressed.append((-change, outcome.data_row_id))


def sign_test(one: int, other: int) -> float:
    """The two-sided sign test's p-value; beyond 1,000 by the normal distribution with a correction for continuity."""
    every, fewer = one + other, min(one, other)
    if not every:
        return 1.0
    if every <= _EXACT_UP_TO:
        return min(1.0, float(2 * sum(comb(every, count) for count in range(fewer + 1)) / 2**every))
    distance = max(0.0, abs(one - other) - 1) / sqrt(every)
    return float(erfc(distance / sqrt(2)))


def _first(rows: Sequence[tuple[float, str]]) -> list[str]:
    """The rows that changed most."""
    return [ident for _, ident in nlargest(MAX_ROWS_SHOWN, rows)]


@dataclass(frozen=True)
class Compared:
    """The report's section and metrics.json's part; empty where there is nothing to say."""

    section: str = ""
    figures: dict[str, Any] | None = None


def compared(kept: KeptRuns | None, wanted: str, outcomes: Outcomes) -> Compared:
    """Compare with the run that is wanted. Never fails the job: what is missing is said in the report."""
    if kept is None or wanted == NONE:
        return Compared()
    try:
        earlier = kept.find(wanted)
        if earlier is None:
            return Compared(f"<p>{escape(_nothing(wanted))}</p>")
        found = compare(kept.outcomes(earlier), outcomes)
    except JobError as error:
        return Compared(f"<p>An earlier run could not be read: {escape(error.sentence)}</p>")
    except (ValueError, TypeError):
        return Compared("<p>What an earlier run left cannot be read by this version.</p>")
    return Compared(_section(earlier, found), found.to_json(earlier.run))


def _nothing(wanted: str) -> str:
    if wanted == PREVIOUS:
        return "This is the first run of this pipeline here; the next one is compared with it."
    return f"There is no earlier run {short(wanted)} of this pipeline to compare with."


def _section(earlier: EarlierRun, found: Comparison) -> str:
    told = (
        f"With run {earlier.run}, accepted {earlier.day}. Counted are the {found.rows} data rows that are in both test "
        "splits and in neither training split."
    )
    left_out = [
        f"{count} rows {what}"
        for count, what in (
            (found.relabelled, "whose label changed since"),
            (found.trained_on, "whose content one of the two runs was trained on"),
        )
        if count
    ]
    if left_out:
        told += f" Left out: {', '.join(left_out)}."
    if not found.rows:
        return f"<p>{escape(told)} So there is nothing to compare.</p>"
    lines: list[list[Cell]] = [
        ["F1 of all answers", found.before.f1, found.now.f1, f"{found.now.f1 - found.before.f1:+.3f}"],
        ["rows wholly right", found.before.right, found.now.right, f"{found.now.right - found.before.right:+d}"],
    ]
    listed = table(("", "before", "now", "change"), lines, f"On {found.rows} common rows")
    return f"<p>{escape(told)}</p>{listed}{_changes(found)}"


def _changes(found: Comparison) -> str:
    better, worse = len(found.improved), len(found.regressed)
    told = f"{better} rows improved and {worse} regressed."
    if better + worse:
        told += f" So uneven a change, or more so, comes about by chance with a probability of {found.chance:.3f}"
        told += " (sign test)."
    parts = [f"<p>{escape(told)}</p>"]
    for heading, rows in (("Regressed", found.regressed), ("Improved", found.improved)):
        if rows:
            most = f"The {MAX_ROWS_SHOWN} that changed most. " if len(rows) > MAX_ROWS_SHOWN else ""
            idents = ", ".join(f"<code>{escape(short(ident))}</code>" for ident in _first(rows))
            parts.append(f"<h3>{heading}</h3><p>{most}{idents}</p>")
    return "".join(parts)
