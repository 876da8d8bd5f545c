"""Sizes and cold starts of the job images, as `make test-images` noted them when it built them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Line

FIGURES = Path(__file__).resolve().parent.parent / ".local" / "images.md"
TEXTS = ("text_classification", "text_multi_classification", "ner")
TEXT_LIMIT_MB = 600.0


def measure() -> list[Line]:
    """A line an image, or one that says that none was built on this machine."""
    lines = []
    for row in FIGURES.read_text(encoding="utf-8").splitlines()[2:] if FIGURES.exists() else ():
        name, size_mb, built_s, start_s = (cell.strip() for cell in row.strip("|").split("|"))
        limit = TEXT_LIMIT_MB if name.endswith(TEXTS) else None
        note = f"built in {built_s} s; starts in {start_s} s"
        lines.append(Line(f"image {name}", float(size_mb), "MB", at_most=limit, note=note))
    if not lines:
        note = "not measured here: make test-images builds them with podman or docker"
        lines.append(Line("job images measured", 0, "", note=note))
    return lines
