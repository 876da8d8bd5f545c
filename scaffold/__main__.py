"""`python -m scaffold new-pipeline|new-job|add-pipeline`: what `make` calls; 0 done, 1 refused with one sentence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The functions' own package, used here to read pipeline files as the functions do.
sys.path.insert(0, str(ROOT / "functions"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m scaffold", description=__doc__)
    whole.add_argument("--root", type=Path, default=ROOT, help="the checkout to write into")
    commands = whole.add_subparsers(dest="command", required=True)
    pipeline = commands.add_parser("new-pipeline", help="a pipeline with a training and an inference job of its own")
    pipeline.add_argument("name")
    pipeline.add_argument("--like", default="", help="instead: a copy of this pipeline's file, with its jobs")
    job = commands.add_parser("new-job", help="a job with its image, its test, and the lines for a pipeline")
    job.add_argument("name")
    job.add_argument("--stage", default="inference", help="the folder of jobs/ (default: inference)")
    add = commands.add_parser("add-pipeline", help="copy the pipelines and jobs of a folder to where they deploy from")
    add.add_argument("folder", type=Path)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; nothing is written unless all of it can be."""
    from scaffold.adding import added_pipeline
    from scaffold.files import Refused
    from scaffold.jobs import new_job
    from scaffold.pipelines import new_pipeline

    given = parser().parse_args(arguments)
    root: Path = given.root.absolute()
    try:
        if given.command == "new-pipeline":
            made = new_pipeline(root, given.name, given.like)
        elif given.command == "new-job":
            made = new_job(root, given.name, given.stage)
        else:
            made = added_pipeline(root, given.folder.absolute())
        written = made.write()
    except Refused as refused:
        print(refused, file=sys.stderr)  # noqa: T201  # a person's command
        return 1
    lines = [*(f"made {path.relative_to(root)}" for path in written), "", *made.next_steps]
    print("\n".join(lines))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
