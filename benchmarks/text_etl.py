"""How fast and how small the ETL of entities is: an export of 100,000 rows from disk to training file and manifest.

    PYTHONPATH=jobs .venv/bin/python benchmarks/text_etl.py [ROWS]

Everything that the job does with a row, but for the network: lines parsed, texts checked, spans checked against their
tokens, classes counted, files written. Target: 10,000 rows a second of CPU and at most 200 MB (VmHWM, with all
imports).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobkit.export import parse_line
from jobkit.fetch import FetchRules, in_order
from jobkit.ner.dataset import EntityDataset, EntityRules
from jobkit.ner.etl import announced  # noqa: F401 - what the job imports counts as memory
from jobkit.ontology import Tool
from jobkit.storage import LineWriter, Storage
from jobkit.text.contents import MAX_BYTES, TextReader

RUN = "run"
TOOLS = (Tool("person", "Person", "named-entity"), Tool("company", "Company", "named-entity"))
WORDS = ("Ada Berg", "Bo Lind", "Cleo Sand", "Dan Holm", "Norvik Foods", "Halden Labs", "Tessera & Sons")


class DiskStorage(Storage):
    """Writes objects into a folder instead of a bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def line_writer(self, uri: str, content_type: str = "") -> Iterator[LineWriter]:
        with (self._folder / uri.rpartition("/")[2]).open("wb") as file:
            yield LineWriter(file)

    def write_text(self, uri: str, text: str, content_type: str = "") -> None:
        (self._folder / uri.rpartition("/")[2]).write_text(text, encoding="utf-8")


def export_line(number: int) -> str:
    """About 1.9 KB with five entities, one row in ten with an emoji, as in the measurement of the 2022 reference."""
    text = "🚀 " if number % 10 == 0 else ""
    objects: list[dict[str, Any]] = []
    for index in range(5):
        token = f"{WORDS[(number + index) % len(WORDS)]} {number}"
        start = len(text)
        text += f"{token} wrote that the order of last week had not arrived. "
        objects.append(
            {
                "feature_id": f"clfeature{number:08d}{index:08d}",
                "feature_schema_id": ("person", "company")[index % 2],
                "name": ("Person", "Company")[index % 2],
                "value": ("person", "company")[index % 2],
                "annotation_kind": "TextEntity",
                "classifications": [],
                "location": {"start": start, "end": start + len(token) - 1, "token": token},
            }
        )
    split = {8: "VALIDATION", 9: "TEST"}.get(number % 10, "TRAINING")
    annotations = {"objects": objects, "classifications": [], "relationships": []}
    label = {"label_kind": "Default", "version": "1.0.0", "id": f"label{number}", "annotations": annotations}
    run = {"name": "run 1", "run_data_row_id": f"r{number}", "split": split, "labels": [label], "predictions": []}
    body = {
        "data_row": {
            "id": f"row{number}",
            "external_id": f"{number}.txt",
            "global_key": f"k{number}",
            "row_data": text,
        },
        "media_attributes": {"asset_type": "text", "mime_type": "text/plain"},
        "attachments": [],
        "metadata_fields": [],
        "experiments": {"model": {"name": "model", "runs": {RUN: run}}},
    }
    return json.dumps(body)


def measure(rows: int) -> tuple[float, float]:
    """(seconds on the clock, seconds of CPU) that the rows take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export = folder / "export.ndjson"
        with export.open("w", encoding="utf-8") as file:
            for number in range(rows):
                file.write(export_line(number) + "\n")
        storage = DiskStorage(folder)
        reader = TextReader(storage, FetchRules(max_bytes=MAX_BYTES), frozenset())
        began, began_cpu = time.perf_counter(), time.process_time()
        with export.open("rb") as lines, EntityDataset(TOOLS, TOOLS, EntityRules("majority", 2, strict=False)) as data:
            parsed = (parse_line(line, RUN) for line in lines)
            for row, content in in_order(reader.read, parsed, reader.quick):
                data.add(row, content.text, row.split or "")
            written = data.write(storage, "gs://bucket/folder")
        took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        assert written.report.labelled == rows
        assert not data.skipped_entities.counts
        return took, cpu


def main() -> None:
    """Prints one line of figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    took, cpu = measure(rows)
    peak = int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1024
    print(f"{rows} rows in {took:.1f} s, {cpu:.1f} s of CPU: {rows / cpu:,.0f} rows per CPU second; peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
