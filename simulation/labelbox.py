"""Labelbox in memory: one status per model run, which it takes in any order."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import LabelboxRefused, LabelboxUnavailable
from orchestrator.labelbox import ModelRun, ShownStatus, Telling
from orchestrator.questions import Question
from simulation.faults import Fault
from simulation.gate import Gate


class MemoryLabelbox:
    """The Labelbox port."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.configs: dict[str, dict[str, Any]] = {}
        self.shown: dict[str, ShownStatus] = {}
        self.deleted: dict[str, float] = {}  # model runs that somebody deleted, and when
        self.look_ups = 0

    def look_up(self, model_run_id: str) -> ModelRun:
        """See Labelbox."""
        if self._gate.read("labelbox.look_up", ""):
            raise LabelboxUnavailable("Labelbox did not answer")
        self.look_ups += 1
        self._refuse_deleted(model_run_id)
        return ModelRun(model_run_id, "model", self.configs.get(model_run_id, {}))

    def questions(self, model_run_id: str) -> tuple[Question, ...]:
        """See Labelbox. Every model has the same one question, so a run fails of none."""
        if self._gate.read("labelbox.questions", ""):
            raise LabelboxUnavailable("Labelbox did not answer")
        self._refuse_deleted(model_run_id)
        return (Question("question", "Topic", "topic", "radio"),)

    def tell(self, model_run_id: str, telling: Telling) -> None:
        """See Labelbox."""
        fault = self._gate.effect("labelbox.tell", telling.status)
        if fault is Fault.REFUSED:
            raise LabelboxUnavailable("Labelbox answered 429")
        self._refuse_deleted(model_run_id)
        older = self.shown.get(model_run_id)
        metadata = {**(older.metadata if older else {}), **telling.metadata}
        self.shown[model_run_id] = ShownStatus(telling.status, telling.error_message, metadata)
        self._gate.changed()
        if fault is Fault.ANSWER_LOST:
            raise LabelboxUnavailable("Labelbox did not answer in time")
        self._gate.applied("labelbox.tell", telling.status)

    def read_back(self, model_run_id: str) -> ShownStatus:
        """See Labelbox."""
        if self._gate.read("labelbox.read_back", ""):
            raise LabelboxUnavailable("Labelbox did not answer")
        if model_run_id in self.deleted:
            return ShownStatus(None, "", {})
        return self.shown.get(model_run_id) or ShownStatus(None, "", {})

    def _refuse_deleted(self, model_run_id: str) -> None:
        if model_run_id in self.deleted:
            raise LabelboxRefused("unknown", "RESOURCE_NOT_FOUND")
