"""Ridge regression on hashed words, fitted and applied by one program that knows numpy and Cloud Storage only.

`--mode=fit` reads a training file (Vertex's text JSONL) and leaves model.npz; `--mode=predict` reads a manifest and
leaves predictions in the format of a Vertex batch prediction. The last act is result.json, or error.json with a
sentence for the user, below `--ending-uri` and the id of this job.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from google.cloud import storage

FEATURES = 2048
ML_USE = "aiplatform.googleapis.com/ml_use"
Matrix = npt.NDArray[np.float64]
Result = dict[str, Any]


class BadRows(Exception):
    """The data cannot be learned; the text is the sentence that the user reads in Labelbox."""


class Bucket:
    """Objects by their gs:// uris."""

    def __init__(self) -> None:
        self._client = storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT"))

    def _blob(self, uri: str) -> Any:
        return storage.Blob.from_string(uri, client=self._client)

    def read(self, uri: str) -> bytes:
        return bytes(self._blob(uri).download_as_bytes())

    def write(self, uri: str, content: bytes) -> None:
        self._blob(uri).upload_from_string(content, "application/octet-stream")

    def rows(self, uri: str) -> Iterator[Any]:
        return (json.loads(line) for line in self.read(uri).decode("utf-8").split("\n") if line)


def features(texts: Iterable[str]) -> Matrix:
    """One row a text: how often a word falls into each of FEATURES places, of length 1."""
    rows = []
    for text in texts:
        row = np.zeros(FEATURES)
        for word in re.findall(r"\w+", text.lower()):
            row[zlib.crc32(word.encode()) % FEATURES] += 1.0
        rows.append(row / (np.linalg.norm(row) or 1.0))
    return np.array(rows).reshape(-1, FEATURES)


def fit(bucket: Bucket, given: argparse.Namespace) -> Result:
    """Learn from the rows of the training split."""
    rows = [row for row in bucket.rows(given.rows) if row["dataItemResourceLabels"][ML_USE] == "training"]
    names = [row["classificationAnnotation"]["displayName"] for row in rows]
    classes = sorted(set(names))
    if len(classes) < 2:
        raise BadRows("Fewer than two classes have training rows.")
    wanted = np.array([[float(name == one) for one in classes] for name in names])
    known = features(row["textContent"] for row in rows)
    weights = np.linalg.solve(known.T @ known + given.penalty * np.eye(FEATURES), known.T @ wanted)
    file = io.BytesIO()
    np.savez_compressed(file, weights=weights, classes=np.array(classes))
    uri = f"{given.output_uri}model.npz"
    bucket.write(uri, file.getvalue())
    return {"outputs": {"model": uri}, "counts": {"rows": len(rows), "classes": len(classes)}}


def predict(bucket: Bucket, given: argparse.Namespace) -> Result:
    """Predict every row of the manifest; its data row id is the instance's key."""
    with np.load(io.BytesIO(bucket.read(given.model))) as model:
        weights, classes = model["weights"], model["classes"].tolist()
    rows = list(bucket.rows(given.rows))
    scores = np.exp(4.0 * features(row["content"] for row in rows) @ weights)
    shares = scores / scores.sum(axis=1, keepdims=True)
    lines = [
        {
            "instance": {"key": row["data_row_id"]},
            "prediction": {"displayNames": classes, "confidences": share.round(6).tolist()},
        }
        for row, share in zip(rows, shares, strict=True)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    bucket.write(f"{given.output_uri}predictions_00001.jsonl", text.encode())
    return {"outputs": {"predictions": given.output_uri}, "counts": {"rows": len(rows)}}


def main() -> int:
    """0 only when result.json is written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=["fit", "predict"], required=True)
    parser.add_argument("--penalty", type=float, default=1.0)
    parser.add_argument("--model", default="")
    for name in ("--rows", "--output-uri", "--ending-uri"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    bucket, folder = Bucket(), f"{given.ending_uri}{os.environ['CLOUD_ML_JOB_ID']}/"
    try:
        result = (fit if given.mode == "fit" else predict)(bucket, given)
    except BadRows as error:
        body = {"version": 1, "sentence": str(error), "kind": "bad_data", "hint": "Label more data rows."}
        bucket.write(f"{folder}error.json", json.dumps(body).encode())
        return 1
    bucket.write(f"{folder}result.json", json.dumps({"version": 1, "metrics": {}, "metadata": {}, **result}).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
