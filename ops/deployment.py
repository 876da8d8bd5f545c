"""A deployment as the commands reach it: the functions' own ports, and what only an operator needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from ops.google_rest import GoogleRest
from ops.job_logs import JobLogs
from ops.topics import Topics
from ops.vertex_leftovers import Leftovers
from orchestrator.ledger import Ledger
from orchestrator.secret_store import SecretReader
from orchestrator.services import Services
from orchestrator.settings import Settings


@dataclass(frozen=True)
class Deployment:
    """Everything that commands touch. `is_local`: the embedded cloud of this machine.

    `find_coordinator` gives the coordinator's address, or raises OpsError; it is asked once, when first needed.
    """

    services: Services
    find_coordinator: Callable[[], str]
    job_logs: JobLogs
    topics: Topics
    leftovers: Leftovers
    secret_reader: Callable[[str], SecretReader]
    rest: GoogleRest = field(default_factory=GoogleRest)
    is_local: bool = False

    @property
    def settings(self) -> Settings:
        """The deployment's settings, as far as they are known here."""
        return self.services.settings

    @cached_property
    def ledger(self) -> Ledger:
        """The facts of all runs. What this process has read of them it reads only once."""
        return Ledger(self.services.store, self.services.new_writer())

    @cached_property
    def coordinator_url(self) -> str:
        """The address that Labelbox calls, without a slash at its end."""
        return self.find_coordinator().rstrip("/")

    @property
    def title(self) -> str:
        """What a person calls it."""
        where = "embedded cloud of this machine" if self.is_local else f"project {self.settings.google_cloud_project}"
        return f"deployment {self.settings.deployment_name}, {where}"

    def close(self) -> None:
        """Close what connections there are."""
        for port in (self.topics, self.leftovers, self.services.publisher, self.services.jobs):
            if close := getattr(port, "close", None):
                close()
