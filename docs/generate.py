"""Writes the pages that are made from code: settings, parameters of each pipeline, and .env.example.

    .venv/bin/python docs/generate.py

A test fails while a page differs from what this writes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "functions"))

from orchestrator.pipelines import Pipeline, read_pipelines  # noqa: E402
from orchestrator.settings import Settings  # noqa: E402

MADE = "<!-- made by docs/generate.py; edit functions/ instead -->"


def _shown(value: Any) -> str:
    if value is MISSING:
        return "**required**"
    if isinstance(value, tuple):
        return "`" + ",".join(value) + "`" if value else "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`" if value != "" else "empty"


def settings_page() -> str:
    """docs/settings.md: every environment variable of the functions."""
    rows = [
        f"| `{item.name.upper()}` | {_shown(item.default)} | {item.metadata['help']} |" for item in fields(Settings)
    ]
    return "\n".join(
        [
            "# Settings",
            MADE,
            "",
            "Environment variables of the functions. A missing or contradictory one stops a function at its start,",
            "with all problems named.",
            "`STORAGE_EMULATOR_HOST` and `PUBSUB_EMULATOR_HOST` are honoured as Google's clients do.",
            "",
            "| variable | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def environment_example() -> str:
    """.env.example: every setting, the optional ones commented out."""
    lines = ["# Settings of the functions; made by docs/generate.py from functions/orchestrator/settings.py", ""]
    for item in fields(Settings):
        lines += [f"# {item.metadata['help']}", _example_line(item), ""]
    return "\n".join(lines)


def _example_line(item: Field[Any]) -> str:
    if item.default is MISSING:
        return f"{item.name.upper()}="
    return f"# {item.name.upper()}={_shown(item.default).strip('`').replace('empty', '')}"


def parameters_page() -> str:
    """docs/parameters.md: what a user may set in the model run's config, by model type."""
    lines = [
        "# Parameters",
        MADE,
        "",
        "Set them in the model run's config in Labelbox (snake_case or camelCase). An unknown or bad one fails the run",
        "before anything is launched.",
        "",
    ]
    for model_type, pipeline in sorted(read_pipelines().items()):
        lines += [f"## {model_type}", "", pipeline.description, "", *_parameter_rows(pipeline), ""]
    return "\n".join(lines)


def _parameter_rows(pipeline: Pipeline) -> Iterator[str]:
    yield from ("| parameter | type | default | meaning |", "|---|---|---|---|")
    for name, parameter in pipeline.parameters.items():
        bounds = ""
        if parameter.choices:
            bounds = " one of " + ", ".join(f"`{choice}`" for choice in parameter.choices)
        elif parameter.form:
            bounds = f" {parameter.form}"
        elif parameter.minimum is not None and parameter.maximum is not None:
            bounds = f" {parameter.minimum:g} to {parameter.maximum:g}"
        yield f"| `{name}` | {parameter.type}{bounds} | {_shown(parameter.default)} | {parameter.help} |"


PAGES = {
    "docs/settings.md": settings_page,
    "docs/parameters.md": parameters_page,
    ".env.example": environment_example,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
