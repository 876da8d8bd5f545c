"""Training job for text classifiers: Vertex text JSONL in, a model of numbers and words (safetensors, JSON) out."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jobkit.arguments import Arguments, parse
from jobkit.ending import Ending, Result, run_job
from jobkit.registry import OPTIONS as REGISTRATION
from jobkit.registry import with_registration
from jobkit.splits import TRAINING, VALIDATION
from jobkit.storage import Storage
from jobkit.text.training import BACKBONES, read_corpus, train

REQUIRED = ("training-file", "output-uri")
OPTIONAL = {"seed": "0", "backbone": "auto", **REGISTRATION}


def run(arguments: Arguments, storage: Storage) -> Result:
    """Trains and uploads the model."""
    backbone = arguments.one_of("backbone", BACKBONES)
    corpus = read_corpus(storage.read_lines(arguments.text("training-file")))
    best = train(corpus, backbone, arguments.whole("seed"))
    folder_uri = f"{arguments.folder('output-uri')}/model"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        best.model.save(folder)
        for path in sorted(folder.iterdir()):
            storage.upload_file(path, f"{folder_uri}/{path.name}")
    return Result(
        outputs={"model": f"{folder_uri}/"},
        counts={
            "training_rows": len(corpus.splits[TRAINING].texts),
            "validation_rows": len(corpus.splits[VALIDATION].texts),
            "classes": len(corpus.classes),
        },
        metrics={f"validation_{key}": value for key, value in best.figures.items()},
        metadata={"model_kind": best.model.name},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)

    def body(ending: Ending) -> Result:
        return with_registration(arguments.values, lambda: run(arguments, ending.storage))

    return run_job(arguments.text("ending-uri"), body)


if __name__ == "__main__":
    sys.exit(main())
