"""Serves a text classifier on Vertex's predict and health routes: `python -m inference.text_classification.serve`.

Predictions are in Vertex's classification format: classes with their confidence, the surest first.
"""

import sys

import numpy as np
import numpy.typing as npt

from jobkit.serving import Prediction, Predictor, over_texts, serve
from jobkit.storage import Storage
from jobkit.text.inference import load_model
from jobkit.text.model import TextModel

MAX_CLASSES = 100


def load(storage: Storage, folder: str) -> Predictor:
    """The model at a gs:// folder."""
    model = load_model(storage, folder)
    return over_texts(lambda texts: [_prediction(model, scores) for scores in model.scores(texts)] if texts else [])


def _prediction(model: TextModel, scores: npt.NDArray[np.float64]) -> Prediction:
    order = np.argsort(-scores, kind="stable")[:MAX_CLASSES].tolist()
    return {
        "ids": [str(index) for index in order],
        "displayNames": [model.classes[index] for index in order],
        "confidences": [round(float(scores[index]), 6) for index in order],
    }


if __name__ == "__main__":
    sys.exit(serve(load))
