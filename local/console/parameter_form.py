"""The parameters of a model type as a form: a field for each, and what was typed read back. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.parameters import Parameter, settle
from orchestrator.pipelines import Pipeline
from orchestrator.templates import Scalar, references

PREFIX = "p."  # of the fields' names, so that no parameter can take another field's


@dataclass(frozen=True)
class Field:
    """One parameter with its value and, after a wrong one, the problem."""

    name: str
    parameter: Parameter
    value: str
    problem: str = ""

    @property
    def key(self) -> str:
        """The name of the form's field."""
        return PREFIX + self.name

    @property
    def label(self) -> str:
        """The name for a person."""
        words = self.name.replace("_", " ")
        return words[:1].upper() + words[1:]

    @property
    def default(self) -> str:
        """What holds if nothing is changed."""
        return shown(self.parameter.default)

    @property
    def is_changed(self) -> bool:
        """Whether the value is another than the default."""
        return self.value != self.default

    @property
    def step(self) -> str:
        """Of a number's field: whole numbers, or any."""
        return "1" if self.parameter.type == "integer" else "any"

    @property
    def limits(self) -> str:
        """The bounds in words."""
        low, high = self.parameter.minimum, self.parameter.maximum
        if low is None and high is None:
            return ""
        if high is None:
            return f"at least {low:g}"
        return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def shown(value: object) -> str:
    """A value as a field has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def fields(
    declared: Mapping[str, Parameter], values: Mapping[str, Any], problems: Mapping[str, str] | None = None
) -> list[Field]:
    """The fields in the pipeline's order; `values` over the defaults."""
    return [
        Field(name, parameter, shown(values.get(name, parameter.default)), (problems or {}).get(name, ""))
        for name, parameter in declared.items()
    ]


@dataclass(frozen=True)
class Submitted:
    """A form that was sent: `typed` as it came, `values` in their types, problems by parameter, and those of none."""

    typed: Mapping[str, str]
    values: Mapping[str, Scalar]
    by_name: Mapping[str, str]
    others: tuple[str, ...]

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.by_name and not self.others


def read(declared: Mapping[str, Parameter], form: Mapping[str, str]) -> Submitted:
    """Settle what was typed as the engine will settle it; a box that is not ticked is not sent by browsers.

    An empty number means its default.
    """
    typed = {key.removeprefix(PREFIX): value.strip() for key, value in form.items() if key.startswith(PREFIX)}
    for name, parameter in declared.items():
        if parameter.type == "boolean":
            typed.setdefault(name, "false")
    given = {
        name: value for name, value in typed.items() if value or name not in declared or declared[name].type == "string"
    }
    values, problems = settle(declared, given)
    by_name, others = sort_problems(problems, declared)
    return Submitted(typed, {name: values[name] for name in given if name in values}, by_name, others)


def sort_problems(problems: Iterable[str], declared: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Problems in words, each to the parameter that it begins with or names; the others apart."""
    names = frozenset(declared)
    by_name: dict[str, str] = {}
    others: list[str] = []
    for problem in problems:
        named = [word for word in re.findall(r"[a-z][a-z0-9_]*", problem) if word in names]
        if problem.split(" ", 1)[0] in names and named[0] not in by_name:
            by_name[named[0]] = problem
        else:
            others.append(problem)
    return by_name, tuple(others)


def changed(
    declared: Mapping[str, Parameter], values: Mapping[str, Scalar], before: Mapping[str, Any]
) -> dict[str, Scalar]:
    """The values that differ from what held before."""
    return {name: value for name, value in values.items() if value != before.get(name, declared[name].default)}


def free_from(pipeline: Pipeline, stage: str) -> dict[str, Parameter]:
    """The parameters that a retry from a stage may change: those that no earlier stage used."""
    used: set[str] = set()
    for each, job in pipeline.jobs():
        if each.name == stage:
            break
        used.update((*references(list(job.templates())), *references(list(job.spending()))))
    return {name: parameter for name, parameter in pipeline.parameters.items() if f"parameters.{name}" not in used}
