"""Runs made of numbers: rows with labels and confidences, put through the jobs' own output, and the page they give."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from typing import Any

from jobkit.classification_output import ClassificationOutput
from jobkit.dataset_report import ClassEntry
from jobkit.manifest import ManifestRow
from jobkit.report.classification import ClassificationReport, classification_page, statistics_json

VOID = {"meta", "img", "br", "line", "circle", "polyline"}
Row = tuple[ManifestRow, Mapping[str, float] | None, tuple[str, ...]]


def entries(names: Iterable[str], kind: str = "radio") -> tuple[ClassEntry, ...]:
    return tuple(ClassEntry(name, f"option-{index}", name, "question", kind) for index, name in enumerate(names))


def single_rows(names: list[str], count: int, split: str = "test", seed: int = 1, text: str = "") -> list[Row]:
    """Rows with one label; confidences have three decimals, so that they lie on the curve's grid."""
    dice = random.Random(seed)
    made: list[Row] = []
    for index in range(count):
        truth, said = dice.choice(names), dice.choice(names)
        said = truth if dice.random() < 0.6 else said
        row = ManifestRow(f"{split}-{index}", None, text or f"text {index}", split, (truth,), True)
        made.append((row, {said: round(dice.uniform(0.1, 1), 3)}, (said,)))
    return made


def several_rows(names: list[str], count: int, split: str = "test", seed: int = 2) -> list[Row]:
    """Rows with any number of labels, every class with a confidence; said is what has at least 0.5."""
    dice = random.Random(seed)
    made: list[Row] = []
    for index in range(count):
        truth = tuple(name for name in names if dice.random() < 0.3)
        scores = {name: round(min(1, max(0, dice.gauss(0.62 if name in truth else 0.35, 0.2))), 3) for name in names}
        row = ManifestRow(f"{split}-{index}", None, f"text {index}", split, truth, True)
        made.append((row, scores, tuple(name for name in names if scores[name] >= 0.5)))
    return made


def output_of(names: Iterable[str], rows: Iterable[Row], *, single: bool = True) -> ClassificationOutput:
    output = ClassificationOutput(entries(names, "radio" if single else "checklist"), "run", single=single)
    for row, answers, decided in rows:
        for _ in output.rows(row, answers, decided):
            pass
    return output


def report_of(output: ClassificationOutput, **more: Any) -> ClassificationReport:
    given = {"dataset": {"rows": {"seen": 1, "labelled": 1}, "classes": []}, "title": "Model run", **more}
    return ClassificationReport(
        single=output.single,
        splits=output.evaluation.metrics(),
        statistics=output.statistics,
        galleries=output.galleries,
        rows=output.rows_by_split,
        **given,
    )


def page_of(report: ClassificationReport) -> str:
    return classification_page(report, statistics_json(report))


class Page(HTMLParser):
    """The page as a browser's parser sees it: elements with attributes, and the text of each; fails on bad nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "\n".join(data for _, data in self.texts)
