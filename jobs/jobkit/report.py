"""report.html: what the model can do, on one page that needs nothing else (no script, no style from elsewhere)."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

MAX_CONFUSION_CLASSES = 30  # a wider matrix is no longer read by anybody
MAX_CLASSES = 500
MAX_EXAMPLES = 50
MAX_TEXT = 300

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse;margin:.6rem 0}
th,td{padding:.25rem .7rem;border-bottom:1px solid #dde2e8;text-align:right}
th{font-weight:600;background:#f4f6f8}th:first-child,td:first-child{text-align:left}
.note{color:#5b6673}.good{background:#d9f2df}.bad{background:#fbe0dd}td.text{text-align:left;max-width:36rem}
"""

Cell = str | int | float
_HEADLINES = (
    ("rows", "rows"),
    ("accuracy", "accuracy"),
    ("majority_baseline", "majority baseline"),
    ("macro_f1", "macro F1"),
    ("micro_f1", "micro F1"),
    ("macro_precision", "macro precision"),
    ("macro_recall", "macro recall"),
    ("rows_without_prediction", "rows without prediction"),
)


def _cell(value: Cell) -> str:
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """An HTML table; every cell is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """The whole page; a section is (heading, HTML made by this module)."""
    parts = "".join(f"<h2>{escape(heading)}</h2>{body}" for heading, body in sections if body)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{parts}</body></html>\n"
    )


def facts(pairs: Mapping[str, str]) -> str:
    """A two-column table of names and sentences."""
    return table(("", ""), pairs.items()) if pairs else ""


def headline_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a split, with the majority baseline beside the model."""
    shown = [pair for pair in _HEADLINES if any(pair[0] in figures for figures in splits.values())]
    rows = [[name, *(figures.get(key, "") for key, _ in shown)] for name, figures in splits.items()]
    return table(["split", *(label for _, label in shown)], rows) if rows else ""


def class_table(figures: Mapping[str, Any]) -> str:
    """Precision, recall and F1 of each class of one split, the most frequent first."""
    classes = sorted(figures["classes"].items(), key=lambda item: (-item[1]["support"], item[0]))
    columns = ("support", "tp", "fp", "fn", "precision", "recall", "f1")
    rows = [[name, *(counts[column] for column in columns)] for name, counts in classes[:MAX_CLASSES]]
    cut = (
        f'<p class="note">{len(classes) - MAX_CLASSES} more classes: metrics.json</p>'
        if len(classes) > MAX_CLASSES
        else ""
    )
    return table(["class", *columns], rows) + cut


def confusion_table(confusion: Mapping[str, Mapping[str, int]]) -> str:
    """True classes down, predicted ones across; empty where it would be too wide to read."""
    across = sorted({name for row in confusion.values() for name in row})
    if not confusion or max(len(across), len(confusion)) > MAX_CONFUSION_CLASSES:
        return ""
    head = "".join(f"<th>{escape(name) or '(none)'}</th>" for name in across)
    lines = []
    for true in sorted(confusion):
        cells = []
        for predicted in across:
            count = confusion[true].get(predicted, 0)
            style = "" if not count else ' class="good"' if predicted == true else ' class="bad"'
            cells.append(f"<td{style}>{count or ''}</td>")
        lines.append(f"<tr><td>{escape(true)}</td>{''.join(cells)}</tr>")
    return f"<table><thead><tr><th>true \\ said</th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def confidence_table(figures: Mapping[str, Any]) -> str:
    """Precision and recall over all classes if only answers of at least a confidence counted."""
    totals: dict[str, list[int]] = {}
    for counts in figures["classes"].values():
        for threshold, confusion in counts["by_confidence"].items():
            sums = totals.setdefault(threshold, [0, 0, 0])
            tp, fp, _, fn = confusion
            totals[threshold] = [sums[0] + tp, sums[1] + fp, sums[2] + fn]
    rows: list[list[Cell]] = []
    for threshold, (tp, fp, fn) in sorted(totals.items()):
        rows.append(
            [f"≥ {threshold}", tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn) if tp + fn else 0.0, tp, fp, fn]
        )
    return table(("confidence", "precision", "recall", "tp", "fp", "fn"), rows)


def example_table(examples: Sequence[tuple[str, str, str, str, float]]) -> str:
    """Mistakes to look at: (data row id, text, true, said, confidence)."""
    if not examples:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("data row", "content", "true", "said", "confidence"))
    lines = "".join(
        f'<tr><td>{escape(row_id)}</td><td class="text">{escape(text[:MAX_TEXT])}</td>'
        f"<td>{escape(true)}</td><td>{escape(said)}</td><td>{confidence:.2f}</td></tr>"
        for row_id, text, true, said, confidence in examples[:MAX_EXAMPLES]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def classification_page(
    title: str,
    splits: Mapping[str, Mapping[str, Any]],
    notes: Mapping[str, str],
    examples: Sequence[tuple[str, str, str, str, float]],
) -> str:
    """The report of a classification run; `splits` is metrics.json's, `notes` what happened beside."""
    shown = "test" if "test" in splits else next(iter(splits), "")
    sections = [("In short", headline_table(splits)), ("The run", facts(notes))]
    if shown:
        figures = splits[shown]
        sections += [
            (f"Classes ({shown})", class_table(figures)),
            (f"What is taken for what ({shown})", confusion_table(figures.get("confusion", {}))),
            (f"If only sure answers counted ({shown})", confidence_table(figures)),
            (f"Mistakes ({shown}), the surest first", example_table(examples)),
        ]
    return page(title, sections)
