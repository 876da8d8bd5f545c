"""One tick of reconcile over many active runs, of which a few changed: `benchmarks/reconcile.py` as lines."""

from __future__ import annotations

from benchmarks import reconcile
from benchmarks.figures import Line


def measure() -> list[Line]:
    """Time and calls; the bucket and Vertex AI are in memory and count calls as the real ones would."""
    found = reconcile.measure()
    title = f"reconcile, {found['runs']:,} active runs, {found['changed']} changed"
    allowed = found["calls_allowed"]
    return [
        Line(title, found["seconds"], "s", at_most=reconcile.LIMIT_S, detail=found),
        Line("its calls", found["calls"], "", at_most=allowed, against="pages of the lists", theirs=found["pages"]),
    ]
