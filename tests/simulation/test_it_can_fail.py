"""The simulation can fail: each rule of the engine is broken on purpose, and the simulation says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from orchestrator import (
    advancing,
    configuring,
    dead_letters,
    deleted_runs,
    hints,
    launching,
    observing,
    reconcile,
    retrying,
    telling,
    webhook,
    workflow,
)
from orchestrator.errors import LabelboxUnavailable
from orchestrator.facts import Accepted, Claimed, Ended, Finished, Launched
from orchestrator.identities import AttemptRef, RunId
from orchestrator.job_requests import JobRequest, job_request
from orchestrator.ledger import Ledger
from orchestrator.messages import StageRequested
from orchestrator.pipelines import JobSpec
from orchestrator.reply import DONE, again
from orchestrator.run import Attempt, Run
from orchestrator.services import Handling
from orchestrator.settings import Settings
from orchestrator.vertex import JobReading
from orchestrator.workflow import Finish, Hold, Launch, Observe, Step, Wait
from simulation.labelbox import MemoryLabelbox
from simulation.schedule import run_schedule
from simulation.vertex import MemoryVertex

FIRST_SEED = 70_000_000
MOST_SCHEDULES = 1500


def record_before_claim(patch: pytest.MonkeyPatch) -> None:
    """Create and record first, claim after: what every launcher does that has no claim."""

    def launch(handling: Handling, run: Run, step: Launch) -> None:
        services, ref = handling.services, step.ref
        job = services.jobs.create(job_request(run, ref, services.settings))
        handling.ledger.record(run.id, Launched(ref.stage, ref.job, ref.number, name=job.name))
        handling.ledger.record(run.id, Claimed(ref.stage, ref.job, ref.number, claim=step.claim))

    patch.setattr(advancing, "launch", launch)


def no_settle(patch: pytest.MonkeyPatch) -> None:
    """Nobody cancels a double: not who launched, not who saw the end, not the sweep."""
    for room in (launching, observing):
        patch.setattr(room, "settle", lambda *_: None)
    patch.setattr(reconcile, "_sweep", lambda *_: None)


def publish_before_record(patch: pytest.MonkeyPatch) -> None:
    """The first event is sent before the run is accepted."""

    accept = Ledger.accept

    def eager(handling: Handling, run_id: RunId, model_type: str, accepted: Accepted) -> bool:
        stage = handling.services.pipelines[model_type].stages[0]
        handling.publish_stage(StageRequested(run_id, stage.name), stage.topic)
        return accept(handling.ledger, run_id, accepted)

    begin = webhook._look_up
    current: list[Handling] = []

    def look_up(handling: Handling, model_run_id: str) -> Any:
        found = begin(handling, model_run_id)
        current[:] = [handling]
        return found

    patch.setattr(webhook, "_look_up", look_up)
    patch.setattr(Ledger, "accept", lambda _self, run, accepted: eager(current[0], run, accepted.model_type, accepted))
    patch.setattr(webhook, "_publish_first", lambda *_: None)


def publish_before_ended(patch: pytest.MonkeyPatch) -> None:
    """The next stage is asked for before the end that makes it possible is recorded, and not after."""

    def ahead(handling: Handling, run: Run, step: Observe) -> bool:
        names = [stage.name for stage in run.pipeline.stages]
        following = names[names.index(step.attempt.ref.stage) + 1 :]
        if following:
            stage = next(item for item in run.pipeline.stages if item.name == following[0])
            handling.publish_stage(StageRequested(run.id, stage.name), stage.topic)
        return observing.observe(handling, run, step)

    patch.setattr(hints, "observe", ahead)
    patch.setattr(hints, "advance", lambda *_, **__: DONE)


def believe_the_hint(patch: pytest.MonkeyPatch) -> None:
    """A hint of an end is taken for the end."""

    def believe(handling: Handling, run: Run, step: Observe) -> bool:
        ref = step.attempt.ref
        ended = Ended(ref.stage, ref.job, ref.number, state="SUCCEEDED", outputs={"out": "x", "model": "x"})
        handling.ledger.record(run.id, ended)
        return True

    patch.setattr(hints, "observe", believe)


def no_takeover(patch: pytest.MonkeyPatch) -> None:
    """A claim is its handler's for ever."""
    real = workflow._step_of_claims

    def step_of_claims(attempt: Any, topic: str, now: Any, settings: Any) -> Any:
        step = real(attempt, topic, now, settings)
        if isinstance(step, Launch) and attempt.claims and not attempt.claims[-1].refused:
            return Hold(now + timedelta(hours=1))
        return step

    patch.setattr(workflow, "_step_of_claims", step_of_claims)


def list_live_jobs_only(patch: pytest.MonkeyPatch) -> None:
    """A job that has ended already is not found, and so made again."""
    real = MemoryVertex.find

    def find(self: MemoryVertex, kind: str, attempt_id: str) -> list[JobReading]:
        return [job for job in real(self, kind, attempt_id) if not job.terminal]

    patch.setattr(MemoryVertex, "find", find)


def sweep_what_is_not_recorded(patch: pytest.MonkeyPatch) -> None:
    """The sweep takes a job whose launch is not recorded yet for a stray."""

    def sweep(handling: Handling, run: Run, jobs: Any) -> None:
        for job in jobs:
            attempt = run.attempt_by_id(job.labels["lb_attempt"])
            launched = attempt.launched if attempt else None
            if run.finished or launched is None or launched.name != job.name:
                handling.services.jobs.cancel(job.name)

    patch.setattr(reconcile, "_sweep", sweep)


def nack_early_hints_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A hint that claims an end is refused until the job has ended."""
    patch.setattr(hints, "_early", lambda *_: again("the job has not ended yet"))


def drop_the_marker_early(patch: pytest.MonkeyPatch) -> None:
    """A finished run is closed, told or not."""
    patch.setattr(reconcile, "_close", lambda handling, run, now: handling.ledger.unmark_active(run.id))


def send_without_checking(patch: pytest.MonkeyPatch) -> None:
    """A status is sent, and nobody looks whether it is still what Labelbox should show."""
    patch.setattr(reconcile, "told_last", lambda *_: True)


def spend_beyond_the_cap(patch: pytest.MonkeyPatch) -> None:
    """Nobody adds up what a run has used before its next launch."""
    patch.setattr(workflow, "launch_problem", lambda *_: None)


def go_on_without_a_model_run(patch: pytest.MonkeyPatch) -> None:
    """A model run that Labelbox does not know is told nothing, and its jobs go on."""
    patch.setattr(telling, "is_gone", lambda *_: False)
    patch.setattr(reconcile, "look_for_deleted", lambda *_: None)


def take_an_unknown_answer_for_a_deletion(patch: pytest.MonkeyPatch) -> None:
    """A Labelbox that does not answer is taken for one that has no such model run."""

    def is_gone(handling: Handling, run: Run) -> bool:
        try:
            return real(handling, run)
        except LabelboxUnavailable:
            return True

    real = deleted_runs.is_gone
    for room in (telling, deleted_runs):
        patch.setattr(room, "is_gone", is_gone)


def take_over_what_never_ended(patch: pytest.MonkeyPatch) -> None:
    """A run that goes on from a stage takes over an end that its own older run did not have."""
    real = retrying._accepted

    def accepted(*arguments: Any) -> Accepted:
        made = real(*arguments)
        reused = {name: {**end, "outputs": {"out": "gs://elsewhere"}} for name, end in made.reused.items()}
        return replace(made, reused=reused)

    patch.setattr(retrying, "_accepted", accepted)


def claim_before_quota_may_be_back(patch: pytest.MonkeyPatch) -> None:
    """A job that was refused for quota is asked for again at once."""
    real = workflow._step_of_claims

    def step_of_claims(attempt: Attempt, topic: str, now: datetime, settings: Settings) -> Step:
        step = real(attempt, topic, now, settings)
        following = Launch(attempt.ref, attempt.claims[-1].number + 1, topic) if attempt.claims else step
        return following if isinstance(step, Wait) else step

    patch.setattr(workflow, "_step_of_claims", step_of_claims)


def retry_without_waiting(patch: pytest.MonkeyPatch) -> None:
    """A job that failed is tried again at once."""
    real = workflow._after_end

    def after_end(attempt: Attempt, ended: Ended, job: JobSpec, topic: str, now: datetime) -> Step | None:
        return real(attempt, replace(ended, not_before=None), job, topic, now)

    patch.setattr(workflow, "_after_end", after_end)


def launch_what_was_cancelled(patch: pytest.MonkeyPatch) -> None:
    """A cancel is acted on only once the job is there."""
    real = workflow.next_step

    def next_step(run: Run, now: datetime, settings: Settings) -> Step:
        return real(run if run.attempts.keys() >= _every_job(run) else replace(run, cancel=None), now, settings)

    for room in (advancing, hints, reconcile, dead_letters):
        patch.setattr(room, "next_step", next_step)
    patch.setattr(launching, "may_create", lambda *_: True)


def _every_job(run: Run) -> set[tuple[str, str]]:
    return {(stage.name, job.name) for stage, job in run.pipeline.jobs()}


def say_nobody_cancelled(patch: pytest.MonkeyPatch) -> None:
    """A cancelled run ends as failed, and not with who cancelled it."""
    patch.setattr(workflow, "_cancelled", lambda *_: Finish(Finished("FAILED", "The run was stopped")))


def tell_labelbox_no_reason(patch: pytest.MonkeyPatch) -> None:
    """Labelbox is told that a run failed, and not why."""
    real = MemoryLabelbox.tell
    told = lambda self, run, telling: real(self, run, replace(telling, error_message=""))  # noqa: E731
    patch.setattr(MemoryLabelbox, "tell", told)


def forget_what_was_changed(patch: pytest.MonkeyPatch) -> None:
    """A run that goes on from a stage has the parameters of the run before it."""
    real = retrying._accepted
    patch.setattr(
        retrying, "_accepted", lambda handling, older, pipeline, stage, _: real(handling, older, pipeline, stage, {})
    )


def launch_with_another_parameter(patch: pytest.MonkeyPatch) -> None:
    """A job is asked for with a parameter that is not the run's."""

    def request(run: Run, ref: AttemptRef, settings: Settings) -> JobRequest:
        assert run.configured
        return job_request(
            replace(run, configured=replace(run.configured, parameters={"seed": -1, "threshold": -1})), ref, settings
        )

    patch.setattr(launching, "job_request", request)


def admit_a_crowd(patch: pytest.MonkeyPatch) -> None:
    """Nobody counts the runs that are under way."""
    patch.setattr(configuring, "_crowd_problems", lambda *_: [])


RULES: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (record_before_claim, "was doubled by handlers that were in time"),
    (no_settle, "still runs"),
    (publish_before_record, "kept under dead/"),
    (publish_before_ended, "late, and nothing was wrong"),
    (believe_the_hint, "`ended` says SUCCEEDED"),
    (no_takeover, "never ended"),
    (list_live_jobs_only, "was doubled by handlers that were in time"),
    (sweep_what_is_not_recorded, "cancelled without a reason"),
    (nack_early_hints_for_ever, "a hint was refused"),
    (drop_the_marker_early, "Labelbox shows"),
    (send_without_checking, "Labelbox shows"),
    (spend_beyond_the_cap, "beyond the cap"),
    (go_on_without_a_model_run, "on long after its model run had been deleted"),
    (take_an_unknown_answer_for_a_deletion, "and Labelbox has its model run"),
    (take_over_what_never_ended, "which the run before it did not end with"),
    (claim_before_quota_may_be_back, "did not wait for quota"),
    (retry_without_waiting, "did not wait as long as a retry waits"),
    (launch_what_was_cancelled, "after the run had been cancelled"),
    (say_nobody_cancelled, "FAILED without a reason: The run was stopped"),
    (tell_labelbox_no_reason, "Labelbox says"),
    (forget_what_was_changed, "it was asked for with"),
    (launch_with_another_parameter, "and the facts say"),
    (admit_a_crowd, "were under way at once"),
]


@pytest.mark.parametrize(("break_rule", "words"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_a_broken_rule_is_caught(
    break_rule: Callable[[pytest.MonkeyPatch], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_rule(monkeypatch)
    seen: set[str] = set()
    for seed in range(FIRST_SEED, FIRST_SEED + MOST_SCHEDULES):
        broken = run_schedule(seed).findings.broken
        seen.update(broken)
        if any(words in text for text in broken):
            return
    pytest.fail(f"not one of {MOST_SCHEDULES} schedules saw that {words!r}; seen: {sorted(seen)[:5]}")


def test_the_same_schedules_hold_with_every_rule_kept() -> None:
    broken = [run_schedule(seed).findings.broken for seed in range(FIRST_SEED, FIRST_SEED + 100)]
    assert not [text for texts in broken for text in texts]
