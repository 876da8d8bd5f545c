"""What inference of boxes leaves behind: predictions, metrics, report, and rows in Labelbox."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import labelbox
import numpy as np

from jobkit.boxes.evaluation import DEFAULT_CONFIDENCE, BoxEvaluation
from jobkit.boxes.geometry import NONE, Boxes
from jobkit.boxes.matching import LOWEST, Matched
from jobkit.boxes.report import HIT, MAX_DRAWN, MISSED, WRONG, ShownBox, ShownImage, box_page
from jobkit.boxes.rows import metric_rows, prediction_rows
from jobkit.conclusion import NOTHING, Findings, Surroundings, conclude
from jobkit.dataset_report import ClassEntry
from jobkit.ending import Result
from jobkit.labelbox_rows import Row
from jobkit.manifest import ManifestRow
from jobkit.report.answer_page import AnswerReport, shown_split
from jobkit.report.answers import Answer, AnswerStatistics, judged_answers
from jobkit.report.gallery import Galleries, Pictures
from jobkit.report.outcomes import Outcomes
from jobkit.splits import TEST
from jobkit.storage import Storage

_ORDER = (MISSED, WRONG, HIT)
_SHOWN = ("map_50", "map_50_95", "precision", "recall", "f1")


class BoxOutput:
    """Turns predictions into Labelbox's rows, and counts as they pass.

    Evaluation uses every prediction; `upload_min_confidence` only says which are worth uploading. A box is a hit that
    overlaps a labelled one by at least `iou`.
    """

    def __init__(
        self,
        classes: tuple[ClassEntry, ...],
        model_run_id: str,
        upload_min_confidence: float,
        iou: float = LOWEST,
    ) -> None:
        self._iou = iou
        self._classes = {entry.display_name: entry for entry in classes}
        self._features = {entry.display_name: entry.name for entry in classes}
        self._minimum = upload_min_confidence
        self.model_run_id = model_run_id
        self.evaluations = defaultdict[str, BoxEvaluation](lambda: BoxEvaluation(self._classes, iou))
        self.statistics = defaultdict[str, AnswerStatistics](lambda: AnswerStatistics(least=DEFAULT_CONFIDENCE))
        self.galleries = Galleries[ShownImage]()
        self.outcomes = Outcomes()
        self.rows_by_split: dict[str, list[int]] = {}  # [labelled, without a label]
        self.counts = dict.fromkeys(
            (
                *("rows", "rows_without_prediction", "predictions", "metric_rows", "metric_rows_cut"),
                *("below_upload_min_confidence", "unknown_class"),
            ),
            0,
        )

    def rows(self, row: ManifestRow, predicted: Boxes | None) -> Iterator[Row]:
        """The Labelbox rows of one data row; `predicted` is None where there is no prediction."""
        self.counts["rows"] += 1
        self.counts["rows_without_prediction"] += predicted is None
        known = self._known(predicted) if predicted is not None else None
        if known is not None:
            self.counts["below_upload_min_confidence"] += int((known.scores < self._minimum).sum())
            for line in prediction_rows(self.model_run_id, row.data_row_id, known, self._classes, self._minimum):
                self.counts["predictions"] += 1
                yield line
        self.rows_by_split.setdefault(row.split, [0, 0])[not row.labelled] += 1
        if not row.labelled:
            self.outcomes.add_unlabelled(row)
        else:
            labelled = labelled_boxes(row)
            pairs = self.evaluations[row.split].add(labelled, known)
            self._count(row, labelled, known or NONE, pairs)
            lines, cut = metric_rows(row.data_row_id, pairs, self._features, self._iou)
            self.counts["metric_rows"] += len(lines)
            self.counts["metric_rows_cut"] += cut
            yield from lines

    def _count(self, row: ManifestRow, labelled: Boxes, predicted: Boxes, pairs: Mapping[str, Matched]) -> None:
        """Notes hits and misses for intervals, curves, lists of pictures and later comparisons."""
        answers = [*_answers(pairs)]
        expected = {name: int(pair.labelled[0]) for name, pair in pairs.items()}
        truth = sorted(zip(labelled.names, labelled.corners.tolist(), strict=True))
        self.outcomes.add(row, truth, *self.statistics[row.split].add(answers, expected))
        judged = judged_answers(answers, sum(expected.values()), DEFAULT_CONFIDENCE)
        self.galleries.add(row, judged, lambda: _shown_image(row, labelled, predicted, pairs))

    def _known(self, predicted: Boxes) -> Boxes:
        """The boxes of classes that the data set has; those of a class that left it are counted, not fatal."""
        chosen = np.array([i for i, name in enumerate(predicted.names) if name in self._classes], dtype=np.intp)
        self.counts["unknown_class"] += len(predicted) - len(chosen)
        return predicted.select(chosen)

    def metrics(self) -> dict[str, Any]:
        """The figures of each split that has a labelled row."""
        return {split: evaluation.metrics() for split, evaluation in sorted(self.evaluations.items())}


def _answers(pairs: Mapping[str, Matched]) -> Iterator[Answer]:
    for name, pair in pairs.items():
        for score, hit, ignored in zip(pair.scores, pair.hits, pair.ignored, strict=True):
            if not ignored & pair.at:
                yield Answer(name, score, bool(hit & pair.at))


def labelled_boxes(row: ManifestRow) -> Boxes:
    """The boxes of a row of the manifest."""
    boxes = (row.details or {}).get("boxes", [])
    corners = [(b["left"], b["top"], b["left"] + b["width"], b["top"] + b["height"]) for b in boxes]
    return Boxes.of(corners, [b["name"] for b in boxes])


def _shown_image(row: ManifestRow, labelled: Boxes, predicted: Boxes, pairs: Mapping[str, Matched]) -> ShownImage:
    """A picture with all its boxes of at least the headline's confidence, as many as are drawn: what is missed, then
    what is wrong, the surest first."""
    details = row.details or {}
    boxes = [*_shown(labelled, predicted, pairs)]
    drawn = sorted(boxes, key=lambda box: (_ORDER.index(box.what), -(box.confidence or 0.0)))[:MAX_DRAWN]
    return ShownImage(
        row.content,
        details.get("width", 0),
        details.get("height", 0),
        tuple(drawn),
        Counter(box.what for box in boxes),
    )


def _shown(labelled: Boxes, predicted: Boxes, pairs: Mapping[str, Matched]) -> Iterator[ShownBox]:
    for name, pair in pairs.items():
        true = labelled.corners[[i for i, one in enumerate(labelled.names) if one == name]]
        said = predicted.corners[[i for i, one in enumerate(predicted.names) if one == name]]
        found: set[int] = set()
        for rank, index in enumerate(pair.order):
            if pair.scores[rank] < DEFAULT_CONFIDENCE:
                continue
            hit = pair.partner[rank] >= 0
            found |= {pair.partner[rank]}
            share = pair.shared[rank] if hit else None
            yield ShownBox(HIT if hit else WRONG, name, _corners(said[index]), pair.scores[rank], share)
        for index, corners in enumerate(true):
            if index not in found:
                yield ShownBox(MISSED, name, _corners(corners))


def _corners(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float, float]:
    left, top, right, bottom = values.tolist()
    return left, top, right, bottom


def report_page(
    output: BoxOutput,
    splits: Mapping[str, Any],
    dataset: Mapping[str, Any],
    around: Surroundings,
    pictures: Pictures | None = None,
) -> tuple[Mapping[str, Any], str]:
    """metrics.json's `statistics`, and report.html. `splits` is what output.metrics() gave, `dataset` is
    dataset_report.json."""
    shown = shown_split(splits)
    report = AnswerReport(
        which="boxes",
        splits=splits,
        statistics=output.statistics,
        dataset=dataset,
        rows=output.rows_by_split,
        told=around.told,
        parameters=around.parameters,
        artifacts=around.artifacts,
        comparison=around.comparison,
        intervals=output.evaluations[shown].intervals() if shown else {},
    )
    return report.to_json(), box_page(around.title, report, output.galleries, pictures)


def finish(
    output: BoxOutput,
    report: Mapping[str, Any],
    notes: Mapping[str, str],
    storage: Storage,
    folder: str,
    sink: str,
    make_client: Callable[[], labelbox.Client],
    *,
    parameters: Mapping[str, str] = NOTHING,
    pictures: Pictures | None = None,
) -> Result:
    """Concludes the job (jobkit.conclusion). `pictures` are for the report, which draws boxes without them, too."""
    splits = output.metrics()
    headline = output.evaluations[TEST].summary() if TEST in output.evaluations else {}

    def page(around: Surroundings) -> tuple[Mapping[str, Any], str]:
        return report_page(output, splits, report, around, pictures)

    found = Findings(output.model_run_id, output.counts, output.outcomes, splits, headline, _SHOWN)
    return conclude(found, report, notes, storage, folder, sink, make_client, parameters=parameters, page=page)
