"""A model run's training pipeline as Labelbox keeps it: one status, merged metadata, a lasting error; its config."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from local.labelbox.errors import BadInput, Refused
from local.labelbox.store import Store, now_text

STATUSES = ("EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL", "COMPLETE", "FAILED")
LONGEST_ERROR = 255
_INPUT_FIELDS = {"status", "errorMessage", "metadata"}


class TrainingPipelines:
    """Statuses and configs by model run id. Whether a run exists is asked elsewhere."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def update(self, run_id: str, data: Mapping[str, object]) -> str:
        """Take a status: metadata is merged, errorMessage stays unless given ("" clears it). Answers the status.

        Repeating a call leaves the same state, but each accepted call is one more entry of the history.
        """
        status, error, metadata = _checked(data)
        with self._store.transaction() as db:
            self._ensure(run_id)
            db.execute("UPDATE runs SET status = ? WHERE id = ?", (status, run_id))
            if error is not None:
                db.execute("UPDATE runs SET error_message = ? WHERE id = ?", (error, run_id))
            if metadata is not None:
                merged = {**self._metadata(run_id), **metadata}
                db.execute("UPDATE runs SET metadata = ? WHERE id = ?", (json.dumps(merged), run_id))
            db.execute(
                "INSERT INTO statuses (run, status, error_message, metadata, at) VALUES (?, ?, ?, ?, ?)",
                (run_id, status, error, None if metadata is None else json.dumps(metadata), now_text()),
            )
        return status

    def current(self, run_id: str) -> dict[str, object]:
        """{status, errorMessage, metadata}; the status of an untouched run is null."""
        found = self._store.rows("SELECT status, error_message FROM runs WHERE id = ?", run_id)
        status, error = found[0] if found else (None, None)
        return {"status": status, "errorMessage": error, "metadata": self._metadata(run_id)}

    def history(self, run_id: str) -> list[dict[str, object]]:
        """Every accepted status in order, as it was sent."""
        query = "SELECT status, error_message, metadata, at FROM statuses WHERE run = ? ORDER BY sequence"
        return [
            {"status": status, "errorMessage": error, "metadata": json.loads(str(sent)) if sent else None, "at": at}
            for status, error, sent, at in self._store.rows(query, run_id)
        ]

    def config(self, run_id: str, *, camel_case: bool = False) -> dict[str, object] | None:
        """The model run's config as it was sent, or with camelCase names; null before one is set."""
        found = self._store.rows("SELECT config FROM runs WHERE id = ?", run_id)
        config = json.loads(str(found[0][0])) if found and found[0][0] is not None else None
        return {_camel(name): value for name, value in config.items()} if config and camel_case else config

    def keep_config(self, run_id: str, config: object) -> None:
        """Put a config in the place of the former one; None resets it. Safe to repeat because the last one stands."""
        if config is not None and not isinstance(config, dict):
            raise BadInput('Field "config" must be an object.')
        with self._store.transaction() as db:
            self._ensure(run_id)
            text = None if config is None else json.dumps(config)
            db.execute("UPDATE runs SET config = ? WHERE id = ?", (text, run_id))

    def delete(self, run_id: str) -> None:
        """Delete a model run. Safe to repeat because a deleted run stays deleted."""
        with self._store.transaction() as db:
            self._ensure(run_id)
            db.execute("UPDATE runs SET deleted = 1 WHERE id = ?", (run_id,))

    def deleted(self, run_id: str) -> bool:
        """Whether a model run was deleted."""
        return bool(self._store.rows("SELECT 1 FROM runs WHERE id = ? AND deleted = 1", run_id))

    def _metadata(self, run_id: str) -> dict[str, object]:
        found = self._store.rows("SELECT metadata FROM runs WHERE id = ?", run_id)
        return dict(json.loads(str(found[0][0]))) if found else {}

    def _ensure(self, run_id: str) -> None:
        with self._store.transaction() as db:
            db.execute("INSERT OR IGNORE INTO runs (id) VALUES (?)", (run_id,))


def _checked(data: Mapping[str, object]) -> tuple[str, str | None, dict[str, str] | None]:
    unknown = set(data) - _INPUT_FIELDS
    if unknown:
        raise BadInput(f'Fields {sorted(unknown)} are not defined by type "UpdateTrainingPipelineInput".')
    status, error, metadata = data.get("status"), data.get("errorMessage"), data.get("metadata")
    if status not in STATUSES:
        raise BadInput(f'Value "{status}" does not exist in the enum of statuses ({", ".join(STATUSES)}).')
    if error is not None and not isinstance(error, str):
        raise BadInput('Field "errorMessage" must be a string.')
    if error is not None and len(error) > LONGEST_ERROR:
        raise Refused(f"Error message cannot exceed {LONGEST_ERROR} characters: {error}", exception_status=422)
    if metadata is None:
        return str(status), error, None
    if not isinstance(metadata, Mapping) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadInput('Field "metadata" must be an object of strings.')
    return str(status), error, {str(name): str(value) for name, value in metadata.items()}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match.group(1).upper(), name)
