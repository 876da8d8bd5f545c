"""How cost grows: the same work at several sizes, for benchmarks/scaling.md.

PYTHONPATH=functions:jobs:. .venv/bin/python -m benchmarks.curves
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import reconcile
from benchmarks.boxes import ours, scenes
from benchmarks.figures import number, peak_mb, timed
from benchmarks.texts import entities, export_line

ROWS = (10_000, 30_000, 100_000)
ACTIVE = (1_000, 3_000, 10_000)
IMAGES = (500, 1_500, 5_000)


def main() -> None:
    """One table each."""
    print("| rows of texts with five entities | s of processor | rows/s | peak MB |\n|---|---|---|---|")
    for rows in ROWS:
        with tempfile.TemporaryDirectory() as name:
            export = Path(name) / "export.ndjson"
            with export.open("w", encoding="utf-8") as file:
                file.writelines(export_line(row) + "\n" for row in range(rows))
            with export.open("rb") as lines, timed() as took:
                entities(Path(name), lines)
        print(f"| {rows:,} | {number(took.cpu_s)} | {number(rows / took.cpu_s)} | {number(peak_mb())} |", flush=True)
    print("\n| active runs, 10 of them changed | s | calls | of them pages |\n|---|---|---|---|")
    for runs in ACTIVE:
        found = reconcile.measure(runs)
        print(f"| {runs:,} | {found['seconds']} | {found['calls']} | {found['pages']} |", flush=True)
    print("\n| images of 20 predicted boxes | s of processor | images/s |\n|---|---|---|")
    for images in IMAGES:
        made = scenes(images)
        with timed() as took:
            ours(made)
        print(f"| {images:,} | {number(took.cpu_s)} | {number(images / took.cpu_s)} |", flush=True)


if __name__ == "__main__":
    main()
