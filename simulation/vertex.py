"""Vertex AI in memory: jobs that run for a drawn time, lists that lag, cancels that take their time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.errors import LaunchRefused, LaunchUnsure, Unavailable
from orchestrator.identities import RunId, run_of_labels
from orchestrator.job_requests import JobRequest
from orchestrator.vertex import JobReading
from simulation.bucket import MemoryBucket
from simulation.faults import Dice, Fault
from simulation.gate import CALL_DEADLINE_S, Gate
from simulation.threads import Threads
from simulation.timeline import Timeline

PARENT = "projects/simulated/locations/here"
LONGEST_LAG_S = 30.0
_COLLECTIONS = {
    "CustomJob": "customJobs",
    "TrainingPipeline": "trainingPipelines",
    "BatchPredictionJob": "batchPredictionJobs",
}
_FAILURES = ("transient", "bad_data", "preempted", "no result")


@dataclass(eq=False)
class SimulatedJob:
    """One job: what it will come to, and every state it has had."""

    kind: str
    attempt_id: str
    run: RunId
    creator_outlived: bool
    body: dict[str, Any]
    failure: str
    history: list[tuple[float, JobReading]] = field(default_factory=list)
    cancels_s: list[float] = field(default_factory=list)

    @property
    def ref(self) -> tuple[str, str, int]:
        """Stage, job and number of the attempt: none of our names holds a hyphen but as a separator."""
        stage, job, number, _ = self.attempt_id.split("-")
        return stage, job, int(number)

    @property
    def reading(self) -> JobReading:
        """The job as it is now."""
        return self.history[-1][1]

    def reading_at(self, time_s: float) -> JobReading | None:
        """The job as it was at a time; None before it was created."""
        return next((reading for since_s, reading in reversed(self.history) if since_s <= time_s), None)


class MemoryVertex:
    """The Jobs port."""

    def __init__(
        self, timeline: Timeline, gate: Gate, threads: Threads, dice: Dice, bucket: MemoryBucket, hold_s: float
    ) -> None:
        self._timeline, self._gate, self._threads, self._dice, self._bucket = timeline, gate, threads, dice, bucket
        self._hold_s = hold_s
        self.function_timeout_s = 0.0
        self.by_name: dict[str, SimulatedJob] = {}
        self.by_attempt: dict[str, list[SimulatedJob]] = {}
        self.refused_for_good: set[RunId] = set()
        self.asked = 0  # creates that arrived, refused ones too
        self.is_stray: Callable[[SimulatedJob], bool] = lambda _job: False
        self.on_ended: Callable[[SimulatedJob], None] = lambda _job: None
        self._listed: dict[str, SimulatedJob] = {}  # live, or ended less than the longest lag ago

    def create(self, request: JobRequest) -> JobReading:
        """See Jobs."""
        self.asked += 1
        fault = self._gate.effect("vertex.create", "")
        labels = request.body["labels"]
        run = run_of_labels(labels)
        assert run is not None
        if fault is Fault.REFUSED:
            raise LaunchUnsure("Vertex answered 500")
        if self._dice.happens(Fault.QUOTA):
            raise LaunchRefused("429 quota exceeded", quota=True)
        if self._dice.happens(Fault.SURE_NO):
            self.refused_for_good.add(run)
            raise LaunchRefused("400 no such machine", quota=False)
        job = self._begin(request, run)
        if fault is Fault.ANSWER_LOST:
            raise LaunchUnsure("Vertex did not answer a create")
        reading = job.history[0][1]
        self._gate.applied("vertex.create", "")
        return reading

    def _begin(self, request: JobRequest, run: RunId) -> SimulatedJob:
        thread, body = self._threads.current, request.body
        assert thread is not None
        age_s = self._timeline.now_s - thread.began_s
        job = SimulatedJob(
            kind=request.kind,
            attempt_id=body["labels"]["lb_attempt"],
            run=run,
            creator_outlived=age_s > self.function_timeout_s + CALL_DEADLINE_S,
            body=body,
            failure=self._dice.random.choice(_FAILURES) if self._dice.happens(Fault.JOB_FAILS) else "",
        )
        name = f"{PARENT}/{_COLLECTIONS[request.kind]}/{1000 + len(self.by_name)}"
        reading = JobReading(name, "RUNNING", self._timeline.now(), labels=body["labels"])
        job.history.append((self._timeline.now_s, reading))
        self.by_name[name] = self._listed[name] = job
        self.by_attempt.setdefault(job.attempt_id, []).append(job)
        self._gate.changed()
        self._schedule(job)
        return job

    def _schedule(self, job: SimulatedJob) -> None:
        """Its last word comes up to 30 s before Vertex says that it ended; a job may be over before its create's
        answer arrives."""
        random, shape = self._dice.random, self._dice.random.random()
        if shape < 0.15:
            self._last_word(job)
            self._end(job)
            return
        holds = 1.0 if shape < 0.75 else 3.0 if shape < 0.93 else 10.0
        length_s = random.random() * holds * self._hold_s
        if job.kind == "CustomJob":
            if random.random() < 0.3:
                self._timeline.after(length_s * random.random(), self._phase, job)
            self._timeline.after(max(0.0, length_s - random.random() * 30.0), self._last_word, job)
        self._timeline.after(length_s, self._end, job)

    def _folder(self, job: SimulatedJob) -> str:
        return f"endings/{job.run.slug}/{job.run.number}/{job.attempt_id}/{job.reading.number}/"

    def _phase(self, job: SimulatedJob) -> None:
        if not job.reading.terminal:
            self._bucket.put(self._folder(job) + "phase-PREPARING_DATA.json", b'{"version": 1}')

    def _last_word(self, job: SimulatedJob) -> None:
        if job.kind != "CustomJob" or job.reading.terminal or job.failure in ("preempted", "no result"):
            return
        if job.failure:
            error = {"version": 1, "sentence": f"It failed: {job.failure}", "kind": job.failure, "hint": "mend it"}
            self._bucket.put(self._folder(job) + "error.json", json.dumps(error).encode())
        else:
            result = {"version": 1, "outputs": {"out": f"gs://bucket/{job.reading.number}"}}
            self._bucket.put(self._folder(job) + "result.json", json.dumps(result).encode())

    def _end(self, job: SimulatedJob) -> None:
        if job.reading.terminal:
            return
        if self.is_stray(job):
            # The worst case of a job that should not run: it never ends by itself.
            return
        if job.failure and not (job.failure == "no result" and job.kind == "CustomJob"):
            message = "The replica was preempted" if job.failure == "preempted" else "exit code 1"
            self._become(job, replace(job.reading, state="FAILED", error_message=message))
            return
        outputs = {
            "CustomJob": {},
            "TrainingPipeline": {"model": f"models/{job.reading.number}"},
            "BatchPredictionJob": {"predictions": f"gs://bucket/{job.reading.number}/"},
        }[job.kind]
        self._become(job, replace(job.reading, state="SUCCEEDED", outputs=outputs))

    def _become(self, job: SimulatedJob, reading: JobReading) -> None:
        job.history.append((self._timeline.now_s, reading))
        self._gate.changed()
        self._gate.note(f"job {reading.number} is {reading.state}")
        if reading.terminal:
            self._timeline.after(LONGEST_LAG_S, self._forget, reading.name)
            self.on_ended(job)

    def _forget(self, name: str) -> None:
        self._listed.pop(name, None)

    def cancel(self, name: str) -> None:
        """See Jobs. It takes up to a minute, in which the job may still end by itself."""
        fault = self._gate.effect("vertex.cancel", "")
        if fault is Fault.REFUSED:
            raise Unavailable("Vertex did not take a cancel")
        job = self.by_name[name]
        if not job.reading.terminal:
            job.cancels_s.append(self._timeline.now_s)
            if job.reading.state != "CANCELLING":
                self._become(job, replace(job.reading, state="CANCELLING"))
                self._timeline.after(self._dice.random.random() * 60.0, self._cancelled, job)
        if fault is Fault.ANSWER_LOST:
            raise Unavailable("Vertex did not answer a cancel")
        self._gate.applied("vertex.cancel", "")

    def _cancelled(self, job: SimulatedJob) -> None:
        if not job.reading.terminal:
            self._become(job, replace(job.reading, state="CANCELLED"))

    def get(self, name: str) -> JobReading | None:
        """See Jobs."""
        if self._gate.read("vertex.get", ""):
            raise Unavailable("Vertex did not read a job")
        job = self.by_name.get(name)
        return job.reading if job else None

    def find(self, kind: str, attempt_id: str) -> list[JobReading]:
        """See Jobs."""
        if self._gate.read("vertex.find", ""):
            raise Unavailable("Vertex did not list jobs")
        return self._as_listed(self.by_attempt.get(attempt_id, ()))

    def running(self, deployment: str) -> list[JobReading]:
        """See Jobs."""
        if self._gate.read("vertex.running", ""):
            raise Unavailable("Vertex did not list jobs")
        return [reading for reading in self._as_listed(self._listed.values()) if not reading.terminal]

    def _as_listed(self, jobs: Iterable[SimulatedJob]) -> list[JobReading]:
        lag_s = LONGEST_LAG_S * self._dice.random.random() if self._dice.happens(Fault.STALE_LIST) else 0.0
        since_s = self._timeline.now_s - lag_s
        readings = (job.reading_at(since_s) for job in jobs)
        return [reading for reading in readings if reading is not None]

    def live(self) -> list[SimulatedJob]:
        """Every job that runs now, for the invariants."""
        return [job for job in self.by_name.values() if not job.reading.terminal]
