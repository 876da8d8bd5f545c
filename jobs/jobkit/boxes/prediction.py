"""Finds boxes in pictures with a trained detector; the answers are Vertex's.

Format: gs://google-cloud-aiplatform/schema/predict/prediction/image_object_detection_1.0.0.yaml: `bboxes` are
[xMin, xMax, yMin, yMax] in parts of the sides. Needs torch.
"""

from typing import Protocol

import numpy as np
import torch

from jobkit.batch_files import BatchOutput, Instance, instances
from jobkit.boxes.decoding import Found, decode
from jobkit.boxes.features import BoxFeatures
from jobkit.boxes.model import BoxModel
from jobkit.boxes.network import BoxNetwork
from jobkit.errors import BadConfiguration
from jobkit.image.batches import BATCH_SIZE, Pixels, batches, stored
from jobkit.image.pretrained import require_libraries
from jobkit.progress import Progress
from jobkit.storage import Storage

PIXELS_A_BATCH = BATCH_SIZE * 256 * 256  # larger pictures come in smaller batches, so that memory stays flat


class Finder(Protocol):
    """A network that finds boxes."""

    device: torch.device

    def found(self, pixels: Pixels, threshold: float, most: int) -> list[Found]:
        """The boxes of each of at least one picture; pixels (n, side, side, 3)."""


class BoxDetector:
    """A detector ready to be used, on a GPU where there is one."""

    def __init__(self, model: BoxModel) -> None:
        self.model = model
        self._finder = _finder(model)
        self.device = self._finder.device

    def found(self, pixels: Pixels, threshold: float, most: int) -> list[Found]:
        """The boxes of each picture; pixels (n, side, side, 3)."""
        return self._finder.found(pixels, threshold, most) if len(pixels) else []


def _finder(model: BoxModel) -> Finder:
    if model.folder is None:
        return CentreFinder(model)
    require_libraries(f"A detector of {model.recipe.backbone}")
    from jobkit.boxes.queries import QueryFinder, QueryNetwork  # transformers takes seconds to load

    return QueryFinder(QueryNetwork.load(model.folder), model.exponent)


class CentreFinder:
    """The head that finds centres, on a frozen network's maps."""

    def __init__(self, model: BoxModel) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._exponent = model.exponent
        self._features = BoxFeatures()
        self._network = BoxNetwork(model.recipe.channels, len(model.labels), model.recipe.width)
        try:
            self._network.load_state_dict({name: torch.tensor(value) for name, value in model.weights.items()})
        except RuntimeError as error:
            raise BadConfiguration("The model's numbers do not fit its own description.") from error
        self._network.to(self.device).eval()

    def found(self, pixels: Pixels, threshold: float, most: int) -> list[Found]:
        """See Finder."""
        maps = [torch.from_numpy(values).to(self.device) for values in self._features.maps(pixels)]
        with torch.inference_mode():
            logits, distances = self._network(maps)
            chances = torch.sigmoid(logits).float().cpu().numpy()
            edges = distances.float().cpu().numpy()
        return [decode(chances[i], edges[i], threshold, most, self._exponent) for i in range(len(pixels))]


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
        return stored(storage, instance.uri)

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
