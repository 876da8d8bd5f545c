"""Profiles of the three hottest paths, written below what stands in benchmarks/profiles/ about each.

    PYTHONPATH=functions:jobs:. .venv/bin/python -m benchmarks.profiling [texts] [boxes] [images]

cProfile costs the more the smaller the functions are, so shares are to be read, not seconds. Of the images only the
thread's own work is shown: a picture looked at and hashed, without the network.
"""

from __future__ import annotations

import cProfile
import hashlib
import io
import pstats
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).with_name("profiles")
SHOWN = 22
RULER = "-" * 100 + "\n"
ROWS, IMAGES, PICTURES = 20_000, 1_000, 1_000


def texts() -> Callable[[], object]:
    """The ETL of entities."""
    from benchmarks.texts import entities, export_line

    lines = [export_line(number).encode() for number in range(ROWS)]
    return lambda: entities(Path(tempfile.mkdtemp()), iter(lines))


def boxes() -> Callable[[], object]:
    """The evaluation of boxes."""
    from benchmarks.boxes import ours, scenes

    made = scenes(IMAGES)
    return lambda: ours(made)


def images() -> Callable[[], object]:
    """What is done with a picture's bytes."""
    from benchmarks.images import pictures
    from jobkit.image.files import prediction_copy, prepared

    made = pictures()

    def work() -> None:
        for number in range(PICTURES):
            picture = prepared(made[number % len(made)])
            prediction_copy(picture)
            hashlib.sha256(picture.data).hexdigest()

    return work


def profile(work: Callable[[], object]) -> str:
    """The functions with the most time of their own."""
    work()  # imports and caches
    profiler, out = cProfile.Profile(), io.StringIO()
    profiler.runcall(work)
    statistics = pstats.Stats(profiler, stream=out)
    statistics.strip_dirs().sort_stats("tottime").print_stats(SHOWN)
    return out.getvalue().strip() + "\n"


def main() -> None:
    """Rewrites the part below the ruler."""
    subjects = {"texts": texts, "boxes": boxes, "images": images}
    for name in sys.argv[1:] or subjects:
        file = FOLDER / f"{name}.txt"
        about = file.read_text(encoding="utf-8").partition(RULER)[0] if file.exists() else ""
        file.write_text(about + RULER + profile(subjects[name]()), encoding="utf-8")


if __name__ == "__main__":
    main()
