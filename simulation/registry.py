"""The image registry in memory: every push moves every tag to new bytes."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.errors import Unavailable
from simulation.gate import Gate


class MemoryRegistry:
    """The Images port. `pushes` counts the deploys so far, each of which builds all images anew."""

    def __init__(self, gate: Gate, pushes: Callable[[], int]) -> None:
        self._gate, self._pushes = gate, pushes

    def pin(self, uri: str) -> str:
        """See Images."""
        if self._gate.read("registry.pin", ""):
            raise Unavailable("The registry did not answer")
        return f"{uri.partition(':')[0]}@sha256:{self._pushes():064x}"
