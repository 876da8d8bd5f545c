"""report.html of named entities: figures with the baseline beside them, and texts with what was found and missed."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from jobkit.ner.evaluation import OVERLAP, Match
from jobkit.report.answer_page import AnswerReport, answer_sections, cards, closing_sections
from jobkit.report.page import class_table, framed, page, short, table

MAX_EXAMPLES = 40

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
_COLOURS = {"right": "#d9f2df", "wrong": "#fbe0dd", "missed": "#fff1c9"}
_SIGNS = {"right": "✓", "wrong": "✗", "missed": "○"}  # colours alone are not seen by everybody


@dataclass(frozen=True, slots=True)
class Example:
    """One text (perhaps its beginning) with what was made of it."""

    data_row_id: str
    text: str
    matched: Match


def marked(text: str, matched: Match) -> str:
    """The text as HTML: right entities green, wrong ones red, missed ones yellow. Entities that overlap stand one
    after the other; those beyond the text's shown part are left out."""
    marks = sorted(
        (entity.start, entity.end, kind, entity)
        for kind, entities in (("right", matched.right), ("wrong", matched.wrong), ("missed", matched.missed))
        for entity in entities
    )
    parts, shown = [], 0
    for start, end, kind, entity in marks:
        if start >= len(text):
            break
        parts.append(escape(text[shown:start]))
        sure = "" if kind == "missed" else f" {entity.confidence:.2f}"
        parts.append(
            f'<mark style="background:{_COLOURS[kind]}" title="{kind}">{escape(text[start:end])}'
            f"<sub>{_SIGNS[kind]} {escape(short(entity.name))}{sure}</sub></mark>"
        )
        shown = max(shown, end)
    parts.append(escape(text[shown:]))
    return "".join(parts)


def _example_table(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    legend = " ".join(
        f'<mark style="background:{colour}">{_SIGNS[kind]} {kind}</mark>' for kind, colour in _COLOURS.items()
    )
    lines = "".join(
        f'<tr><th scope="row">{escape(short(one.data_row_id))}</th><td class="text" style="white-space:pre-wrap">'
        f"{marked(one.text, one.matched)}</td></tr>"
        for one in examples[:MAX_EXAMPLES]
    )
    head = '<thead><tr><th scope="col">data row</th><th scope="col" class="text">text</th></tr></thead>'
    return f'<p class="note">{legend}</p>{framed(f"{head}<tbody>{lines}</tbody>", "Texts with what was found")}'


def entity_page(title: str, report: AnswerReport, examples: Sequence[Example]) -> str:
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
            *answer_sections(report),
            ("Texts of the test split, those with most mistakes first", _example_table(examples)),
        ]
    return page(title, [*sections, *closing_sections(report)])
