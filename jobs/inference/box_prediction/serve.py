"""Serves a detector of boxes on Vertex's predict and health routes: `python -m inference.box_prediction.serve`.

Predictions are those of the batch job of the same image: `bboxes` are [xMin, xMax, yMin, yMax] in parts of the sides.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the batch job, before anything loads OpenMP

import sys

from inference.box_prediction.main import OPTIONAL
from jobkit.boxes.model import load_model
from jobkit.image.batches import BATCH_SIZE, Pixels
from jobkit.serving import Prediction, Predictor, Request, serve
from jobkit.serving_images import Cut, ImageReader, predictions
from jobkit.storage import Storage

USUAL = Cut(float(OPTIONAL["confidence-threshold"]), int(OPTIONAL["max-predictions"]))


def load(storage: Storage, folder: str) -> Predictor:
    """The model at a gs:// folder."""
    from jobkit.boxes.prediction import PIXELS_A_BATCH, BoxDetector, as_prediction  # torch takes seconds to load

    detector = BoxDetector(load_model(storage, folder))
    reader = ImageReader.from_environment(storage)
    labels, side_px = detector.model.labels, detector.model.recipe.side_px
    size = max(1, min(BATCH_SIZE, PIXELS_A_BATCH // side_px**2))

    def predict(request: Request) -> list[Prediction]:
        cut = Cut.of(request.parameters, USUAL)

        def of(pixels: Pixels) -> list[Prediction]:
            return [as_prediction(found, labels) for found in detector.found(pixels, cut.threshold, cut.most)]

        return predictions(reader, request, side_px, of, size)

    return predict


if __name__ == "__main__":
    sys.exit(serve(load))
