"""The report page of a run that finds boxes: average precision by class, and pictures with their boxes listed."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from jobkit.report.answer_page import AnswerReport, answer_sections, cards, closing_sections
from jobkit.report.answers import answer_rules
from jobkit.report.gallery import Example, Galleries, Look, Pictures
from jobkit.report.page import class_table, confusion_section, page, short, table

HIT, WRONG, MISSED = "hit", "wrong", "missed"
MAX_DRAWN = 30  # boxes of one picture
MAX_NAME = 60
# Colour, and dashes for those who do not see it: of a line in a picture, and of the legend's.
_LINES = {HIT: ("#1a7f37", "", "solid"), WRONG: ("#cf222e", "2 3", "dotted"), MISSED: ("#0969da", "8 5", "dashed")}
_FIRST = (("mAP@.5", "map_50"), ("mAP@[.5:.95]", "map_50_95"))
_PAIRED = (
    "Hits are those of the table above. What is then left over is paired whatever its class: the surest predicted box "
    "first, with the labelled box that it overlaps most, if by at least the same IoU; each is taken once."
)
_HEADLINES = (
    ("rows", "images"),
    ("map_50", "mAP@.5"),
    ("map_50_95", "mAP@[.5:.95]"),
    ("map_75", "mAP@.75"),
    ("map_50_95_small", "small"),
    ("map_50_95_medium", "medium"),
    ("map_50_95_large", "large"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("f1", "F1"),
    ("mean_iou", "mean IoU of hits"),
    ("rows_without_prediction", "images without prediction"),
)


@dataclass(frozen=True)
class ShownBox:
    """One box of the report. `share` is the overlap with the labelled box that it hits."""

    what: str
    name: str
    corners: tuple[float, float, float, float]
    confidence: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class ShownImage:
    """One picture of the report. `content` is its address; width and height are those that boxes are given in.

    boxes    those that are drawn
    counts   hits, wrong and missed boxes of at least the headline's confidence, drawn or not
    """

    content: str
    width: float
    height: float
    boxes: tuple[ShownBox, ...]
    counts: Mapping[str, int]

    @property
    def told(self) -> str:
        """The counts in words."""
        return ", ".join(f"{self.counts.get(what, 0)} {what}" for what in _LINES)


def headline_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a split."""
    shown = [pair for pair in _HEADLINES if any(pair[0] in figures for figures in splits.values())]
    rows = [[name, *(figures.get(key, "") for key, _ in shown)] for name, figures in splits.items()]
    return table(["split", *(label for _, label in shown)], rows, "Figures by split") if rows else ""


def precision_table(figures: Mapping[str, Any]) -> str:
    """Average precision of each class, the most frequent first."""
    keys = ("map_50", "map_75", "map_50_95", "map_50_95_small", "map_50_95_medium", "map_50_95_large")
    classes = sorted(figures["classes"].items(), key=lambda item: (-item[1]["support"], item[0]))
    rows = [[name, one["support"], one["images"], *(one.get(key, "") for key in keys)] for name, one in classes]
    head = ("class", "boxes", "images", "AP@.5", "AP@.75", "AP@[.5:.95]", "small", "medium", "large")
    return table(head, rows, "Average precision of each class, the most frequent first")


def drawing(example: Example[ShownImage], picture: str = "") -> str:
    """The boxes of a picture as they lie in it, over a small copy of it (a data URI) where there is one."""
    image = example.seen
    size = f'width="{image.width:g}" height="{image.height:g}"'
    parts = [f'<image href="{escape(picture)}" {size} preserveAspectRatio="none"/>'] if picture else []
    for box in image.boxes:
        left, top, right, bottom = box.corners
        colour, dashes, _ = _LINES[box.what]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
            f'stroke="{colour}"{dashed}><title>{escape(box.what)}: {escape(short(box.name, MAX_NAME))}</title></rect>'
        )
    view = f'viewBox="0 0 {image.width:g} {image.height:g}"'
    label = escape(f"Boxes of data row {example.data_row_id}: {image.told}")
    return f'<svg class="boxes" {view} width="220" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def listing(example: Example[ShownImage]) -> str:
    """Every box that is drawn, with its place in pixels."""
    boxes = example.seen.boxes
    rows = [
        (
            short(box.name, MAX_NAME),
            box.what,
            "" if box.confidence is None else float(box.confidence),
            "" if box.share is None else float(box.share),
            *(f"{edge:.0f}" for edge in (left, top, right - left, bottom - top)),
        )
        for box in boxes
        for left, top, right, bottom in [box.corners]
    ]
    if not rows:
        return ""
    head = ("class", "is", "confidence", "IoU", "left", "top", "width", "height")
    listed = table(head, rows, f"Boxes of data row {example.data_row_id}, in pixels")
    return f"<details><summary>Boxes, {len(boxes)} of {sum(example.seen.counts.values())}</summary>{listed}</details>"


def _look(pictures: Pictures | None) -> Look[ShownImage]:
    def shown(example: Example[ShownImage]) -> tuple[str, str]:
        picture = pictures.of(example.seen.content) if pictures else ""
        return drawing(example, picture), f"<p>{escape(example.seen.told)}</p>{listing(example)}"

    legend = " · ".join(
        f'<b style="border-bottom:3px {line} {colour}">{what}</b>' for what, (colour, _, line) in _LINES.items()
    )
    cut = f"At most {MAX_DRAWN} boxes of a picture are drawn, mistakes before hits."
    rule = f" {pictures.rule}" if pictures else ""
    return Look(answer_rules("boxes"), shown, f'<p class="note">{legend}. {escape(cut + rule)}</p>')


def box_page(
    title: str, report: AnswerReport, galleries: Galleries[ShownImage], pictures: Pictures | None = None
) -> str:
    """The whole report."""
    splits, shown = report.splits, report.shown
    figures = splits.get(shown, {})
    sections = [("In short", cards(report, float(figures.get("f1", 0.0)), first=_FIRST) + headline_table(splits))]
    if shown:
        confidence = figures["confidence"]
        sections += [
            (f"Average precision ({shown})", precision_table(figures)),
            (f"Hits and misses ({shown}): IoU of {figures['iou']:g}, confidence of {confidence}", class_table(figures)),
            (f"What is taken for what ({shown})", confusion_section(figures, "boxes", _PAIRED)),
            *answer_sections(report, galleries, _look(pictures)),
        ]
    return page(title, [*sections, *closing_sections(report)])
