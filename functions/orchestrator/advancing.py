"""Advancing a run: load its facts, take the next step, again until there is nothing to do now."""

from __future__ import annotations

from datetime import UTC

from orchestrator import logs
from orchestrator.configuring import configure
from orchestrator.errors import UnreadableMessage
from orchestrator.facts import Finished
from orchestrator.identities import RunId
from orchestrator.launching import launch
from orchestrator.messages import StageRequested
from orchestrator.observing import observe
from orchestrator.reply import DONE, Reply, again
from orchestrator.run import Run
from orchestrator.services import Handling
from orchestrator.telling import tell
from orchestrator.workflow import Configure, Finish, Hold, Launch, Observe, Step, next_step

_MOST_STEPS = 12


def advance(handling: Handling, run_id: RunId, topic: str | None) -> Reply:
    """Go on with a run as far as it goes now. `topic` is the one whose stages may be launched here; a step that
    belongs to another is asked for by a message to its own topic.

    Safe to repeat: each step is decided from the facts as they are.
    """
    services = handling.services
    for _ in range(_MOST_STEPS):
        run = handling.ledger.load(run_id)
        if run is None:
            raise UnreadableMessage(f"There is no run {run_id}")
        step = next_step(run, services.now(), services.settings)
        if isinstance(step, Configure):
            configure(handling, run)
        elif isinstance(step, Finish):
            finish(handling, run, step.finished)
        elif isinstance(step, Launch) and step.topic == topic:
            launch(handling, run, step)
        elif not (isinstance(step, Observe) and step.stop and observe(handling, run, step)):
            return _rest(handling, run, step)
    return again("the run needs more steps than one request takes")


def _rest(handling: Handling, run: Run, step: Step) -> Reply:
    if isinstance(step, Hold):
        return again(f"a claim is alive until {step.until.astimezone(UTC):%H:%M:%S}")
    if isinstance(step, Launch):
        handling.publish_stage(StageRequested(run.id, step.ref.stage), step.topic)
    tell(handling, run.id)
    return DONE


def finish(handling: Handling, run: Run, finished: Finished) -> None:
    """End the run and leave no job of it running.

    Safe to repeat: `finished` has one winner, and a cancel repeated is a cancel.
    """
    handling.check_time()
    handling.services.reached("before-finished")
    # Marked first: until the run is closed, reconcile looks for jobs that outlive it.
    handling.ledger.mark_look(run.id)
    if handling.ledger.record(run.id, finished):
        severity = logs.info if finished.outcome == "COMPLETE" else logs.error
        severity("The run finished", run=run.id, status=finished.outcome, reason=finished.sentence)
    handling.services.reached("finished")
    for attempts in run.attempts.values():
        for attempt in attempts:
            if attempt.launched and not attempt.ended:
                handling.services.jobs.cancel(attempt.launched.name)
