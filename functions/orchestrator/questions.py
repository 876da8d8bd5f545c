"""Questions of a model run's ontology, and whether a parameter settles which of them is meant. Pure.

The ETL jobs choose by the same rules (`jobkit.ontology`); here they are asked before a machine is paid for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ANSWERED_BY_OPTIONS = ("radio", "checklist", "dropdown")
_SHOWN = 60


@dataclass(frozen=True)
class Question:
    """A classification question at the top of an ontology. `name` is what labelers read, `value` its other name."""

    feature_schema_id: str
    name: str
    value: str
    kind: str


def questions_of(normalized: Mapping[str, Any]) -> tuple[Question, ...]:
    """The questions with options, of an ontology in the form that Labelbox's GetOntology gives (`normalized`)."""
    return tuple(
        Question(
            str(item["featureSchemaId"]),
            str(item.get("instructions") or item.get("label") or item.get("name") or item.get("value") or ""),
            str(item.get("name") or ""),
            str(item.get("type", "")),
        )
        for item in normalized.get("classifications") or ()
        if isinstance(item, Mapping) and item.get("featureSchemaId") and item.get("type") in ANSWERED_BY_OPTIONS
    )


def unsettled(questions: Sequence[Question], wanted: str, kinds: Sequence[str]) -> str | None:
    """Why `wanted` (a name or feature schema id, or nothing) is not one of the questions, in words that complete
    "NAME ..."; None if it is. Of nothing wanted, the questions of the given kinds go before others."""
    if not questions:
        return "cannot be chosen: the ontology has no radio, checklist or dropdown question"
    if not wanted.strip():
        candidates = [question for question in questions if question.kind in kinds] or list(questions)
        if len(candidates) == 1:
            return None
        return f"must be set, for the ontology has {len(candidates)} questions: {_named(candidates)}"
    exact = (
        [question for question in questions if question.feature_schema_id == wanted],
        [question for question in questions if question.name == wanted],
        [question for question in questions if question.value == wanted],
        [question for question in questions if question.name.strip().casefold() == wanted.strip().casefold()],
    )
    found = next((some for some in exact if some), [])
    if len(found) == 1:
        return None
    problem = "is the name of several questions" if found else "names no question of the ontology"
    return f"{_shown(wanted)} {problem}; there are: {_named(questions)}"


def _shown(wanted: str) -> str:
    return repr(wanted if len(wanted) <= _SHOWN else wanted[: _SHOWN - 1] + "…")


def _named(questions: Sequence[Question]) -> str:
    return ", ".join(f"'{question.name}' ({question.feature_schema_id})" for question in questions)
