"""The app: its pages, what every page shows, and its errors, which say what to do."""

from __future__ import annotations

from datetime import datetime

from flask import Flask, render_template, request
from flask.typing import ResponseReturnValue
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from local.console import drawing
from local.console.data_pages import data_pages
from local.console.desk import Desk
from local.console.guard import Guard
from local.console.result_pages import result_pages
from local.console.run_pages import run_pages
from ops.screen import duration
from orchestrator.errors import ServiceError

_MOST_FORM_BYTES = 256 * 1024
_NEXT = {
    400: "Go back, load the page again, and send the form once more.",
    403: "Nothing was changed.",
    404: "Look for it from the first page.",
    409: "Nothing was changed.",
    413: "A form of this page is never so large.",
    421: "Open the address that make up printed.",
}


def create_app(desk: Desk, port: int) -> Flask:
    """The app for one cloud, served on a port of the loopback address."""
    app = Flask(__name__)
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(duration=duration, figure=_figure, clock=_clock)
    app.jinja_env.globals.update(pieces=drawing.pieces, drawn_boxes=drawing.drawn_boxes)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = _MOST_FORM_BYTES
    Guard(port).protect(app)
    for pages in (data_pages(desk), run_pages(desk), result_pages(desk)):
        app.register_blueprint(pages)
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(ServiceError, _unserved)
    app.register_error_handler(OSError, _unserved)
    app.context_processor(lambda: {"own_export": len(desk.data_sets) == 1, "here": request.path})
    return app


def _refused(error: HTTPException) -> ResponseReturnValue:
    code = error.code or 500
    hint = _NEXT.get(code, "The console's log in the state folder's logs has the reason.")
    return _error_page(code, error.name, error.description or "", hint)


def _unserved(error: Exception) -> ResponseReturnValue:
    """Something that the pages are made of does not answer."""
    hint = (
        getattr(error, "hint", "") or "If the cloud was stopped, start it again with make up; else load the page again."
    )
    return _error_page(503, "The cloud does not answer", str(error), hint)


def _error_page(code: int, name: str, text: str, hint: str) -> ResponseReturnValue:
    return render_template("error.html", code=code, name=name, text=text, hint=hint), code


def _figure(value: float) -> str:
    """A measured figure: three digits, or a whole number."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.3f}"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"
