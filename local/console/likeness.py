"""Which model types an export of one's own is fit for: those whose samples hold the same kinds of labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

_ROWS = 60  # the first ones tell what the others are
_CHOICES = {"radio_answer": "radio", "checklist_answers": "checklist"}
_OBJECTS = {"location": "entity", "bounding_box": "box"}


def kinds_of(export: Path) -> frozenset[str]:
    """What the first rows of an export are labelled with, as `image radio`, `text entity` and so on.

    Empty where nothing of a known kind is found, or the file cannot be read: the types are then offered all alike.
    """
    found: set[str] = set()
    try:
        with export.open(encoding="utf-8") as lines:
            for line in islice((line for line in lines if line.strip()), _ROWS):
                found.update(_kinds_of_row(json.loads(line)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()
    return frozenset(found)


def _kinds_of_row(row: Mapping[str, Any]) -> set[str]:
    media = str((row.get("media_attributes") or {}).get("asset_type") or "").lower()
    found: set[str] = set()
    for model in (row.get("experiments") or {}).values():
        for run in model["runs"].values():
            for label in run.get("labels") or ():
                said = label.get("annotations") or {}
                for items, kinds in ((said.get("classifications"), _CHOICES), (said.get("objects"), _OBJECTS)):
                    found.update(
                        f"{media} {kind}" for item in items or () for key, kind in kinds.items() if item.get(key)
                    )
    return found


def fitting(export: Path, samples: Mapping[str, Path]) -> list[str]:
    """The model types whose sample has a kind of label in common with the export, in their order."""
    wanted = kinds_of(export)
    return [name for name, sample in samples.items() if wanted & kinds_of(sample)]
