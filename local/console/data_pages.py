"""Pages about the data: what there is to train on, its rows, and the form that starts a training."""

from __future__ import annotations

from flask import Blueprint, Response, abort, redirect, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue

from local.console.data_rows import SPLITS, file_below
from local.console.data_sets import DataSet
from local.console.desk import Desk
from local.console.drawing import Palette
from local.console.training import Started, TrainingForm, train, training_form
from orchestrator.identities import slug_of

_NEWEST_RUNS = 5
_SHOWN_ROWS = 3


def data_pages(desk: Desk) -> Blueprint:
    """The pages as a part of the app."""
    pages = Blueprint("data", __name__)

    @pages.get("/")
    def home() -> ResponseReturnValue:
        if len(desk.data_sets) == 1:
            only = next(iter(desk.data_sets))
            return redirect(url_for("data.data_set", model_run=only.id))
        cards = [(item, item.first_rows(_SHOWN_ROWS), Palette(item.classes)) for item in desk.data_sets]
        runs = list(desk.runs(desk.run_ids()[:_NEWEST_RUNS]))
        return render_template("home.html", cards=cards, runs=runs, now=desk.deployment.services.now())

    @pages.get("/data/<model_run>")
    def data_set(model_run: str) -> ResponseReturnValue:
        found = _found(desk, model_run)
        return _data_page(desk, found, training_form(desk, found, request.args.get("type", "")))

    @pages.post("/data/<model_run>/train")
    def start(model_run: str) -> ResponseReturnValue:
        found = _found(desk, model_run)
        outcome = train(desk, found, request.form)
        if isinstance(outcome, Started):
            already = None if outcome.is_new else "yes"
            return redirect(url_for("runs.run", name=outcome.run, already=already), 303)
        return _data_page(desk, found, outcome), 422

    @pages.get("/files/<source>/<path:name>")
    def file(source: str, name: str) -> Response:
        known = desk.data_sets.source(source)
        path = file_below(known.folder, name) if known else None
        if path is None:
            abort(404, "The export names no such file beside itself.")
        return send_file(path, max_age=600)

    return pages


def _found(desk: Desk, model_run: str) -> DataSet:
    found = desk.data_sets.get(model_run)
    if found is None:
        abort(404, f"No export that is served here has a model run {model_run[:80]}.")
    return found


def _data_page(desk: Desk, found: DataSet, form: TrainingForm) -> str:
    split = request.args.get("split", "")
    split = split if split in SPLITS else ""
    newest = desk.deployment.ledger.newest_number(slug_of(found.id))
    return render_template(
        "data_set.html",
        data_set=found,
        rows=found.page(request.args.get("page"), split),
        split=split,
        form=form,
        colour=Palette(found.classes),
        newest_run=f"{slug_of(found.id)}.{newest}" if newest else "",
        runs=newest,
    )
