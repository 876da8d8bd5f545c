"""Pages about what a run left: its predictions beside the labels, its report, stored images, logs."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from local.console.data_rows import SPLITS
from local.console.desk import Desk
from local.console.drawing import Palette
from local.console.guard import REPORT_POLICY
from local.console.run_pages import found_run
from local.console.verdicts import RIGHT, UNLABELLED, WRONG
from ops.errors import NotFound

_IMAGE_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif",
                ".bmp": "image/bmp", ".webp": "image/webp", ".tif": "image/tiff", ".tiff": "image/tiff"}  # fmt: skip
_IMAGE_NAME = re.compile(r"[0-9a-f]{16,128}\.[a-z0-9]{1,5}")
_LOG_LINES = 2000
VERDICTS = (RIGHT, WRONG, UNLABELLED)


def result_pages(desk: Desk) -> Blueprint:
    """The pages as a part of the app."""
    pages = Blueprint("results", __name__)

    @pages.get("/runs/<name>/predictions")
    def predictions(name: str) -> ResponseReturnValue:
        run = found_run(desk, name)
        data_set = desk.data_set_of(run)
        results = desk.results.of(run, data_set) if run.finished else None
        if results is None:
            why = "has not ended yet" if run.finished is None else "left no predictions that can be shown here"
            abort(404, f"The run {why}. Its own page has what there is.")
        split, judged = _one_of("split", SPLITS), _one_of("verdict", VERDICTS)
        return render_template(
            "predictions.html",
            run=run,
            data_set=data_set,
            results=results,
            rows=results.page(request.args.get("page"), split, judged),
            split=split,
            verdict=judged,
            verdicts=VERDICTS,
            colour=Palette(results.classes),
        )

    @pages.get("/runs/<name>/report")
    def report(name: str) -> ResponseReturnValue:
        content = desk.results.report(found_run(desk, name))
        if content is None:
            abort(404, "The run left no report: its last stage makes one, unless the run failed before.")
        return Response(content, mimetype="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    @pages.get("/runs/<name>/logs/<number>")
    def log(name: str, number: str) -> ResponseReturnValue:
        run = found_run(desk, name)
        known = {
            item.launched.name.rpartition("/")[2] for jobs in run.attempts.values() for item in jobs if item.launched
        }
        if number not in known:
            abort(404, "The run launched no such job.")
        try:
            lines = desk.deployment.job_logs.lines(number, _LOG_LINES)
        except NotFound as error:
            abort(404, f"{error}; {error.hint}.")
        return Response("\n".join(lines) + "\n", mimetype="text/plain")

    @pages.get("/images/<name>")
    def image(name: str) -> ResponseReturnValue:
        kind = _IMAGE_TYPES.get(PurePosixPath(name).suffix)
        content = desk.results.image(name) if kind and _IMAGE_NAME.fullmatch(name) else None
        if content is None:
            abort(404, "The bucket has no such image any more.")
        # Named by its content's hash, so it is never another.
        return Response(content, mimetype=kind, headers={"Cache-Control": "max-age=86400, immutable"})

    return pages


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    value = request.args.get(name, "")
    return value if value in allowed else ""
