"""What a report tells beside the figures: rows skipped, classes left out, duplicates, the upload."""

from collections.abc import Mapping
from typing import Any


def told_of(report: Mapping[str, Any], notes: Mapping[str, str], upload: str) -> dict[str, str]:
    """The table of what happened beside: `report` is dataset_report.json, `upload` what became of the predictions."""
    rows = report["rows"]
    told = {**notes, "upload": upload, "rows": f"{rows['seen']} seen, {rows['labelled']} labelled"}
    for key, title in (("skipped", "skipped rows"), ("unlabelled", "rows not evaluated")):
        parts = [f"{item['count']} {reason.replace('_', ' ')}" for reason, item in report.get(key, {}).items()]
        if parts:
            told[title] = ", ".join(parts)
    unused = report.get("entities", {}).get("skipped", {})
    if unused:
        parts = [f"{item['count']} {reason.replace('_', ' ')}" for reason, item in unused.items()]
        told["entities not used"] = ", ".join(parts)
    left_out = report.get("left_out_classes", {})
    if left_out:
        told["classes left out"] = ", ".join(f"{name} ({count})" for name, count in left_out.items())
    if report.get("duplicates_across_splits"):
        told["duplicates across splits"] = f"{report['duplicates_across_splits']['count']} rows"
    for index, note in enumerate(report.get("notes", [])[:20], start=1):
        told[f"note {index}"] = note
    return told
