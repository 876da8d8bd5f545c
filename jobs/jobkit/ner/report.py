"""report.html of named entities: figures with the baseline beside them, and texts with what was found and missed."""

from html import escape
from typing import NamedTuple

from jobkit.ner.evaluation import OVERLAP, Match
from jobkit.report.answer_page import AnswerReport, answer_sections, cards, closing_sections
from jobkit.report.answers import answer_rules
from jobkit.report.gallery import Example, Galleries, Look
from jobkit.report.page import class_table, confusion_section, page, short, table

MAX_LETTERS = 600  # of a text
MAX_MARKS = 50  # in a text
MAX_NAME = 60
BEFORE = 100  # letters shown before the first mark of a text that is too long to be shown whole

_HEADLINES = (
    ("rows", "rows"),
    ("micro_f1", "F1 (exact)"),
    ("majority_baseline", "baseline: names of the training rows"),
    ("micro_precision", "precision"),
    ("micro_recall", "recall"),
    ("macro_f1", "macro F1"),
    ("overlap_micro_f1", "F1 (overlap)"),
    ("row_accuracy", "rows all right"),
    ("rows_without_prediction", "rows without prediction"),
)
_PAIRED = (
    "Right are those that are exactly right. An entity of the right class with other ends stands under (none), as "
    "missed and as wrongly found. What is then left over is paired whatever its class: the surest found entity first, "
    "with the labelled one that it shares most characters with; each is taken once."
)
_SIGNS = {"right": "✓", "wrong": "✗", "missed": "○"}  # colours alone are not seen by everybody


class Marked(NamedTuple):
    """An entity in a text: right, wrong or missed."""

    start: int
    end: int
    kind: str
    name: str
    confidence: float


class MarkedText(NamedTuple):
    """A text, or the part of it that was kept, with the entities that begin in it; places are in that part."""

    text: str
    marks: tuple[Marked, ...]
    before: bool = False
    after: bool = False


def excerpt(text: str, matched: Match) -> MarkedText:
    """What is kept of a text: of a long one a part that holds the first mistake, or else the first entity."""
    marks = sorted(
        Marked(one.start, one.end, kind, one.name, one.confidence)
        for kind, entities in (("right", matched.right), ("wrong", matched.wrong), ("missed", matched.missed))
        for one in entities
    )
    first = min(marks, key=lambda mark: (mark.kind == "right", mark.start), default=None)
    start = 0
    if len(text) > MAX_LETTERS and first:
        start = max(0, min(first.start - BEFORE, len(text) - MAX_LETTERS))
    end = start + MAX_LETTERS
    inside = [mark for mark in marks if start <= mark.start < end][:MAX_MARKS]
    moved = tuple(mark._replace(start=mark.start - start, end=min(mark.end, end) - start) for mark in inside)
    return MarkedText(text[start:end], moved, start > 0, end < len(text))


def marked(seen: MarkedText) -> str:
    """The text as HTML, its entities marked. Of those that overlap the later one repeats what they share."""
    parts, shown = ["… " if seen.before else ""], 0
    for mark in seen.marks:
        parts.append(escape(seen.text[shown : mark.start]))
        sure = "" if mark.kind == "missed" else f" {mark.confidence:.2f}"
        parts.append(
            f'<mark class="{mark.kind}">{escape(seen.text[mark.start : mark.end])}'
            f"<sub>{_sign(mark.kind)} {escape(short(mark.name, MAX_NAME))}{sure}</sub></mark>"
        )
        shown = max(shown, mark.end)
    parts += [escape(seen.text[shown:]), " …" if seen.after else ""]
    return "".join(parts)


def _sign(kind: str) -> str:
    return f'<span aria-hidden="true">{_SIGNS[kind]}</span><span class="unseen">{kind}:</span>'


def _shown(example: Example[MarkedText]) -> tuple[str, str]:
    return "", f'<p class="marked">{marked(example.seen) or "(empty text)"}</p>'


def _look() -> Look[MarkedText]:
    legend = " ".join(
        f'<mark class="{kind}"><span aria-hidden="true">{sign}</span> {kind}</mark>' for kind, sign in _SIGNS.items()
    )
    cut = f"Of a text at most {MAX_LETTERS} characters and {MAX_MARKS} entities are shown, from its first mistake on."
    return Look(answer_rules("entities"), _shown, f'<p class="note">{legend} {cut}</p>')


def entity_page(title: str, report: AnswerReport, galleries: Galleries[MarkedText]) -> str:
    """The report of a run."""
    splits, shown = report.splits, report.shown
    rows = [[name, *(figures[key] for key, _ in _HEADLINES)] for name, figures in splits.items()]
    headline = table(["split", *(label for _, label in _HEADLINES)], rows, "Figures by split") if rows else ""
    figures = splits.get(shown, {})
    baseline = (float(figures["majority_baseline"]), "F1 of the training rows' names, looked up") if shown else None
    sections = [("In short", cards(report, float(figures.get("micro_f1", 0.0)), baseline) + headline)]
    if shown:
        sections += [
            (f"Classes, exactly right ({shown})", class_table(figures)),
            (f"Classes, right by overlap ({shown})", class_table(figures[OVERLAP])),
            (f"What is taken for what ({shown})", confusion_section(figures, "entities", _PAIRED)),
            *answer_sections(report, galleries, _look()),
        ]
    return page(title, [*sections, *closing_sections(report)])
