"""Whether a prediction is right, by a rule that fits in a sentence. Pure."""

from __future__ import annotations

from local.console.annotations import Annotations, Box

RIGHT, WRONG, UNLABELLED = "right", "wrong", "unlabelled"
LEAST_OVERLAP = 0.5


def rule(annotations: Annotations, cut: float) -> str:
    """The rule in words, by the kind of what is predicted."""
    if annotations.boxes:
        return (
            f"Right: each labelled box is covered by a box of its class (overlap at least {LEAST_OVERLAP:g}), and no "
            f"other box has a confidence of {cut:g} or more. Boxes of less are not drawn."
        )
    if annotations.entities:
        return "Right: exactly the labelled entities, with their classes, from first to last character."
    return "Right: exactly the labelled classes."


def verdict(label: Annotations | None, predicted: Annotations, cut: float) -> str:
    """RIGHT or WRONG; UNLABELLED where nobody labelled the row. `cut`: boxes of a lower confidence do not count."""
    if label is None:
        return UNLABELLED
    if label.boxes or predicted.boxes:
        fits = _boxes_fit(label.boxes, confident(predicted, cut).boxes)
    elif label.entities or predicted.entities:
        spans = [{(span.start, span.end, span.name) for span in side.entities} for side in (label, predicted)]
        fits = spans[0] == spans[1]
    else:
        fits = {choice.name for choice in label.choices} == {choice.name for choice in predicted.choices}
    return RIGHT if fits else WRONG


def confident(annotations: Annotations, cut: float) -> Annotations:
    """The same without the boxes below a confidence."""
    kept = tuple(box for box in annotations.boxes if box.confidence is None or box.confidence >= cut)
    return Annotations(annotations.choices, annotations.entities, kept)


def _boxes_fit(labelled: tuple[Box, ...], predicted: tuple[Box, ...]) -> bool:
    """The most confident box chooses first, as in COCO's measure; each labelled box is covered once."""
    left = list(labelled)
    for box in sorted(predicted, key=lambda item: -(item.confidence or 0.0)):
        near = [(overlap(box, other), place) for place, other in enumerate(left) if other.name == box.name]
        best, place = max(near, default=(0.0, 0))
        if best < LEAST_OVERLAP:
            return False
        del left[place]
    return not left


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.width * one.height + other.width * other.height - shared)
