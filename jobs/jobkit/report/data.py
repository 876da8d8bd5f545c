"""The report's part on the data: what the classes have in each split, and which rows were left out and why."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jobkit.report.page import MAX_CLASSES, Cell, framed, short, table
from jobkit.splits import SPLITS

MAX_IDS = 5
MAX_NOTES = 20


def data_section(report: Mapping[str, Any], rows: Mapping[str, Sequence[int]]) -> str:
    """`report` is dataset_report.json; `rows` is split -> (labelled rows, rows without a label) of the manifest."""
    seen = report["rows"]
    said = f"{seen['seen']} rows were exported, {seen['labelled']} of them labelled."
    return "".join(
        [
            f"<p>{escape(said)}</p>",
            _splits(rows),
            _classes(report.get("classes", ())),
            _tally("Skipped rows: neither trained on nor predicted", report.get("skipped", {})),
            _tally("Rows predicted but not evaluated", report.get("unlabelled", {})),
            _duplicates(report.get("duplicates_across_splits", {})),
            _left_out(report.get("left_out_classes", {})),
            _notes(report.get("notes", ())),
        ]
    )


def _splits(rows: Mapping[str, Sequence[int]]) -> str:
    if not rows:
        return ""
    lines: list[list[Cell]] = [
        [name or "(no split)", *counts, sum(counts)] for name, counts in sorted(rows.items(), key=_split_order)
    ]
    return table(("split", "labelled", "without a label", "all"), lines, "Rows by split")


def _split_order(item: tuple[str, Sequence[int]]) -> tuple[int, str]:
    return (SPLITS.index(item[0]) if item[0] in SPLITS else len(SPLITS), item[0])


def _classes(classes: Sequence[Mapping[str, Any]]) -> str:
    lines: list[list[Cell]] = []
    for entry in classes:
        counts = entry.get("counts", {})
        each = [int(counts.get(split, 0)) for split in SPLITS]
        lines.append([short(str(entry["display_name"])), *each, sum(each)])
    if not lines:
        return ""
    lines.sort(key=lambda line: -int(line[-1]))
    caption = "Labelled rows by class and split, the most frequent class first"
    if len(lines) > MAX_CLASSES:
        caption += f"; {len(lines) - MAX_CLASSES} more classes stand in dataset_report.json"
    return f"<h3>Classes</h3>{table(('class', *SPLITS, 'all'), lines[:MAX_CLASSES], caption)}"


def _ids(ids: Sequence[str]) -> str:
    return ", ".join(f"<code>{escape(short(str(one)))}</code>" for one in ids[:MAX_IDS])


def _tally(heading: str, tally: Mapping[str, Any]) -> str:
    if not tally:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(short(reason.replace("_", " ")))}</th><td>{int(item["count"])}</td>'
        f'<td class="text">{_ids(item.get("ids", ()))}</td></tr>'
        for reason, item in sorted(tally.items(), key=lambda pair: (-pair[1]["count"], pair[0]))
    )
    columns = '<th scope="col">reason</th><th scope="col">rows</th><th scope="col" class="text">data rows</th>'
    caption = f"With at most {MAX_IDS} data row ids each"
    return f"<h3>{escape(heading)}</h3>{framed(f'<thead><tr>{columns}</tr></thead><tbody>{lines}</tbody>', caption)}"


def _duplicates(found: Mapping[str, Any]) -> str:
    count = int(found.get("count", 0))
    if not count:
        return "<h3>Duplicates across splits</h3><p>None were found.</p>"
    told = f"{count} rows have a content that also lies in another split, so figures may be too good. Some of them: "
    return f"<h3>Duplicates across splits</h3><p>{escape(told)}{_ids(found.get('ids', ()))}</p>"


def _left_out(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    lines: list[list[Cell]] = [[short(name), count] for name, count in list(left_out.items())[:MAX_CLASSES]]
    return f"<h3>Classes left out</h3>{table(('class', 'labelled rows'), lines, 'Too few examples, or not asked for')}"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(short(str(note), 300))}</li>" for note in notes[:MAX_NOTES])
    return f"<h3>Notes</h3><ul>{items}</ul>"
