"""What a check of `doctor` is, and what becomes of looking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ops.deployment import Deployment
from ops.errors import OpsError
from orchestrator.errors import ServiceError

TESTED = "tested over the wire"
UNSEEN = "not yet seen in a real account"
APPLY = "terraform apply (terraform/)"


class Fault(OpsError):
    """Something is not as a deployment needs it; the hint is the remedy."""


class Skipped(Exception):
    """There is nothing to check here; the text says why."""


@dataclass(frozen=True)
class Check:
    """One check. `look` gives what was found, or raises Fault or Skipped. `seen`: how far the check itself is proven:
    against what stands in for the service over the wire, or not yet against anything but documents."""

    name: str
    look: Callable[[Deployment], str]
    seen: str = TESTED


@dataclass(frozen=True)
class Finding:
    """What a check found: `state` is ok, failed or skipped."""

    check: str
    state: str
    detail: str
    remedy: str
    seen: str


def examine(deployment: Deployment, check: Check) -> Finding:
    """Look, and put whatever happens into a finding. Changes nothing but an object of its own, which it removes."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        return Finding(check.name, "ok", check.look(deployment), "", check.seen)
    except Skipped as skipped:
        return Finding(check.name, "skipped", str(skipped), "", check.seen)
    except OpsError as error:
        return Finding(check.name, "failed", str(error), error.hint, check.seen)
    except ServiceError as error:
        remedy = error.hint or "is its API enabled, and may your account use it?"
        return Finding(check.name, "failed", error.sentence, remedy, check.seen)
    except (GoogleAPIError, GoogleAuthError) as error:
        remedy = "gcloud auth application-default login, or ask for the right to look"
        return Finding(check.name, "failed", f"{type(error).__name__}: {error}", remedy, check.seen)
