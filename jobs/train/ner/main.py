"""Training job for named entities: Vertex text extraction JSONL in, a conditional random field (crfsuite's own file and
JSON) or a fine-tuned transformer (safetensors and JSON) out, no pickle.

The same command line with and without a GPU; `--backbone=hf:NAME` fine-tunes the model that lies at $MODELS_DIR/NAME.
"""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: the same seed, the same sums

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jobkit.arguments import Arguments, parse
from jobkit.checkpoints import Checkpoints
from jobkit.ending import Ending, Result, run_job
from jobkit.errors import BadConfiguration
from jobkit.model_files import upload_model
from jobkit.ner.corpus import read_corpus
from jobkit.ner.training import BACKBONES, FEATURES, ITERATIONS, train
from jobkit.registry import OPTIONS as REGISTRATION
from jobkit.registry import with_registration
from jobkit.splits import TRAINING, VALIDATION
from jobkit.storage import Storage
from jobkit.thresholds import AUTO, threshold_of
from jobkit.transformer.backbones import PREFIX, is_transformer
from jobkit.transformer.options import OPTIONAL as TUNING
from jobkit.transformer.options import options_of

REQUIRED = ("training-file", "output-uri")
OPTIONAL = {
    "backbone": "auto",
    "features": "auto",
    "iterations": str(ITERATIONS),
    "seed": "0",
    "threshold": AUTO,
    **TUNING,
    **REGISTRATION,
}


def chosen_backbone(arguments: Arguments) -> str:
    """One of the known words, or hf:NAME."""
    word = arguments.text("backbone")
    if word not in BACKBONES and not is_transformer(word):
        raise BadConfiguration(f"--backbone must be one of {', '.join(BACKBONES)}, or {PREFIX}NAME, not '{word}'.")
    return word


def run(arguments: Arguments, storage: Storage) -> Result:
    """Trains and uploads the model."""
    backbone, features = chosen_backbone(arguments), arguments.one_of("features", FEATURES)
    iterations, options = arguments.whole("iterations", least=1), options_of(arguments)
    threshold = threshold_of(arguments)
    training_file = arguments.text("training-file")
    corpus = read_corpus(storage.read_lines(training_file))
    settings = {**asdict(options), "backbone": backbone, "features": features, "iterations": iterations}
    best = train(
        corpus,
        features,
        iterations,
        backbone=backbone,
        options=options,
        threshold=threshold,
        checkpoints=Checkpoints.of(storage, training_file, settings),
    )
    folder_uri = f"{arguments.folder('output-uri')}/model"
    with tempfile.TemporaryDirectory() as name:
        best.model.save(Path(name))
        upload_model(storage, Path(name), folder_uri)
    left_out = {"training_rows_left_out": str(corpus.left_out)} if corpus.left_out else {}
    return Result(
        outputs={"model": f"{folder_uri}/"},
        counts={
            "training_rows": len(corpus.splits[TRAINING].texts),
            "validation_rows": len(corpus.splits[VALIDATION].texts),
            "classes": len(corpus.classes),
        },
        metrics={f"validation_{key}": value for key, value in best.figures.items()},
        metadata={"model_kind": best.words, **left_out},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)

    def body(ending: Ending) -> Result:
        return with_registration(arguments.values, lambda: run(arguments, ending.storage))

    return run_job(arguments.text("ending-uri"), body)


if __name__ == "__main__":
    sys.exit(main())
