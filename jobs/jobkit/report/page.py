"""report.html: what the model can do, on one page that needs nothing else (no script, no style from elsewhere)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from jobkit.report.style import STYLE

MAX_CONFUSION_CLASSES = 20  # a wider matrix is no longer read by anybody
MAX_CLASSES = 500
MAX_TEXT = 300
MAX_NAME = 120
OTHERS = "all others"

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


def short(name: str, most: int = MAX_NAME) -> str:
    """A name or text from the data, cut to a readable length; not yet escaped."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _cell(value: Cell) -> str:
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> str:
    """An HTML table; every cell is escaped. The first column names its row. It scrolls alone where it is too wide."""
    head = "".join(f'<th scope="col">{escape(name) or _UNNAMED}</th>' for name in header)
    body = "".join(_row(row) for row in rows)
    return framed(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", caption)


def _row(row: Sequence[Cell]) -> str:
    first, *others = row
    return f'<tr><th scope="row">{_cell(first)}</th>{"".join(f"<td>{_cell(value)}</td>" for value in others)}</tr>'


def framed(inside: str, caption: str = "") -> str:
    """A table around rows that are HTML already."""
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    label = escape(caption or "Table")
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{label}"><table>{told}{inside}</table></div>'


_UNNAMED = '<span class="unseen">what</span>'


def page(title: str, sections: Iterable[tuple[str, str]], lead: str = "") -> str:
    """The whole page; a section is (heading, HTML made by these modules), `lead` HTML below the title."""
    shown = [(f"part-{number}", escape(heading), body) for number, (heading, body) in enumerate(sections, 1) if body]
    links = "".join(f'<li><a href="#{ident}">{heading}</a></li>' for ident, heading, _ in shown)
    parts = "".join(
        f'<section aria-labelledby="{ident}"><h2 id="{ident}">{heading}</h2>{body}</section>'
        for ident, heading, body in shown
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body><header><h1>{escape(title)}</h1>{lead}"
        f'<nav aria-label="Parts of the report"><ul>{links}</ul></nav></header><main>{parts}</main></body></html>\n'
    )


def headline_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a split, with the majority baseline beside the model."""
    shown = [pair for pair in _HEADLINES if any(pair[0] in figures for figures in splits.values())]
    rows = [[name, *(figures.get(key, "") for key, _ in shown)] for name, figures in splits.items()]
    return table(["split", *(label for _, label in shown)], rows, "Figures by split") if rows else ""


def class_table(figures: Mapping[str, Any]) -> str:
    """Precision, recall and F1 of each class of one split, the most frequent first."""
    classes = sorted(figures["classes"].items(), key=lambda item: (-item[1]["support"], item[0]))
    columns = ("support", "tp", "fp", "fn", "precision", "recall", "f1")
    rows = [[short(name), *(counts[column] for column in columns)] for name, counts in classes[:MAX_CLASSES]]
    cut = (
        f'<p class="note">{len(classes) - MAX_CLASSES} more classes: metrics.json</p>'
        if len(classes) > MAX_CLASSES
        else ""
    )
    return table(["class", *columns], rows, "Each class, the most frequent first") + cut


def confusion_table(confusion: Mapping[str, Mapping[str, int]], which: str = "rows") -> str:
    """True classes down, predicted ones across, nothing ("") last. Of more than MAX_CONFUSION_CLASSES, those with the
    most rows (or what `which` says is counted) are shown and the others added up."""
    rows: Counter[str] = Counter()
    for true, line in confusion.items():
        rows[true] += sum(line.values())
        rows.update(dict.fromkeys(line, 0))
    if not rows:
        return ""
    names = sorted((name for name in rows if name), key=lambda name: (-rows[name], name))
    kept = sorted(names[:MAX_CONFUSION_CLASSES]) if len(names) > MAX_CONFUSION_CLASSES else sorted(names)
    place = {name: index for index, name in enumerate(kept)}
    other, none = len(kept), len(kept) + 1  # the last two lines and columns, shown where they hold something
    place[""] = none
    counts = [[0] * (none + 1) for _ in range(none + 1)]
    for true, line in confusion.items():
        for said, count in line.items():
            counts[place.get(true, other)][place.get(said, other)] += count
    labels = [*(short(name) for name in kept), OTHERS, "(none)"]
    across = [index for index in range(none + 1) if index < other or any(line[index] for line in counts)]
    down = [index for index in range(none + 1) if index < other or any(counts[index])]
    head = "".join(f'<th scope="col">{escape(labels[index])}</th>' for index in across)
    body = "".join(_confusion_row(labels[index], counts[index], across, index, other) for index in down)
    caption = f"True classes down, what the model said across; {len(names)} classes"
    if len(names) > len(kept):
        caption += f". Shown are the {len(kept)} with the most {which}; the other {len(names) - len(kept)} are added up"
    head = f'<thead><tr><th scope="col">true \\ said</th>{head}</tr></thead>'
    return framed(f"{head}<tbody>{body}</tbody>", caption)


def confusion_section(figures: Mapping[str, Any], which: str, rule: str) -> str:
    """The confusions of entities or boxes, which may also be missed or found where there is nothing; with the rule by
    which they are paired."""
    shown = confusion_table(figures["confusion"], which)
    nothing = f"The line (none) has {which} found where none is labelled, the column (none) those that were missed."
    return shown and f'<p class="note">{escape(f"{rule} {nothing}")}</p>{shown}'


def _confusion_row(label: str, counts: Sequence[int], across: Sequence[int], own: int, other: int) -> str:
    total = sum(counts)
    cells = []
    for index in across:
        count = counts[index]
        kind = "good" if index == own and own != other else "bad"
        style = f' class="{kind}" style="--share:{0.12 + 0.4 * count / total:.2f}"' if count and index != other else ""
        cells.append(f"<td{style}>{count or ''}</td>")
    return f'<tr><th scope="row">{escape(label)}</th>{"".join(cells)}</tr>'


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
    caption = "All classes together, if only answers of at least a confidence counted"
    return table(("confidence", "precision", "recall", "tp", "fp", "fn"), rows, caption)
