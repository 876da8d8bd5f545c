"""Predicts pictures with a saved image classifier, in and out in Vertex's batch prediction files (batch_files.py).

Format: gs://google-cloud-aiplatform/schema/predict/prediction/image_classification_1.0.0.yaml
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jobkit.batch_files import BatchOutput, Instance, instances
from jobkit.image.batches import batches, stored
from jobkit.image.features import FeatureExtractor
from jobkit.image.model import load_model
from jobkit.progress import Progress
from jobkit.storage import Storage


@dataclass(frozen=True)
class Outcome:
    """How many pictures were predicted and how many failed."""

    predicted: int
    failed: int


def prediction(labels: Sequence[str], confidences: Sequence[float], threshold: float, limit: int) -> dict[str, object]:
    """Vertex's prediction of a picture: the classes from the surest down, as threshold and limit let through."""
    order = sorted(range(len(confidences)), key=lambda i: (-confidences[i], i))
    kept = [i for i in order if confidences[i] >= threshold][:limit]
    return {
        "ids": [str(i + 1) for i in kept],
        "displayNames": [labels[i] for i in kept],
        "confidences": [round(float(confidences[i]), 6) for i in kept],
    }


def predict_all(
    storage: Storage, model_uri: str, instances_uri: str, output_uri: str, *, threshold: float, limit: int
) -> Outcome:
    """Writes all shards below `output_uri`: of each picture at most `limit` classes of at least `threshold`."""
    model = load_model(storage, model_uri)
    extractor = FeatureExtractor(model.recipe)
    progress = Progress("Pictures predicted")

    def read(instance: Instance) -> bytes:
        return stored(storage, instance.uri)

    with BatchOutput(storage, output_uri) as output:
        for batch in batches(read, instances(storage.read_lines(instances_uri)), model.recipe.side_px):
            confidences = model.head.confidences(extractor.features(batch.pixels))
            for instance, row in zip(batch.items, confidences, strict=True):
                output.answer(instance, prediction(model.labels, row.tolist(), threshold, limit))
            for instance, reason in batch.failures:
                output.failure(instance, reason)
            progress.step(len(batch.items) + len(batch.failures))
    progress.finish()
    return Outcome(output.predicted, output.failed)
