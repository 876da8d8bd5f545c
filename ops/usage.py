"""What a run used of Vertex AI, in machine hours; and what that costs at prices that are handed in.

No price is known to this file: they change, and differ by region and contract (published.py has Google's own).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ops.errors import Misuse
from orchestrator.pipelines import AutoMLImageTraining
from orchestrator.run import Attempt, Run
from orchestrator.spending import SPOT, Job, ended_at, use_of
from orchestrator.templates import Scalar

PRICES_HINT = "docs/operating.md shows a price file"


@dataclass(frozen=True)
class Use:
    """Hours of one resource: a machine type, an accelerator type, or a node of a managed service.

    `at_most`: a budget, of which less may be billed.
    """

    resource: str
    hours: float
    spot: bool = False
    at_most: bool = False

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "resource": self.resource,
            "hours": round(self.hours, 4),
            "spot": self.spot,
            "at_most": self.at_most,
        }


def uses_of_job(job: Job, parameters: Mapping[str, Scalar], hours: float) -> list[Use]:
    """What one launch of a job uses if it takes `hours` from its launch to its end."""
    held = use_of(job, parameters, hours)
    budget = isinstance(job, AutoMLImageTraining)
    return [
        Use(name.removesuffix(SPOT), held.hours * number, name.endswith(SPOT), budget)
        for name, number in held.resources
    ]


def attempt_seconds(run: Run, attempt: Attempt, now: datetime) -> float | None:
    """From the launch to the recorded end (or now), waiting for a machine included; None before the launch."""
    if attempt.launched_at is None:
        return None
    return max(0.0, ((ended_at(run, attempt) or now) - attempt.launched_at).total_seconds())


def uses_of_run(run: Run, now: datetime) -> list[Use]:
    """What all attempts of a run used so far, summed by resource."""
    parameters = run.configured.parameters if run.configured else {}
    return summed(use for use in _each_use(run, parameters, now))


def _each_use(run: Run, parameters: Mapping[str, Scalar], now: datetime) -> Iterator[Use]:
    for (stage, name), attempts in run.attempts.items():
        job = run.pipeline.find(stage, name)[1]
        for attempt in attempts:
            seconds = attempt_seconds(run, attempt, now)
            if seconds is not None:
                yield from uses_of_job(job, parameters, seconds / 3600)


def summed(uses: Iterable[Use]) -> list[Use]:
    """One entry a resource."""
    totals: dict[tuple[str, bool, bool], float] = {}
    for use in uses:
        key = (use.resource, use.spot, use.at_most)
        totals[key] = totals.get(key, 0.0) + use.hours
    return [Use(resource, hours, spot, at_most) for (resource, spot, at_most), hours in sorted(totals.items())]


@dataclass(frozen=True)
class Cost:
    """What uses cost. `amount` is None as long as a resource has no price; `missing` names those."""

    amount: float | None
    currency: str
    at_most: bool = False
    missing: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "amount": None if self.amount is None else round(self.amount, 4),
            "currency": self.currency,
            "at_most": self.at_most,
            "without_price": list(self.missing),
        }

    def __str__(self) -> str:
        if self.amount is None:
            return "unknown"
        return f"{'at most ' if self.at_most else ''}{self.amount:.2f} {self.currency}".strip()


@dataclass(frozen=True)
class Prices:
    """Prices by the hour, as the operator's file has them."""

    currency: str = ""
    per_hour: Mapping[str, float] | None = None
    spot_per_hour: Mapping[str, float] | None = None

    @classmethod
    def read(cls, file: Path) -> Prices:
        """A YAML (or JSON) file with `currency`, `per_hour` and `spot_per_hour`; Misuse that says what is wrong."""
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise Misuse(f"The price file {file} cannot be read: {error}", PRICES_HINT) from error
        known = {"currency", "per_hour", "spot_per_hour"}
        if not isinstance(content, dict) or content.keys() - known or not isinstance(content.get("currency"), str):
            raise Misuse(f"The price file {file} needs `currency`, and only {', '.join(sorted(known))}", PRICES_HINT)
        return cls(content["currency"], _hourly(file, content, "per_hour"), _hourly(file, content, "spot_per_hour"))

    def cost(self, uses: Iterable[Use]) -> Cost:
        """What these uses cost."""
        amount, at_most, missing = 0.0, False, list[str]()
        for use in uses:
            price = (self.spot_per_hour if use.spot else self.per_hour or {}) or {}
            if use.resource not in price:
                missing.append(f"{use.resource} (spot)" if use.spot else use.resource)
                continue
            amount += use.hours * price[use.resource]
            at_most = at_most or use.at_most
        return Cost(None if missing else amount, self.currency, at_most, tuple(missing))


def _hourly(file: Path, content: Mapping[str, Any], key: str) -> dict[str, float]:
    found = content.get(key) or {}
    numbers = isinstance(found, dict) and all(
        isinstance(price, int | float) and not isinstance(price, bool) and price >= 0 for price in found.values()
    )
    if not numbers:
        raise Misuse(f"The price file {file}: {key} must give a number for each resource", PRICES_HINT)
    return {str(name): float(price) for name, price in found.items()}
