"""Boxes of a batch prediction's output, in pixels of the picture as it was labelled.

Vertex's boxes are [xMin, xMax, yMin, yMax] in parts of the sides (not x, y, x, y):
gs://google-cloud-aiplatform/schema/predict/prediction/image_object_detection_1.0.0.yaml
"""

import json
import math
from collections.abc import Sequence

from jobkit.boxes.geometry import Boxes
from jobkit.class_names import ClassNames
from jobkit.image.predictions import ImagePredictions


class BoxPredictions(ImagePredictions):
    """Boxes by image uri; shards, errors and rows that come twice are handled as for classification."""

    def __init__(self, names: ClassNames | None = None) -> None:
        super().__init__(names)
        self.malformed = 0  # boxes that are none, in predictions that were asked for

    def boxes(self, uri: str, width: float, height: float) -> Boxes | None:
        """What the model found in a picture of width x height pixels; None without a prediction."""
        found = self._table.execute("SELECT prediction FROM answers WHERE uri = ?", (uri,)).fetchone()
        if found is None:
            return None
        prediction = json.loads(found[0])
        columns = (prediction.get(name) or () for name in ("displayNames", "bboxes", "confidences"))
        names, corners, scores = [], [], []
        for name, box, confidence in zip(*columns, strict=False):
            edges = _edges(box, width, height)
            if edges is None or not _is_number(confidence):
                self.malformed += 1
                continue
            names.append(self._find(str(name)))
            corners.append(edges)
            scores.append(min(max(float(confidence), 0.0), 1.0))
        return Boxes.of(corners, names, scores)


def _edges(box: object, width: float, height: float) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom in pixels, inside the picture; None for what has no area there."""
    if not isinstance(box, Sequence) or len(box) != 4 or not all(_is_number(edge) for edge in box):
        return None
    x_min, x_max, y_min, y_max = (min(max(float(edge), 0.0), 1.0) for edge in box)
    if x_min >= x_max or y_min >= y_max:
        return None
    return x_min * width, y_min * height, x_max * width, y_max * height


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
