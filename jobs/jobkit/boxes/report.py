"""The report page of a run that finds boxes: average precision by class, and pictures with their boxes listed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from jobkit.report.answer_page import AnswerReport, answer_sections, cards, closing_sections
from jobkit.report.page import class_table, page, table

HIT, WRONG, MISSED = "hit", "wrong", "missed"
MAX_EXAMPLES = 30
MAX_LISTED = 50  # boxes of one picture
_COLOURS = {HIT: "#1a7f37", WRONG: "#cf222e", MISSED: "#0969da"}
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
    """One picture of the report with all its boxes of at least the headline's confidence. `content` is its address."""

    data_row_id: str
    width: float
    height: float
    boxes: tuple[ShownBox, ...]
    content: str = ""

    @property
    def mistakes(self) -> int:
        return sum(box.what != HIT for box in self.boxes)


def headline_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a split."""
    shown = [pair for pair in _HEADLINES if any(pair[0] in figures for figures in splits.values())]
    rows = [[name, *(figures.get(key, "") for key, _ in shown)] for name, figures in splits.items()]
    return table(["split", *(label for _, label in shown)], rows) if rows else ""


def precision_table(figures: Mapping[str, Any]) -> str:
    """Average precision of each class, the most frequent first."""
    keys = ("map_50", "map_75", "map_50_95", "map_50_95_small", "map_50_95_medium", "map_50_95_large")
    classes = sorted(figures["classes"].items(), key=lambda item: (-item[1]["support"], item[0]))
    rows = [[name, one["support"], one["images"], *(one.get(key, "") for key in keys)] for name, one in classes]
    head = ("class", "boxes", "images", "AP@.5", "AP@.75", "AP@[.5:.95]", "small", "medium", "large")
    return table(head, rows)


def drawing(image: ShownImage, picture: str = "") -> str:
    """The boxes of a picture as they lie in it, over a small copy of it (a data URI) where there is one."""
    size = f'width="{image.width:g}" height="{image.height:g}"'
    parts = [f'<image href="{escape(picture)}" {size} preserveAspectRatio="none"/>'] if picture else []
    for box in image.boxes[:MAX_LISTED]:
        left, top, right, bottom = box.corners
        dashes = ' stroke-dasharray="6 4"' if box.what == MISSED else ""
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" fill="none" '
            f'stroke="{_COLOURS[box.what]}" stroke-width="2" vector-effect="non-scaling-stroke"{dashes}>'
            f"<title>{escape(box.name)}</title></rect>"
        )
    view = f'viewBox="0 0 {image.width:g} {image.height:g}"'
    style = "background:var(--panel);border:1px solid var(--line);max-height:14rem"
    label = f"Boxes of {escape(image.data_row_id)}"
    return f'<svg {view} width="220" style="{style}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def listing(image: ShownImage) -> str:
    """Every box with its place in pixels."""
    rows = [
        (
            box.name,
            box.what,
            "" if box.confidence is None else float(box.confidence),
            "" if box.share is None else float(box.share),
            *(f"{edge:.1f}" for edge in (left, top, right - left, bottom - top)),
        )
        for box in image.boxes[:MAX_LISTED]
        for left, top, right, bottom in [box.corners]
    ]
    return table(("class", "", "confidence", "IoU", "left", "top", "width", "height"), rows)


def image_list(images: Sequence[ShownImage], picture_of: Callable[[str], str]) -> str:
    """Pictures with their boxes drawn and listed. `picture_of` gives the data URI of the image at an address, or ""."""
    if not images:
        return ""
    legend = " · ".join(f'<b style="border-bottom:3px solid {colour}">{what}</b>' for what, colour in _COLOURS.items())
    parts = [
        f'<h3>{escape(image.data_row_id)}</h3><div class="charts">{drawing(image, picture_of(image.content))}'
        f"{listing(image)}</div>"
        for image in images[:MAX_EXAMPLES]
    ]
    return f'<p class="note">{legend}</p>{"".join(parts)}'


def box_page(
    title: str, report: AnswerReport, images: Sequence[ShownImage], picture_of: Callable[[str], str] = lambda _: ""
) -> str:
    """The whole report. `picture_of` as in image_list."""
    splits, shown = report.splits, report.shown
    figures = splits.get(shown, {})
    sections = [("In short", cards(report, float(figures.get("f1", 0.0))) + headline_table(splits))]
    if shown:
        confidence = figures["confidence"]
        sections += [
            (f"Average precision ({shown})", precision_table(figures)),
            (f"Hits and misses ({shown}): IoU of {figures['iou']:g}, confidence of {confidence}", class_table(figures)),
            *answer_sections(report),
            (f"Pictures ({shown}), those with the most mistakes first", image_list(images, picture_of)),
        ]
    return page(title, [*sections, *closing_sections(report)])
