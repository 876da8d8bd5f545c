"""What a report tells of the data beside rows and classes: entities that could not be used."""

from collections.abc import Mapping
from typing import Any


def unused_of(report: Mapping[str, Any]) -> dict[str, str]:
    """One line on them, if there are any; `report` is dataset_report.json."""
    unused = report.get("entities", {}).get("skipped", {})
    parts = [f"{item['count']} {reason.replace('_', ' ')}" for reason, item in unused.items()]
    return {"entities not used": ", ".join(parts)} if parts else {}
