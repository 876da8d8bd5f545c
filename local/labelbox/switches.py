"""How the stand-in misbehaves on request: each switch is a field of Switches, set through POST /_control/settings."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from local.labelbox.store import Store


class BadSwitch(ValueError):
    """An unknown switch, or a value of the wrong type; the text names every one."""


@dataclass(frozen=True)
class Switches:
    """The defaults are a Labelbox in good health that answers at once."""

    refuse_predictions: bool = False
    """Model-run prediction imports are refused as the SDK's own tests say that Labelbox does (FAILED_PRECONDITION)."""
    latency_s: float = 0.0
    """Every answer outside /_control comes this much later."""
    down: bool = False
    """Everything outside /_control answers 503."""
    hang_s: float = 0.0
    """Every request outside /_control is held for so long and then closed without an answer (changing it lets go)."""
    rate_limit: int = 0
    """The next so many GraphQL requests are answered 429."""
    labels_appear_after_exports: int = 0
    """The next so many exports come without labels (Labelbox's exports lag behind its labels)."""
    export_delay_polls: int = 0
    """An export stays IN_PROGRESS for so many looks at its task (the SDK's export() itself takes the first)."""
    slow_imports: bool = False
    """An import is RUNNING at 0 % when made and at 50 % on the first look, and FINISHED on the second."""
    failed_imports: int = 0
    """The next so many imports end as FAILED, without a word about their rows."""
    expire_urls_s: float = 0.0
    """Signed URLs, and then also those of files in rows, are good for so long only; 0: a day, and files for ever."""
    export_chunk_bytes: int = 10_000_000
    """Largest chunk of an export (a longer row is a chunk of its own)."""
    camel_case_config: bool = False
    """trainingMetadata comes with camelCase names, as seen after creating a run with a config."""


class SwitchBoard:
    """The switches in force, kept in the store; counters among them count down here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._stopped = False
        self._held = 0
        kept = store.setting("switches")
        self._now = _checked(Switches(), kept) if isinstance(kept, dict) else Switches()

    def now(self) -> Switches:
        """The switches as they stand."""
        with self._changed:
            return self._now

    def change(self, wanted: Mapping[str, object]) -> dict[str, object]:
        """Set some switches and answer all. BadSwitch leaves everything as it was."""
        with self._changed:
            self._set(_checked(self._now, wanted))
            return asdict(self._now)

    def take_one(self, counter: str) -> bool:
        """Whether a counter was above 0; it is one less afterwards."""
        with self._changed:
            left = int(getattr(self._now, counter))
            if left > 0:
                self._set(_checked(self._now, {counter: left - 1}))
            return left > 0

    def pause(self, seconds: float, name: str) -> None:
        """Wait out a delay of the switch `name`; let go early when that switch changes or the server stops."""
        with self._changed:
            value = getattr(self._now, name)
            self._held += 1
            self._changed.wait_for(lambda: self._stopped or getattr(self._now, name) != value, timeout=seconds)
            self._held -= 1

    @property
    def held(self) -> int:
        """How many requests wait out a delay now."""
        with self._changed:
            return self._held

    def stop(self) -> None:
        """Let go of every request that waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _set(self, switches: Switches) -> None:
        self._now = switches
        self._store.keep_setting("switches", asdict(switches))
        self._changed.notify_all()


def _checked(base: Switches, wanted: Mapping[str, object]) -> Switches:
    kinds = {name: type(value) for name, value in asdict(Switches()).items()}
    problems: list[str] = []
    values: dict[str, bool | int | float] = {}
    for name, value in wanted.items():
        kind = kinds.get(name)
        if kind is None:
            problems.append(f"there is no switch {name!r} (there are {', '.join(kinds)})")
        elif kind is bool and isinstance(value, bool):
            values[name] = value
        elif kind is not bool and isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            values[name] = int(value) if kind is int else float(value)
        else:
            problems.append(f"{name} must be {'true or false' if kind is bool else 'a number of at least 0'}")
    if values.get("export_chunk_bytes") == 0:
        problems.append("export_chunk_bytes must be at least 1")
    if problems:
        raise BadSwitch("; ".join(problems))
    return replace(base, **values)  # type: ignore[arg-type]
