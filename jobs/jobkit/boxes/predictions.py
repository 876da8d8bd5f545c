"""Boxes of a batch prediction's output, in pixels of the picture as it was labelled.

Vertex's boxes are [xMin, xMax, yMin, yMax] in parts of the sides (not x, y, x, y):
gs://google-cloud-aiplatform/schema/predict/prediction/image_object_detection_1.0.0.yaml
"""

import math

from jobkit.batch_files import column, confidence_of, number_of, text_of
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
        prediction = self._prediction(uri)
        if prediction is None:
            return None
        columns = [column(prediction, key) for key in ("displayNames", "bboxes", "confidences")]
        lengths = [len(values) for values in columns]
        self.malformed += max(lengths) - min(lengths)
        names, corners, scores = [], [], []
        for name, box, confidence in zip(*columns, strict=False):
            edges, sure = _edges(box, width, height), confidence_of(confidence)
            if edges is None or sure is None:
                self.malformed += 1
                continue
            names.append(self._find(text_of(name)))
            corners.append(edges)
            scores.append(sure)
        return Boxes.of(corners, names, scores)


def _edges(box: object, width: float, height: float) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom in pixels, inside the picture; None for what has no area there."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    edges = [number_of(edge) for edge in box]
    x_min, x_max, y_min, y_max = (math.nan if edge is None else min(max(edge, 0.0), 1.0) for edge in edges)
    if not (x_min < x_max and y_min < y_max):
        return None
    return x_min * width, y_min * height, x_max * width, y_max * height
