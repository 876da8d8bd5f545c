"""Predicts pictures with a trained model, in and out in Vertex's batch prediction files.

    python -m train.image_classification.predict --model=gs://B/model/ --instances=gs://B/instances.jsonl \
        --output-uri=gs://B/out/ --confidence-threshold=0.0 --max-predictions=5

In: lines {"content": "gs://...", "mimeType": "image/jpeg"}.
Out: predictions_00001.jsonl, ... and errors_00001.jsonl, ...
Format: gs://google-cloud-aiplatform/schema/predict/prediction/image_classification_1.0.0.yaml
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from jobkit.errors import BadConfiguration, JobError
from jobkit.image_batches import batches
from jobkit.image_features import FeatureExtractor
from jobkit.images import BadImageError
from jobkit.progress import Progress, say
from jobkit.storage import LineWriter, Storage
from train.image_classification.model import ImageClassifier, load_model

SHARD_ROWS = 1000
INVALID_ARGUMENT = 3  # google.rpc.Code


@dataclass(frozen=True)
class Instance:
    """One line of the instances file, kept as it came: the output repeats it."""

    body: dict[str, object]

    @property
    def uri(self) -> str:
        return str(self.body.get("content", ""))


class Shards:
    """Numbered files of at most SHARD_ROWS lines: predictions_00001.jsonl, predictions_00002.jsonl, ..."""

    def __init__(self, storage: Storage, folder_uri: str, kind: str) -> None:
        self._storage = storage
        self._prefix = f"{folder_uri.rstrip('/')}/{kind}_"
        self._stack = ExitStack()
        self._writer: LineWriter | None = None
        self._shard = 0
        self.rows = 0

    def write(self, line: dict[str, object]) -> None:
        if self._writer is None or self._writer.count >= SHARD_ROWS:
            self.close()
            self._shard += 1
            uri = f"{self._prefix}{self._shard:05d}.jsonl"
            self._writer = self._stack.enter_context(self._storage.line_writer(uri))
        self._writer.write(json.dumps(line, ensure_ascii=False))
        self.rows += 1

    def close(self) -> None:
        """Uploads the open shard."""
        self._stack.close()
        self._writer = None


def instances(lines: Iterable[str]) -> Iterator[Instance]:
    """The instances of a file. Raises BadConfiguration that names a line which is none."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
        except ValueError as error:
            raise BadConfiguration(f"Line {number} of the instances file is not JSON.") from error
        if not isinstance(body, dict) or not isinstance(body.get("content"), str):
            raise BadConfiguration(f"Line {number} of the instances file has no content.")
        yield Instance(body)


def prediction(model: ImageClassifier, confidences: Sequence[float], threshold: float, limit: int) -> dict[str, object]:
    """Vertex's prediction of a picture: the classes from the surest down, as threshold and limit let through."""
    order = sorted(range(len(confidences)), key=lambda i: (-confidences[i], i))
    kept = [i for i in order if confidences[i] >= threshold][:limit]
    return {
        "ids": [str(i + 1) for i in kept],
        "displayNames": [model.labels[i] for i in kept],
        "confidences": [round(float(confidences[i]), 6) for i in kept],
    }


def predict(args: argparse.Namespace, storage: Storage) -> tuple[int, int]:
    """Writes all shards; returns how many pictures were predicted and how many failed."""
    model = load_model(storage, args.model)
    extractor = FeatureExtractor(model.recipe)
    good, bad = Shards(storage, args.output_uri, "predictions"), Shards(storage, args.output_uri, "errors")
    progress = Progress("Pictures predicted")

    def read(instance: Instance) -> bytes:
        try:
            return storage.read_bytes(instance.uri)
        except BadConfiguration as error:  # no such object: this picture fails, the others go on
            raise BadImageError(error.sentence) from error

    for batch in batches(read, instances(storage.read_lines(args.instances)), model.recipe.side_px):
        confidences = model.head.confidences(extractor.features(batch.pixels))
        for instance, row in zip(batch.items, confidences, strict=True):
            answer = prediction(model, row.tolist(), args.confidence_threshold, args.max_predictions)
            good.write({"instance": instance.body, "prediction": answer})
        for instance, reason in batch.failures:
            bad.write({"instance": instance.body, "error": {"code": INVALID_ARGUMENT, "message": reason}})
        progress.step(len(batch.items) + len(batch.failures))
    good.close()
    bad.close()
    progress.finish()
    return good.rows, bad.rows


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="folder of the model, gs://.../")
    parser.add_argument("--instances", required=True, help="gs://...jsonl")
    parser.add_argument("--output-uri", required=True, help="folder for the shards, gs://.../")
    parser.add_argument("--confidence-threshold", type=float, default=0.0)
    parser.add_argument("--max-predictions", type=int, default=10)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all lines were read, also where single pictures failed; 1 otherwise."""
    args = arguments(argv)
    try:
        predicted, failed = predict(args, Storage())
    except JobError as error:
        say(error.sentence, severity="ERROR", kind=error.kind, hint=error.hint)
        return 1
    say("The prediction is done", predictions=predicted, errors=failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
