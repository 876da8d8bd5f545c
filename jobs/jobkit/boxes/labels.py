"""From labelers' rectangles to boxes on the upright picture: which labels count, and what of each rectangle is inside.

Rectangles are matched to the ontology's tools by feature schema id, so spaces, renamed tools and equal names do no
harm; an export without ids is matched by name. Coordinates keep their full precision.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobkit.batch_files import number_of
from jobkit.classification import FIRST, SKIP, Verdict, answers_below
from jobkit.errors import BadConfiguration, shorten
from jobkit.export import ExportRow, Label, ObjectAnnotation
from jobkit.ontology import Tool

RECTANGLE = "rectangle"
POLICIES = (FIRST, SKIP)  # two labelers' boxes have no majority


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box in pixels of the picture as a person sees it; `tool` is a feature schema id, `nested` the answers to
    questions about this box, which are kept for people."""

    tool: str
    left: float
    top: float
    width: float
    height: float
    nested: tuple[dict[str, Any], ...] = ()

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def choose(tools: Sequence[Tool], wanted: Sequence[str]) -> tuple[Tool, ...]:
    """The tools to learn, in the ontology's order: all, or those named (by name or feature schema id)."""
    chosen: set[str] = set()
    for word in wanted:
        found = {tool.feature_schema_id for tool in tools if word in (tool.feature_schema_id, tool.name)}
        if not found:
            known = ", ".join(f"'{tool.name}'" for tool in tools)
            raise BadConfiguration(f"The ontology has no rectangle tool '{shorten(word, 60)}'; it has: {known}")
        chosen |= found
    return tuple(tool for tool in tools if not wanted or tool.feature_schema_id in chosen)


def clipped(tool: str, rectangle: object, width: int, height: int) -> LabelledBox | str:
    """The part of the export's rectangle that lies in a picture of width x height, or the reason why there is none."""
    if not isinstance(rectangle, dict):
        return "malformed"
    numbers = [number_of(rectangle.get(key)) for key in ("left", "top", "width", "height")]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return "malformed"
    left, top, wide, high = known
    if wide <= 0 or high <= 0:
        return "without_area"
    right, bottom = min(left + wide, float(width)), min(top + high, float(height))
    left, top = max(left, 0.0), max(top, 0.0)
    if right <= left or bottom <= top:
        return "outside_the_image"
    return LabelledBox(tool, left, top, right - left, bottom - top)


class BoxReader:
    """Reads the boxes of the chosen tools out of a row's labels."""

    def __init__(self, tools: Sequence[Tool], chosen: Sequence[Tool], policy: str) -> None:
        self._known = {tool.feature_schema_id for tool in tools}
        self._by_name = {tool.name: tool.feature_schema_id for tool in reversed(tools)}
        self._chosen = {tool.feature_schema_id for tool in chosen}
        self._policy = policy
        self.several = 0  # rows with several labels
        self.nested = 0  # boxes with questions below them, which are not learned
        self.unknown: Counter[str] = Counter()  # names of rectangles whose tool the ontology no longer has
        self.dropped: Counter[str] = Counter()  # boxes that are nowhere in the picture, by reason
        self.others: Counter[str] = Counter()  # annotations that are no rectangles, by their kind

    def verdict(self, row: ExportRow) -> Verdict:
        """Whether the row's labels count. One without a rectangle does: somebody looked and found nothing."""
        labels = _given(row)
        several = len(labels) > 1
        self.several += several
        if several and self._policy == SKIP:
            return Verdict(labelled=False, reason="several_labels", several=True)
        return Verdict(labelled=bool(labels), several=several)

    def boxes(self, row: ExportRow, width: int, height: int) -> tuple[LabelledBox, ...] | None:
        """The boxes of the row's (first) label inside a picture of width x height; the others are counted.

        None where something was drawn and none of it can be used: it is no sign that there is nothing to find.
        """
        result, dropped = [], 0
        for label in _given(row)[:1]:
            for tool, entry in self._rectangles(label):
                box = clipped(tool, entry.body.get("bounding_box"), width, height)
                if isinstance(box, str):
                    self.dropped[box] += 1
                    dropped += 1
                elif entry.classifications:
                    self.nested += 1
                    result.append(replace(box, nested=tuple(answers_below(tool, entry.classifications))))
                else:
                    result.append(box)
        return None if dropped and not result else tuple(result)

    def _rectangles(self, label: Label) -> Iterator[tuple[str, ObjectAnnotation]]:
        for entry in label.objects:
            if not _is_rectangle(entry):
                self.others[entry.kind or "of no kind"] += 1
                continue
            tool = entry.feature_schema_id or self._by_name.get(entry.name, "")
            if tool not in self._known:
                self.unknown[entry.name] += 1
            elif tool in self._chosen:
                yield tool, entry


def _given(row: ExportRow) -> list[Label]:
    return [label for label in row.labels if not label.skipped]


def _is_rectangle(entry: ObjectAnnotation) -> bool:
    return "boundingbox" in entry.kind.replace("_", "").lower() or "bounding_box" in entry.body
