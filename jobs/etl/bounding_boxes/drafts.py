"""The first pass: each row with its stored picture and its boxes, kept on disk; then what the drafts say together."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

from jobkit.boxes.labels import BoxReader, LabelledBox
from jobkit.boxes.limits import BoxLimits, normalised
from jobkit.export import ExportRow
from jobkit.image.drafts import Draft, Drafter
from jobkit.image.merging import MergedImages
from jobkit.image.store import ImageStore, StoredImage
from jobkit.renewal import FreshUrls


@dataclass(frozen=True, slots=True)
class BoxDraft(Draft):
    """A row whose picture is stored, with its boxes; none on a labelled row means that there is nothing to find."""

    boxes: tuple[LabelledBox, ...] = ()

    @classmethod
    def from_line(cls, line: str) -> "BoxDraft":
        body = json.loads(line)
        image = StoredImage(**body.pop("image"))
        boxes = tuple(LabelledBox(**{**box, "nested": tuple(box["nested"])}) for box in body.pop("boxes"))
        lists = {name: tuple(body[name]) for name in ("options", "nested")}
        return cls(**{**body, **lists, "image": image, "boxes": boxes})

    def learnable(self, limits: BoxLimits) -> list[LabelledBox]:
        """The boxes that can be trained on."""
        width, height = self.image.width, self.image.height
        return [box for box in self.boxes if limits.learnable(normalised(box, width, height), width, height)]

    def labels_digest(self) -> tuple[str, ...]:
        """Equal for rows with the same boxes, in whatever order they were drawn; empty without a box."""
        if not self.boxes:
            return ()
        drawn = sorted((box.tool, *box.corners) for box in self.boxes)
        return (hashlib.sha256(json.dumps(drawn).encode()).hexdigest(),)


class BoxDrafter(Drafter):
    """Makes drafts with boxes; everything else is as for classification."""

    def __init__(
        self, store: ImageStore, reader: BoxReader, split: Callable[[ExportRow], str], fresh: FreshUrls | None = None
    ) -> None:
        super().__init__(store, reader.verdict, split, fresh)
        self._reader = reader

    def _draft(self, row: ExportRow, image: StoredImage) -> BoxDraft:
        draft = super()._draft(row, image)
        boxes = self._reader.boxes(row, image.width, image.height) if draft.labelled else ()
        if boxes is None:
            draft, boxes = replace(draft, labelled=False, reason="only_unusable_boxes"), ()
        return BoxDraft(**{field.name: getattr(draft, field.name) for field in fields(draft)}, boxes=boxes)


@dataclass
class Collected:
    """The distinct pictures of labelled rows that can be trained on, and what can be learned of them."""

    images: MergedImages
    counts: dict[str, Counter[str]]  # tool -> split -> pictures with a box that can be trained on
    boxes: Counter[str]  # tool -> boxes
    pictures: int


def collect(drafts: Callable[[], Iterable[BoxDraft]], limits: BoxLimits) -> Collected:
    """Goes through the drafts twice: which picture is in which split is known only after the last row."""
    images = MergedImages()
    for draft in drafts():
        if draft.labelled:
            images.add(draft.image.sha256, draft.split, draft.labels_digest())
    collected = Collected(images, {}, Counter(), 0)
    seen: set[str] = set()
    for draft in drafts():
        merged = images.get(draft.image.sha256) if draft.labelled else None
        if merged is None or merged.labels is None or draft.image.sha256 in seen:
            continue
        seen.add(draft.image.sha256)
        boxes = Counter(box.tool for box in draft.learnable(limits))
        if (draft.boxes and not boxes) or limits.too_many(boxes.total()):
            continue
        collected.pictures += 1
        collected.boxes += boxes
        for tool in boxes:
            collected.counts.setdefault(tool, Counter())[merged.split] += 1
    return collected
