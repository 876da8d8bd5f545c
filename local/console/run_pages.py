"""Pages about runs: all of them, one while it goes, and the two buttons that steer it."""

from __future__ import annotations

import getpass

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from local.console.desk import HISTORY_PAGE, Desk
from local.console.paging import page_of
from local.console.results import files_of
from local.console.retrying import RetryForm, retry, retry_form
from local.console.run_progress import progress_of
from ops.cancelling import cancel as cancel_run
from ops.run_view import run_row
from ops.usage import Prices
from orchestrator.run import Run

_MOST_REASON = 200


def run_pages(desk: Desk) -> Blueprint:
    """The pages as a part of the app."""
    pages = Blueprint("runs", __name__, url_prefix="/runs")

    @pages.get("/")
    def history() -> ResponseReturnValue:
        ids = page_of(desk.run_ids(), request.args.get("page"), HISTORY_PAGE)
        now = desk.deployment.services.now()
        rows = [(run_row(item, now, Prices()), desk.data_set_of(item)) for item in desk.runs(list(ids.items))]
        return render_template("runs.html", rows=rows, ids=ids)

    @pages.get("/<name>")
    def run(name: str) -> ResponseReturnValue:
        progress = progress_of(desk, found_run(desk, name))
        data_set = desk.data_set_of(progress.run)
        files = files_of(progress.run)
        return render_template(
            "run.html",
            progress=progress,
            run=progress.run,
            data_set=data_set,
            has_report="report" in files,
            has_predictions=desk.results.can_show(progress.run, data_set),
            by_stand_in=progress.is_by_stand_in,
        )

    @pages.get("/<name>/live")
    def live(name: str) -> ResponseReturnValue:
        progress = progress_of(desk, found_run(desk, name))
        return render_template("live.html", progress=progress, run=progress.run)

    @pages.post("/<name>/cancel")
    def cancel(name: str) -> ResponseReturnValue:
        found = found_run(desk, name)
        reason = " ".join(request.form.get("reason", "").split())[:_MOST_REASON]
        done = None if found.finished else cancel_run(desk.deployment, found, getpass.getuser(), reason)
        if done is None:
            abort(409, "The run has ended already: there is nothing to cancel.")
        return redirect(url_for("runs.run", name=name), 303)

    @pages.get("/<name>/retry")
    def retry_page(name: str) -> ResponseReturnValue:
        found = found_run(desk, name)
        return _retry_page(desk, found, retry_form(desk, found, request.args.get("stage", "")))

    @pages.post("/<name>/retry")
    def start_retry(name: str) -> ResponseReturnValue:
        found = found_run(desk, name)
        outcome = retry(desk, found, request.form)
        if isinstance(outcome, RetryForm):
            return _retry_page(desk, found, outcome), 422
        return redirect(url_for("runs.run", name=outcome), 303)

    return pages


def found_run(desk: Desk, name: str) -> Run:
    """The run that an address names, or the page that says there is none."""
    found = desk.run(name)
    if found is None:
        abort(404, f"There is no run {name[:80]}. The list of runs has all of them.")
    return found


def _retry_page(desk: Desk, found: Run, form: RetryForm) -> str:
    return render_template("retry.html", run=found, form=form, data_set=desk.data_set_of(found))
