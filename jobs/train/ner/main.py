"""Training job for named entities: Vertex text extraction JSONL in, a conditional random field (crfsuite's own file and
JSON, no pickle) out."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jobkit.arguments import Arguments, parse
from jobkit.ending import Ending, Result, run_job
from jobkit.ner.training import FEATURES, ITERATIONS, read_corpus, train
from jobkit.registry import OPTIONS as REGISTRATION
from jobkit.registry import with_registration
from jobkit.splits import TRAINING, VALIDATION
from jobkit.storage import Storage

REQUIRED = ("training-file", "output-uri")
OPTIONAL = {"features": "auto", "iterations": str(ITERATIONS), **REGISTRATION}


def run(arguments: Arguments, storage: Storage) -> Result:
    """Trains and uploads the model."""
    features = arguments.one_of("features", FEATURES)
    iterations = arguments.whole("iterations", least=1)
    corpus = read_corpus(storage.read_lines(arguments.text("training-file")))
    best = train(corpus, features, iterations)
    folder_uri = f"{arguments.folder('output-uri')}/model"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        best.model.save(folder)
        for path in sorted(folder.iterdir()):
            storage.upload_file(path, f"{folder_uri}/{path.name}")
    left_out = {"training_rows_left_out": str(corpus.left_out)} if corpus.left_out else {}
    return Result(
        outputs={"model": f"{folder_uri}/"},
        counts={
            "training_rows": len(corpus.splits[TRAINING].texts),
            "validation_rows": len(corpus.splits[VALIDATION].texts),
            "classes": len(corpus.classes),
        },
        metrics={f"validation_{key}": value for key, value in best.figures.items()},
        metadata={"model_kind": f"crf of {best.model.kind}, c1={best.penalty[0]}, c2={best.penalty[1]}", **left_out},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)

    def body(ending: Ending) -> Result:
        return with_registration(arguments.values, lambda: run(arguments, ending.storage))

    return run_job(arguments.text("ending-uri"), body)


if __name__ == "__main__":
    sys.exit(main())
