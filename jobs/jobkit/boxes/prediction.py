"""Finds boxes in pictures with a trained detector; the answers are Vertex's.

Format: gs://google-cloud-aiplatform/schema/predict/prediction/image_object_detection_1.0.0.yaml: `bboxes` are
[xMin, xMax, yMin, yMax] in parts of the sides. Needs torch.
"""

import numpy as np
import torch

from jobkit.batch_files import BatchOutput, Instance, instances
from jobkit.boxes.decoding import Found, decode
from jobkit.boxes.features import BoxFeatures
from jobkit.boxes.model import BoxModel
from jobkit.boxes.network import BoxNetwork
from jobkit.errors import BadConfiguration
from jobkit.image.batches import BATCH_SIZE, Pixels, batches
from jobkit.image.files import BadImageError
from jobkit.progress import Progress
from jobkit.storage import Storage

PIXELS_A_BATCH = BATCH_SIZE * 256 * 256  # larger pictures come in smaller batches, so that memory stays flat


class BoxDetector:
    """A detector ready to be used, on a GPU where there is one."""

    def __init__(self, model: BoxModel) -> None:
        self.model = model
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._features = BoxFeatures()
        self._network = BoxNetwork(model.recipe.channels, len(model.labels), model.recipe.width)
        try:
            self._network.load_state_dict({name: torch.tensor(value) for name, value in model.weights.items()})
        except RuntimeError as error:
            raise BadConfiguration("The model's numbers do not fit its own description.") from error
        self._network.to(self.device).eval()

    def found(self, pixels: Pixels, threshold: float, most: int) -> list[Found]:
        """The boxes of each picture; pixels (n, side, side, 3)."""
        if not len(pixels):
            return []
        maps = [torch.from_numpy(values).to(self.device) for values in self._features.maps(pixels)]
        with torch.inference_mode():
            logits, distances = self._network(maps)
            chances = torch.sigmoid(logits).float().cpu().numpy()
            edges = distances.float().cpu().numpy()
        exponent = self.model.exponent
        return [decode(chances[i], edges[i], threshold, most, exponent) for i in range(len(pixels))]


def as_prediction(found: Found, labels: tuple[str, ...]) -> dict[str, object]:
    """Vertex's prediction of a picture, the surest box first."""
    left, top, right, bottom = found.corners.T
    return {
        "ids": [str(number + 1) for number in found.classes.tolist()],
        "displayNames": [labels[number] for number in found.classes.tolist()],
        "bboxes": np.round(np.stack([left, right, top, bottom], axis=1), 7).tolist(),
        "confidences": np.round(found.scores, 6).tolist(),
    }


def predict(
    storage: Storage, model: BoxModel, instances_uri: str, output_uri: str, threshold: float, most: int
) -> tuple[int, int]:
    """Writes all shards; returns how many pictures were predicted and how many failed."""
    detector = BoxDetector(model)
    side = model.recipe.side_px
    progress = Progress("Pictures predicted")

    def read(instance: Instance) -> bytes:
        try:
            return storage.read_bytes(instance.uri)
        except BadConfiguration as error:  # no such object: this picture fails, the others go on
            raise BadImageError(error.sentence) from error

    size = max(1, min(BATCH_SIZE, PIXELS_A_BATCH // side**2))
    with BatchOutput(storage, output_uri) as output:
        for batch in batches(read, instances(storage.read_lines(instances_uri)), side, size):
            for instance, found in zip(batch.items, detector.found(batch.pixels, threshold, most), strict=True):
                output.answer(instance, as_prediction(found, model.labels))
            for instance, reason in batch.failures:
                output.failure(instance, reason)
            progress.step(len(batch.items) + len(batch.failures))
    progress.finish()
    return output.predicted, output.failed
