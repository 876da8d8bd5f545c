"""Rows to look at: kept while all rows pass, a fixed number of each kind, and shown as lists. Of every kind of task.

Worst mistakes, most uncertain and hits are of one split (by default the test split); labels that look wrong are of all.
"""

import hashlib
import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Generic, NamedTuple, Protocol, TypeVar

from jobkit.manifest import ManifestRow
from jobkit.report.page import short

MISTAKES, UNCERTAIN, HITS, SUSPECTS = "mistakes", "uncertain", "hits", "suspects"
LIMITS = {MISTAKES: 24, UNCERTAIN: 12, HITS: 12, SUSPECTS: 12}
MOST = sum(LIMITS.values())  # examples on a page
SUSPECT_CONFIDENCE = 0.9
MAX_IDENT = 300
HEADINGS = (
    (MISTAKES, "Worst mistakes"),
    (UNCERTAIN, "Most uncertain"),
    (HITS, "Hits"),
    (SUSPECTS, "Labels that look wrong"),
)

Seen = TypeVar("Seen")
Shown = TypeVar("Shown")


class Pictures(Protocol):
    """Small copies of a run's pictures, as the page shows them."""

    @property
    def rule(self) -> str:
        """What is left out, for the reader."""

    def of(self, uri: str) -> str:
        """The data URI of the image at `uri`, or ""."""


@dataclass(frozen=True)
class Example(Generic[Seen]):
    """One row. `seen` is its content with what people and the model say of it, in the form of its task."""

    data_row_id: str
    split: str
    seen: Seen


class Judgement(NamedTuple):  # millions are made: a third of a dataclass's time
    """Why a labelled row may be worth a look; None and False where it is not.

    mistake   how bad it is, the greater the worse: of a row that is not wholly right
    hit       something is said of it, and all is right
    sureness  how far the model is from wavering
    dissent   confidence of the surest answer that nobody labelled so
    """

    mistake: tuple[float, ...] | None = None
    hit: bool = False
    sureness: float | None = None
    dissent: float | None = None


class _Top(Generic[Shown]):
    """The few entries with the highest score; of equal ones those that came first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[tuple[float, ...], int, Example[Shown]]] = []
        self._seen = 0

    def wants(self, score: tuple[float, ...]) -> bool:
        return len(self._heap) < self._limit or score > self._heap[0][0]

    def add(self, score: tuple[float, ...], example: Example[Shown]) -> None:
        self._seen += 1
        heapq.heappush(self._heap, (score, -self._seen, example))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def examples(self) -> list[Example[Shown]]:
        return [example for _, _, example in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class Galleries(Generic[Shown]):
    """Takes every labelled row; keeps LIMITS of each kind and split."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Top[Shown]] = {}

    def add(self, row: ManifestRow, judged: Judgement, see: Callable[[], Shown]) -> None:
        """Notes one row; `see` gives what is shown of it, and is asked only for a row that is kept."""
        scores: dict[tuple[str, str], tuple[float, ...]] = {}
        if judged.mistake is not None:
            scores[MISTAKES, row.split] = judged.mistake
        elif judged.hit:
            scores[HITS, row.split] = (-_draw(row.data_row_id),)
        if judged.sureness is not None:
            scores[UNCERTAIN, row.split] = (-judged.sureness,)
        if judged.dissent is not None and judged.dissent >= SUSPECT_CONFIDENCE:
            scores[SUSPECTS, ""] = (judged.dissent,)
        wanted = [(key, score) for key, score in scores.items() if self._top(key).wants(score)]
        if wanted:
            example = Example(short(row.data_row_id, MAX_IDENT), row.split, see())
            for key, score in wanted:
                self._top(key).add(score, example)

    def _top(self, key: tuple[str, str]) -> _Top[Shown]:
        if key not in self._kept:
            self._kept[key] = _Top(LIMITS[key[0]])
        return self._kept[key]

    def of(self, kind: str, split: str) -> list[Example[Shown]]:
        """What was kept, the first to look at first."""
        top = self._kept.get((kind, "" if kind == SUSPECTS else split))
        return top.examples() if top else []


def _draw(data_row_id: str) -> float:
    """A number that is fixed for the row and as good as random."""
    return float(int.from_bytes(hashlib.blake2b(data_row_id.encode(), digest_size=6).digest(), "big"))


@dataclass(frozen=True)
class Look(Generic[Shown]):
    """How a task's rows are shown.

    rules   kind -> which rows are in its list and in what order, as the end of "At most 12 rows"
    shown   (picture, words) of a row, HTML; the picture may be ""
    beside  HTML above each list: what signs and colours mean, what is cut
    """

    rules: Mapping[str, str]
    shown: Callable[[Example[Shown]], tuple[str, str]]
    beside: str = ""


def gallery_sections(galleries: Galleries[Shown], split: str, look: Look[Shown]) -> list[tuple[str, str]]:
    """The four lists as (heading, HTML), each with the rule by which its rows were chosen."""
    sections = []
    for kind, heading in HEADINGS:
        examples = galleries.of(kind, split)
        rule = f'<p class="note">{escape(f"At most {LIMITS[kind]} rows{look.rules[kind]}")}</p>'
        listed = f"{look.beside}{_listed(examples, look)}" if examples else "<p>There is none.</p>"
        sections.append((f"{heading} ({'all splits' if kind == SUSPECTS else split})", rule + listed))
    return sections


def _listed(examples: Sequence[Example[Shown]], look: Look[Shown]) -> str:
    items = []
    for example in examples:
        picture, words = look.shown(example)
        ident = f'<p class="note"><code>{escape(example.data_row_id)}</code> {escape(example.split)}</p>'
        items.append(f"<li>{picture}<div>{words}{ident}</div></li>")
    return f'<ul class="gallery">{"".join(items)}</ul>'
