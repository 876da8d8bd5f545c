"""Serves an image classifier on Vertex's predict and health routes: `python -m inference.image_prediction.serve`.

Predictions are those of the batch job of the same image, in Vertex's classification format.
"""

import sys

from inference.image_prediction.main import OPTIONAL
from jobkit.batch_prediction import prediction
from jobkit.image.batches import Pixels
from jobkit.image.features import FeatureExtractor
from jobkit.image.model import load_model
from jobkit.serving import Prediction, Predictor, Request, serve
from jobkit.serving_images import Cut, ImageReader, predictions
from jobkit.storage import Storage

USUAL = Cut(float(OPTIONAL["confidence-threshold"]), int(OPTIONAL["max-predictions"]))


def load(storage: Storage, folder: str) -> Predictor:
    """The model at a gs:// folder."""
    model = load_model(storage, folder)
    extractor = FeatureExtractor(model.recipe)
    reader = ImageReader.from_environment(storage)

    def predict(request: Request) -> list[Prediction]:
        cut = Cut.of(request.parameters, USUAL)

        def of(pixels: Pixels) -> list[Prediction]:
            confidences = model.head.confidences(extractor.features(pixels))
            return [prediction(model.labels, row.tolist(), cut.threshold, cut.most) for row in confidences]

        return predictions(reader, request, model.recipe.side_px, of)

    return predict


if __name__ == "__main__":
    sys.exit(serve(load))
