"""Serves a model of named entities on Vertex's predict and health routes: `python -m inference.ner.serve`.

Predictions are in Vertex's text extraction format: offsets in code points as texts, both ends inclusive.
"""

import sys
from collections.abc import Sequence

from jobkit.ner.inference import load_model
from jobkit.ner.spans import Entity
from jobkit.serving import Prediction, Predictor, over_texts, serve
from jobkit.storage import Storage


def load(storage: Storage, folder: str) -> Predictor:
    """The model at a gs:// folder."""
    model = load_model(storage, folder)
    numbers = {name: str(number) for number, name in enumerate(model.classes)}
    return over_texts(lambda texts: [_prediction(model.find(text), numbers) for text in texts])


def _prediction(found: Sequence[Entity], numbers: dict[str, str]) -> Prediction:
    return {
        "ids": [numbers[entity.name] for entity in found],
        "displayNames": [entity.name for entity in found],
        "textSegmentStartOffsets": [str(entity.start) for entity in found],
        "textSegmentEndOffsets": [str(entity.end - 1) for entity in found],
        "confidences": [round(entity.confidence, 6) for entity in found],
    }


if __name__ == "__main__":
    sys.exit(serve(load))
