"""The report's plots as inline SVG: curves and bars in the unit square.

Series differ by dashes, not by colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LEFT, TOP, WIDTH, HEIGHT = 46, 14, 300, 220
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
Place = tuple[float, float]  # both 0..1


@dataclass(frozen=True)
class Series:
    """One line; points from left to right or right to left."""

    name: str
    points: Sequence[Place]


@dataclass(frozen=True)
class Mark:
    """A circle with a word beside it; `drop` adds a line down to the axis."""

    name: str
    place: Place
    drop: bool = False


@dataclass(frozen=True)
class Axes:
    """What a chart shows. `ident` is unique on the page; `description` says in words what the plot says."""

    ident: str
    title: str
    description: str
    across: str
    up: str


def _x(value: float) -> float:
    return LEFT + WIDTH * value


def _y(value: float) -> float:
    return TOP + HEIGHT * (1 - value)


def curves(axes: Axes, series: Sequence[Series], marks: Sequence[Mark] = ()) -> str:
    """Lines with a legend below."""
    lines = []
    for index, one in enumerate(series):
        places = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in one.points)
        lines.append(f'<polyline class="series s{index % 3}" points="{places}"/>')
    return _figure(axes, "".join([*lines, *map(_mark, marks)]), [one.name for one in series])


def bars(axes: Axes, columns: Sequence[tuple[Place, float]]) -> str:
    """Columns ((from, to), height) with the diagonal on which they should end."""
    shapes = [
        f'<rect class="bar" x="{_x(start) + 2:.1f}" y="{_y(height):.1f}" width="{WIDTH * (end - start) - 4:.1f}" '
        f'height="{HEIGHT * height:.1f}"/>'
        for (start, end), height in columns
    ]
    ideal = f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>'
    return _figure(axes, "".join([*shapes, ideal]), ())


def _mark(mark: Mark) -> str:
    x, y = _x(mark.place[0]), _y(mark.place[1])
    side, shift = ("end", -9) if mark.place[0] > 0.5 else ("start", 9)
    below = y + 18 if mark.place[1] > 0.5 else y - 9
    text = f'<text class="word" x="{x + shift:.1f}" y="{below:.1f}" text-anchor="{side}">{escape(mark.name)}</text>'
    drop = f'<line class="ideal" x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{_y(0)}"/>' if mark.drop else ""
    return f'{drop}<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>{text}'


def _frame(axes: Axes) -> str:
    parts = []
    for tick in TICKS:
        x, y = _x(tick), _y(tick)
        parts.append(f'<line class="grid" x1="{_x(0)}" y1="{y:.1f}" x2="{_x(1)}" y2="{y:.1f}"/>')
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_y(0)}" x2="{x:.1f}" y2="{_y(1)}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{_y(0) + 15:.1f}" text-anchor="middle">{tick:g}</text>')
    middle = TOP + HEIGHT / 2
    parts.append(f'<text x="{_x(0.5):.1f}" y="{_y(0) + 31:.1f}" text-anchor="middle">{escape(axes.across)}</text>')
    parts.append(
        f'<text x="13" y="{middle}" text-anchor="middle" transform="rotate(-90 13 {middle})">{escape(axes.up)}</text>'
    )
    return "".join(parts)


def _figure(axes: Axes, shapes: str, legend: Sequence[str]) -> str:
    base = TOP + HEIGHT + 50
    height = base + (16 if legend else -8)
    words, at = [], float(LEFT)
    for index, name in enumerate(legend):
        words.append(f'<line class="series s{index % 3}" x1="{at}" y1="{base - 4}" x2="{at + 24}" y2="{base - 4}"/>')
        words.append(f'<text x="{at + 29}" y="{base}">{escape(name)}</text>')
        at += 48 + 6.2 * len(name)
    ident = escape(axes.ident)
    return (
        f'<figure><svg class="chart" viewBox="0 0 {LEFT + WIDTH + 16} {height}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc"><title id="{ident}-title">{escape(axes.title)}</title>'
        f'<desc id="{ident}-desc">{escape(axes.description)}</desc>{_frame(axes)}{shapes}{"".join(words)}</svg>'
        f"<figcaption>{escape(axes.title)}. {escape(axes.description)}</figcaption></figure>"
    )
