"""How fast and how small the ETL of texts is: an export of 100,000 and 1,000,000 rows to training file and manifest.

    .venv/bin/python -m benchmarks texts

Everything that the job does with a row, but for the network: lines parsed, texts checked, spans checked against their
tokens, classes counted, files written. The limit beside it is a bare loop that parses each line and writes the training
line, with no rule at all.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import Line, peak_mb, timed
from jobkit.choice_dataset import ChoiceDataset, ChoiceRules
from jobkit.dataset_files import Written
from jobkit.export import parse_line
from jobkit.fetch import FetchRules
from jobkit.ner.dataset import EntityDataset, EntityRules
from jobkit.ner.etl import announced  # noqa: F401 - what the job imports counts as memory
from jobkit.ontology import RADIO, Option, Question, Tool
from jobkit.storage import LineWriter, Storage
from jobkit.text.contents import MAX_BYTES, TextReader
from jobkit.text.etl import SplitFinder, collect, single_line

RUN = "run"
SMALL, TIMES = 100_000, 10  # the small export is read so often for the large one
GOAL_ROWS_S, GOAL_MB = 20_000.0, 200.0
TOOLS = (Tool("person", "Person", "named-entity"), Tool("company", "Company", "named-entity"))
OPTIONS = tuple(Option(f"option-{name}", name, name) for name in ("order", "invoice", "delivery"))
QUESTION = Question("question", "Topic", RADIO, OPTIONS)
SPLITS = SplitFinder(dict, False)
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
    option = OPTIONS[number % len(OPTIONS)]
    answer = {"feature_schema_id": option.feature_schema_id, "name": option.name, "value": option.value}
    topic = {"feature_schema_id": "question", "name": "Topic", "radio_answer": {**answer, "classifications": []}}
    annotations = {"objects": objects, "classifications": [topic], "relationships": []}
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


def _lines(export: Path, times: int) -> Iterator[bytes]:
    with export.open("rb") as lines:
        yield from lines
    for time in range(1, times):
        other = b'"id": "row%d-' % time  # a data row that comes again counts once
        with export.open("rb") as lines:
            yield from (line.replace(b'"id": "row', other, 1) for line in lines)


def entities(folder: Path, lines: Iterable[bytes]) -> Written:
    """The ETL of entities over the export's lines."""
    storage = DiskStorage(folder)
    reader = TextReader(storage, FetchRules(max_bytes=MAX_BYTES), frozenset())
    with EntityDataset(TOOLS, TOOLS, EntityRules("majority", 2, strict=False)) as data:
        collect((parse_line(line, RUN) for line in lines), data, reader, SPLITS)
        written = data.write(storage, "gs://bucket/folder")
        assert not data.skipped_entities.counts
    return written


def classes(folder: Path, lines: Iterable[bytes]) -> Written:
    """The ETL of one class a text over the export's lines."""
    storage = DiskStorage(folder)
    reader = TextReader(storage, FetchRules(max_bytes=MAX_BYTES), frozenset())
    with ChoiceDataset(QUESTION, QUESTION.options, ChoiceRules("majority", 2, strict=False, single=True)) as data:
        collect((parse_line(line, RUN) for line in lines), data, reader, SPLITS)
        return data.write(storage, "gs://bucket/folder", single_line)


def bare(folder: Path, lines: Iterable[bytes]) -> None:
    """No rule at all: the line parsed, the training line written."""
    with (folder / "bare.jsonl").open("wb") as file:
        for line in lines:
            body = json.loads(line)
            run = body["experiments"]["model"]["runs"][RUN]
            spans = [one["location"] for one in run["labels"][0]["annotations"]["objects"]]
            text = {"textContent": body["data_row"]["row_data"], "textSegmentAnnotations": spans, "split": run["split"]}
            file.write(json.dumps(text, ensure_ascii=False).encode() + b"\n")


def measure() -> list[Line]:
    """Rows a second of processor, both sizes; memory with all imports of the job."""
    with tempfile.TemporaryDirectory() as name:
        folder, export = Path(name), Path(name) / "export.ndjson"
        with export.open("w", encoding="utf-8") as file:
            file.writelines(export_line(number) + "\n" for number in range(SMALL))
        with timed() as loop:
            bare(folder, _lines(export, 1))
        limit = SMALL / loop.cpu_s
        lines = []
        for what, etl, times in (
            ("ETL of entities, 100,000 rows", entities, 1),
            ("ETL of texts with one class, 100,000 rows", classes, 1),
            ("ETL of entities, 1,000,000 rows", entities, TIMES),
        ):
            rows = SMALL * times
            with timed() as took:
                written = etl(folder, _lines(export, times))
            assert written.report.labelled == rows
            detail = {"wall_s": took.wall_s, "cpu_s": took.cpu_s}
            against = "bare loop without rules"
            lines += [
                Line(what, rows / took.cpu_s, "rows/s", GOAL_ROWS_S, None, against, limit, detail=detail),
                Line("its peak of memory", peak_mb(), "MB", at_most=GOAL_MB),
            ]
    return lines
