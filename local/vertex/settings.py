"""How the stand-in behaves just now: delays, lag and failures on demand, changed while it runs by the control port."""

import json
import threading
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path


class BadSettings(ValueError):
    """The settings of a request are unknown or of the wrong kind; the text names each."""


@dataclass(frozen=True)
class Settings:
    """The behaviour of the stand-in.

    list_lag_s: lists show the world as it was so many seconds ago (new resources missing, states old); gets never lag.
    end_delay_s: a job reads RUNNING for so long after its process ended.
    event_delay_s: the log line of a custom job's end comes so long after its process ended; it may precede the state.
    cancel_delay_s: a cancelled job reads CANCELLING for so long, and may still end by itself.
    operation_delay_s: a long-running operation is done no earlier than this.
    create_refusals: the next n creates of jobs and pipelines are refused with RESOURCE_EXHAUSTED.
    lost_answers: the next n creates of jobs and pipelines happen, but are answered with UNAVAILABLE.
    upload_refusals: the next n uploads of models are refused with RESOURCE_EXHAUSTED.
    lost_uploads: the next n uploads of models happen, but are answered with UNAVAILABLE.
    deny_uploads: uploads of models are answered with PERMISSION_DENIED.
    unavailable: every call is answered with UNAVAILABLE.
    partial_batch: a batch prediction with failed instances ends PARTIALLY_SUCCEEDED instead of SUCCEEDED.
    batch_shards: how many prediction files a batch prediction writes at most.
    """

    list_lag_s: float = 0.0
    end_delay_s: float = 0.0
    event_delay_s: float = 0.0
    cancel_delay_s: float = 0.2
    operation_delay_s: float = 0.0
    create_refusals: int = 0
    lost_answers: int = 0
    upload_refusals: int = 0
    lost_uploads: int = 0
    deny_uploads: bool = False
    unavailable: bool = False
    partial_batch: bool = False
    batch_shards: int = 3


class SettingsFile:
    """The current settings, kept in a file so that a restart goes on with them. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._current = _changed(Settings(), json.loads(path.read_text())) if path.exists() else Settings()

    @property
    def current(self) -> Settings:
        """Return the settings as they are now."""
        with self._lock:
            return self._current

    def change(self, changes: object) -> Settings:
        """Change the named settings and return all. Raises BadSettings, and then changes nothing."""
        with self._lock:
            return self._keep(_changed(self._current, changes))

    def take(self, counter: str) -> bool:
        """Count one down from a counter (`create_refusals`, ...); say whether there was one left."""
        with self._lock:
            left: int = getattr(self._current, counter)
            if left:
                self._keep(_changed(self._current, {counter: left - 1}))
            return left > 0

    def _keep(self, settings: Settings) -> Settings:
        unfinished = self._path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(settings)))
        unfinished.replace(self._path)
        self._current = settings
        return settings


def _changed(settings: Settings, changes: object) -> Settings:
    if not isinstance(changes, dict):
        raise BadSettings("settings must be a JSON object")
    kinds = {field.name: type(field.default) for field in fields(Settings)}
    problems = [f"{name}: unknown, known are {', '.join(kinds)}" for name in changes if name not in kinds]
    problems += [
        f"{name}: must be a {kinds[name].__name__} of at least 0"
        for name, value in changes.items()
        if name in kinds and not _fits(value, kinds[name])
    ]
    if problems:
        raise BadSettings("; ".join(problems))
    return replace(settings, **changes)


def _fits(value: object, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    accepted = (int, float) if kind is float else (int,)
    return isinstance(value, accepted) and value >= 0
