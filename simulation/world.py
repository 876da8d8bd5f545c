"""The world of one schedule: the engine's functions, the services around them, users, a scheduler, and deploys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator import logs
from orchestrator.errors import BadRequest, Unavailable
from orchestrator.identities import RunId
from orchestrator.ledger import FactMemory
from orchestrator.retrying import retry_from
from orchestrator.secret_store import FixedSecret
from orchestrator.services import Services
from orchestrator.settings import Settings
from orchestrator.signature import sign
from orchestrator.steering import cancel
from orchestrator.webhook import Request, answer
from simulation.bucket import MemoryBucket
from simulation.deployment import AUTOML, SETTINGS, THREE_STAGES, pipelines
from simulation.faults import Dice, Fault
from simulation.gate import Gate
from simulation.labelbox import MemoryLabelbox
from simulation.pubsub import JOB_STATE, TICK, MemoryPubSub
from simulation.registry import MemoryRegistry
from simulation.threads import Threads
from simulation.timeline import Timeline
from simulation.vertex import MemoryVertex, SimulatedJob

LONGEST_STALL_HOLDS = 3
BAD_CONFIGS: tuple[dict[str, Any], ...] = ({"seed": "many"}, {"no_such_parameter": 1})
# Machine hours: AutoML's budget of 8 and a last job's limit of 4 pass the lower ones, retries the higher.
_CAPS = (4.2, 5.0, 9.0, 12.5)
_PERIODS_S = (60.0, 180.0, 300.0, 300.0)
_REPAIRS = frozenset(
    {
        "Reconcile goes on with a run",
        "Reconcile found a job's end",
        "Cancelled a job that should not run",
        "Corrected the status in Labelbox",
        "Closed a request that was never accepted",
    }
)


class World:
    """Everything of one schedule. `bodies` are the requests that users have sent, by model run."""

    def __init__(self, dice: Dice, trace: bool = False) -> None:
        self.dice = dice
        self.timeline = Timeline()
        self.threads = Threads(self.timeline)
        random = dice.random
        self.settings = self._bounded(replace(SETTINGS, reconcile_period_s=random.choice(_PERIODS_S)))
        hold_s = self.settings.claim_hold_s
        self.gate = Gate(self.timeline, self.threads, dice, LONGEST_STALL_HOLDS * hold_s)
        if trace:
            self.gate.trace = []
        self.bucket = MemoryBucket(self.timeline, self.gate, dice)
        self.vertex = MemoryVertex(self.timeline, self.gate, self.threads, dice, self.bucket, hold_s)
        self.vertex.function_timeout_s = self.settings.function_timeout_s
        self.labelbox = MemoryLabelbox(self.gate)
        self.pubsub = MemoryPubSub(self.timeline, self.gate, self.threads, dice)
        self.posts = 0
        self.repairs = 0
        self.deploys = 0
        self.instances = 0
        self.calm_since_s: float | None = None
        self.bodies: dict[str, bytes] = {}
        self.changes: dict[RunId, dict[str, Any]] = {}  # parameters that somebody changed for a run
        self._writers = 0
        self._several_instances = random.random() < 0.25
        self._services = self._deployment()
        self.gate.on_event = self._come_between
        self.pubsub.services = self._instance
        self.bucket.on_created = self._notify
        self.vertex.on_ended = self._log_end
        self.vertex.is_stray = self.is_stray
        logs.redirect(self._log)

    def _bounded(self, settings: Settings) -> Settings:
        """The limits of this schedule's deployment."""
        random = self.dice.random
        if self.dice.happens(Fault.LIMITED):
            few = random.choice((1, 2))
            settings = replace(settings, max_active_runs=few, max_runs_per_day=random.choice((few, 100)))
        if self.dice.happens(Fault.CAPPED):
            settings = replace(settings, max_run_hours=random.choice(_CAPS))
        return settings

    @property
    def accepted_runs(self) -> int:
        """How many runs there are, of all model runs."""
        return sum(1 for _ in self.bucket.run_folders())

    def _deployment(self) -> tuple[Services, Services]:
        """Two instances of the functions, which are one in most schedules."""
        variant = self.deploys % 2
        first = Services(
            settings=replace(self.settings, image_tag=f"v{self.deploys}") if self.deploys else self.settings,
            pipelines=pipelines(variant),
            store=self.bucket,
            publisher=self.pubsub,
            jobs=self.vertex,
            labelbox=self.labelbox,
            images=MemoryRegistry(self.gate, lambda: self.deploys),
            signing_secret=FixedSecret(self.settings.service_secret),
            now=self.timeline.now,
            sleep=self.threads.pause,
            reached=self.gate.reached,
            new_writer=self._new_writer,
            new_run_key=lambda: f"{self.dice.random.getrandbits(48):012x}",
        )
        self.instances += 1 + self._several_instances
        return first, replace(first, memory=FactMemory()) if self._several_instances else first

    def _instance(self) -> Services:
        """One of the warm instances: what one has read, the other has not."""
        first, second = self._services
        return second if first is not second and self.dice.random.random() < 0.5 else first

    def _new_writer(self) -> str:
        self._writers += 1
        return f"writer-{self._writers}"

    # What goes on by itself.

    def begin(self) -> None:
        """The users' first requests, the scheduler, and what this seed draws to happen at fixed times."""
        random = self.dice.random
        self._press("mr-1", random.choice((THREE_STAGES, THREE_STAGES, AUTOML)))
        if random.random() < 0.2:
            self.timeline.after(random.random() * 600.0, self._press, "mr-2", THREE_STAGES)
        for fault, latest_s in (
            (Fault.DELETED, 4000.0),
            (Fault.REPOST, 4000.0),
            (Fault.RETRY, 4000.0),
            (Fault.DEPLOY, 2000.0),
            (Fault.CANCEL, 2500.0),
        ):
            if fault in self.dice.enabled and random.random() < 0.3:
                self.dice.happened[fault] += 1
                self.timeline.after(random.random() * latest_s, self._come_between, fault)
        while self.dice.happens(Fault.WRONG_HINT):
            self.timeline.after(random.random() * 3000.0, self._wrong_hint)
        self.timeline.background(random.random() * self.settings.reconcile_period_s, self._tick)

    def _tick(self) -> None:
        self.pubsub.send(JOB_STATE, TICK)
        self.timeline.background(self.settings.reconcile_period_s, self._tick)

    def _press(self, model_run_id: str, model_type: str) -> None:
        """Somebody presses "Train model"."""
        payload = {"modelRunId": model_run_id, "modelId": "m", "modelType": model_type}
        self.bodies[model_run_id] = json.dumps(payload).encode()
        if self.dice.happens(Fault.BAD_CONFIG):
            self.labelbox.configs[model_run_id] = self.dice.random.choice(BAD_CONFIGS)
        self._post(model_run_id)

    def _post(self, model_run_id: str) -> None:
        self.posts += 1
        services, body = self._instance(), self.bodies[model_run_id]
        headers = {"x-hub-signature": sign(body, services.settings.service_secret)}
        request = Request("POST", "/model_run", headers, lambda limit: body[:limit])
        self.gate.note(f"POST {body.decode()}")

        def ended(status: int | None) -> None:
            self.gate.note(f"answers {status}")
            if (status is None or status >= 500) and self.dice.random.random() < 0.7:
                self.timeline.after(10.0 + self.dice.random.random() * 120.0, self._post, model_run_id)

        forget = services.memory.clear
        self.threads.start("coordinator", lambda: answer(services.begin(), request).status, ended, forget)

    def _come_between(self, event: Fault) -> None:
        """Something happens between two steps of a handler."""
        random = self.dice.random
        if event is Fault.TICK:
            self.timeline.after(0.0, self.pubsub.send, JOB_STATE, TICK)
        elif event is Fault.REPOST:
            self.timeline.after(0.0, self._post, random.choice(sorted(self.bodies)))
        elif event is Fault.DEPLOY:
            self.deploys += 1
            self._services = self._deployment()
            self.gate.note(f"*** deployed version {self.deploys}")
        elif event is Fault.DELETED:
            deleted = random.choice(sorted(self.bodies))
            self.labelbox.deleted.setdefault(deleted, self.timeline.now_s)
            self.gate.note(f"*** {deleted} is deleted in Labelbox")
        elif event is Fault.RETRY:
            self.timeline.after(0.0, self._retry, random.choice(sorted(self.bodies)))
        elif event is Fault.CANCEL:
            self.timeline.after(0.0, self._cancel, RunId(random.choice(sorted(self.bodies)), random.choice((1, 1, 2))))

    def _cancel(self, run: RunId) -> None:
        services = self._instance()
        self.gate.note(f"a user cancels {run}")
        self.posts += 1

        def work() -> int:
            try:
                return 200 if cancel(services.begin(), run, "ada") else 404
            except Unavailable:
                return 503

        def ended(status: int | None) -> None:
            self.gate.note(f"answers {status}")
            if status == 503 or (status is None and self.dice.random.random() < 0.7):
                self.timeline.after(30.0, self._cancel, run)

        self.threads.start("cancel", work, ended, services.memory.clear)

    def _retry(self, model_run_id: str) -> None:
        """Somebody goes on from a stage of the newest run, with another parameter."""
        numbers = self.bucket.names_of_folders(f"facts/runs/{model_run_id}/")
        run = RunId(model_run_id, max(map(int, numbers), default=1))
        services, random = self._instance(), self.dice.random
        stage = random.choice(("etl", "train", "inference", "scoring"))
        changes = {random.choice(("seed", "threshold")): random.randint(1, 9)}
        self.gate.note(f"retry {run} from {stage} with {changes}")
        self.posts += 1

        def work() -> int:
            try:
                self.changes[retry_from(services.begin(), run, stage, changes)] = changes
            except Unavailable:
                return 503
            except BadRequest as error:
                self.gate.note(error.sentence)
                return 400
            return 202

        ended = lambda status: self.gate.note(f"answers {status}")  # noqa: E731
        self.threads.start("retry", work, ended, services.memory.clear)

    def _wrong_hint(self) -> None:
        run = RunId(self.dice.random.choice(sorted(self.bodies)), 1)
        self.pubsub.send(JOB_STATE, json.dumps({"version": 1, "kind": "job_ended", "run": str(run)}).encode())

    def _notify(self, name: str) -> None:
        self.pubsub.send(JOB_STATE, b"{}", {"eventType": "OBJECT_FINALIZE", "objectId": name})

    def _log_end(self, job: SimulatedJob) -> None:
        if job.kind == "CustomJob":
            entry = {"resource": {"type": "ml_job", "labels": {"job_id": job.reading.number}}}
            self.pubsub.send(JOB_STATE, json.dumps(entry).encode())

    def is_stray(self, job: SimulatedJob) -> bool:
        """Whether a job should not run: its run has finished, or its attempt has launched another."""
        if self.bucket.content(job.run.facts + "finished.json"):
            return True
        stage, name, number = job.ref
        launched = self.bucket.content(f"{job.run.facts}jobs/{stage}/{name}/{number}/launched.json")
        return launched is not None and json.loads(launched)["fact"]["name"] != job.reading.name

    def _log(self, severity: str, message: str, fields: Mapping[str, Any]) -> None:
        if message in _REPAIRS:
            self.repairs += 1
        if self.gate.trace is not None:
            words = " ".join(f"{key}={value}" for key, value in fields.items())
            self.gate.note(f"{severity.lower()}: {message} {words}")
