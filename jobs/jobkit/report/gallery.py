"""Rows to look at: kept while all rows pass, a fixed number of each kind, and shown as lists.

Worst mistakes, most uncertain and hits are of one split (by default the test split); labels that look wrong are of all.
"""

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from jobkit.manifest import ManifestRow
from jobkit.report.page import MAX_TEXT, short

MISTAKES, UNCERTAIN, HITS, SUSPECTS = "mistakes", "uncertain", "hits", "suspects"
LIMITS = {MISTAKES: 24, UNCERTAIN: 12, HITS: 12, SUSPECTS: 12}  # 60 together
SUSPECT_CONFIDENCE = 0.9
MAX_CLASSES_SHOWN = 8
MAX_CLASS_NAME = 60


@dataclass(frozen=True)
class Example:
    """One row with what people and the model say of it. `content` is a text's beginning or an image's uri."""

    data_row_id: str
    split: str
    content: str
    truth: tuple[str, ...]
    said: tuple[tuple[str, float], ...]


class _Top:
    """The few entries with the highest score; of equal ones those that came first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[float, int, Example]] = []
        self._seen = 0

    def wants(self, score: float) -> bool:
        return len(self._heap) < self._limit or score > self._heap[0][0]

    def add(self, score: float, example: Example) -> None:
        self._seen += 1
        heapq.heappush(self._heap, (score, -self._seen, example))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def examples(self) -> list[Example]:
        return [example for _, _, example in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class Galleries:
    """Takes every labelled row; keeps LIMITS of each kind and split."""

    def __init__(self, *, single: bool) -> None:
        self._single = single
        self._kept: dict[tuple[str, str], _Top] = {}

    def add(
        self,
        row: ManifestRow,
        truth: Collection[str],
        answers: Mapping[str, float] | None,
        decided: Collection[str],
    ) -> None:
        """Notes one row; `answers` is None where there is no prediction."""
        given = answers or {}
        wrong = max((given.get(name, 0.0) for name in decided if name not in truth), default=0.0)
        right = set(truth) == set(decided)
        scores: dict[tuple[str, str], float] = {}
        if not right:
            scores[MISTAKES, row.split] = wrong
        elif decided:
            scores[HITS, row.split] = -_draw(row.data_row_id)
        if given:
            scores[UNCERTAIN, row.split] = -self._sureness(given)
        surest = max((given[name] for name in given if name not in truth), default=0.0)
        if surest >= SUSPECT_CONFIDENCE:
            scores[SUSPECTS, ""] = surest
        wanted = [(key, score) for key, score in scores.items() if self._top(key).wants(score)]
        if wanted:
            example = _example(row, truth, given, decided)
            for key, score in wanted:
                self._top(key).add(score, example)

    def _top(self, key: tuple[str, str]) -> _Top:
        if key not in self._kept:
            self._kept[key] = _Top(LIMITS[key[0]])
        return self._kept[key]

    def _sureness(self, answers: Mapping[str, float]) -> float:
        if self._single:
            return max(answers.values())
        return min(abs(confidence - 0.5) for confidence in answers.values())

    def of(self, kind: str, split: str) -> list[Example]:
        """What was kept, the first to look at first."""
        top = self._kept.get((kind, "" if kind == SUSPECTS else split))
        return top.examples() if top else []


def _draw(data_row_id: str) -> float:
    """A number that is fixed for the row and as good as random."""
    return float(int.from_bytes(hashlib.blake2b(data_row_id.encode(), digest_size=6).digest(), "big"))


def _example(
    row: ManifestRow, truth: Collection[str], answers: Mapping[str, float], decided: Collection[str]
) -> Example:
    said = decided or sorted(answers, key=lambda name: (-answers[name], name))[:1]
    return Example(
        short(row.data_row_id, MAX_TEXT),
        row.split,
        short(row.content, MAX_TEXT),
        tuple(sorted(truth))[: MAX_CLASSES_SHOWN + 1],
        tuple((name, answers.get(name, 0.0)) for name in list(said)[: MAX_CLASSES_SHOWN + 1]),
    )


def rule(kind: str, *, single: bool) -> str:
    """How the rows of a kind were chosen, for the reader."""
    most = LIMITS[kind]
    unsure = "the least sure best answer" if single else "an answer nearest to 0.5"
    return {
        MISTAKES: f"At most {most} wrong rows, those with the surest wrong answer first.",
        UNCERTAIN: f"At most {most} rows, those with {unsure} first; right or wrong.",
        HITS: f"At most {most} rows that are wholly right, drawn by a hash of their data row id.",
        SUSPECTS: f"At most {most} rows of any split where the model gives at least {SUSPECT_CONFIDENCE:g} to a class "
        "that nobody chose, the surest first. The model may be wrong, or the label.",
    }[kind]


def gallery(examples: Sequence[Example], picture: Callable[[Example], str] | None = None) -> str:
    """The rows as a list. `picture` gives an image's data URI or ""; without it, contents are texts."""
    return f'<ul class="gallery">{"".join(_item(one, picture) for one in examples)}</ul>' if examples else ""


def _item(example: Example, picture: Callable[[Example], str] | None) -> str:
    if picture is None:
        shown, text = "", f"<p>{escape(example.content) or '(empty text)'}</p>"
    else:
        data, text = picture(example), ""
        words = f"Image of data row {example.data_row_id}"
        shown = f'<img src="{escape(data)}" alt="{escape(words)}" width="96" height="96">' if data else ""
    labelled = _names(example.truth) or "(none)"
    said = _names(f"{short(name, MAX_CLASS_NAME)} {confidence:.2f}" for name, confidence in example.said) or "(nothing)"
    return (
        f"<li>{shown}<div>{text}<p>label: <strong>{escape(labelled)}</strong></p><p>model: {escape(said)}</p>"
        f'<p class="note"><code>{escape(example.data_row_id)}</code> {escape(example.split)}</p></div></li>'
    )


def _names(names: Iterable[str]) -> str:
    listed = [short(name, MAX_CLASS_NAME + 6) for name in names]
    more = ["…"] if len(listed) > MAX_CLASSES_SHOWN else []
    return ", ".join([*listed[:MAX_CLASSES_SHOWN], *more])
