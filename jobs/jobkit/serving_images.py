"""Pictures in prediction requests: read from the request itself or from the bucket, bounded, all bad ones told."""

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jobkit.errors import BadConfiguration, PermissionRefused
from jobkit.image.batches import BATCH_SIZE, Pixels, batches
from jobkit.image.files import MAX_TRAINING_BYTES, BadImageError
from jobkit.serving import FOLDERS_VARIABLE, BadRequest, Prediction, Request, refuse_if_any
from jobkit.storage import Storage

MOST_INSTANCES = 128  # of one request: a gs:// address is short, the picture behind it is not
FORMS = '{"content": "<base64 or gs://...>"}, {"image_bytes": {"b64": "<base64>"}} or a gs:// address'
_THRESHOLD, _MOST = "confidenceThreshold", "maxPredictions"


@dataclass(frozen=True)
class Cut:
    """What a prediction leaves out: everything under the threshold, and all but the surest."""

    threshold: float
    most: int

    @classmethod
    def of(cls, parameters: Mapping[str, object], otherwise: "Cut") -> "Cut":
        """`confidenceThreshold` and `maxPredictions` as in Vertex's batch prediction. Raises BadRequest with all
        problems."""
        threshold, most = parameters.get(_THRESHOLD, otherwise.threshold), parameters.get(_MOST, otherwise.most)
        problems = [f"unknown parameter {name!r}" for name in sorted(parameters.keys() - {_THRESHOLD, _MOST})]
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            problems.append(f"{_THRESHOLD} must be a number from 0 to 1")
        if isinstance(most, bool) or not isinstance(most, int | float) or most < 1 or most != int(most):
            problems.append(f"{_MOST} must be a whole number of at least 1")
        refuse_if_any(problems)
        assert isinstance(threshold, int | float) and isinstance(most, int | float)
        return cls(float(threshold), int(most))


class ImageReader:
    """The bytes of instances. Only objects in the folders that the deployment names are read."""

    def __init__(self, storage: Storage, folders: Sequence[str]) -> None:
        self._storage = storage
        self._folders = tuple(f"{folder.rstrip('/')}/" for folder in folders)

    @classmethod
    def from_environment(cls, storage: Storage) -> "ImageReader":
        """PREDICTION_FOLDERS names the folders, comma separated; none are open where it is not set."""
        named = (folder.strip() for folder in os.environ.get(FOLDERS_VARIABLE, "").split(","))
        return cls(storage, [folder for folder in named if folder])

    def read(self, instance: object) -> bytes:
        """The picture's bytes, in any of FORMS. Raises BadImageError."""
        content = instance
        if isinstance(instance, dict):
            content = instance.get("content")
            held = instance.get("image_bytes", instance)
            if content is None and isinstance(held, dict):
                content = held.get("b64")
        if not isinstance(content, str) or (content is instance and not content.startswith("gs://")):
            raise BadImageError(f"must be {FORMS}")
        return self._object(content) if content.startswith("gs://") else _decoded(content)

    def _object(self, uri: str) -> bytes:
        if not uri.startswith(self._folders):
            raise BadImageError("its address is in none of the folders that this deployment reads")
        try:
            if self._storage.size(uri) > MAX_TRAINING_BYTES:
                raise BadImageError(f"the object is larger than {MAX_TRAINING_BYTES // 10**6} MB")
            return self._storage.read_bytes(uri)
        except (BadConfiguration, PermissionRefused) as error:
            raise BadImageError(error.sentence) from error


def predictions(
    reader: ImageReader,
    request: Request,
    side_px: int,
    predict: Callable[[Pixels], Sequence[Prediction]],
    size: int = BATCH_SIZE,
) -> list[Prediction]:
    """One prediction an instance, `size` pictures at a time, read and squeezed as in batch prediction.

    Raises BadRequest that names every instance which is no picture.
    """
    if len(request.instances) > MOST_INSTANCES:
        raise BadRequest(f"at most {MOST_INSTANCES} instances a request, not {len(request.instances)}")
    found: list[Prediction] = []
    problems: list[str] = []
    numbered = enumerate(request.instances)
    for batch in batches(lambda item: reader.read(item[1]), numbered, side_px, size):
        problems += [f"instance {number}: {reason}" for (number, _), reason in batch.failures]
        if not problems:
            found += predict(batch.pixels)
    refuse_if_any(problems)
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImageError("its content is neither base64 nor a gs:// address") from error
