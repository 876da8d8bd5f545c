"""The ontology of a model run: its questions, their options and its tools, all known by feature schema id. Pure.

Shape: `normalized` of Labelbox's GetOntology. Names may repeat, change or hold any character; ids do not.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobkit.errors import BadConfiguration, shorten

RADIO = "radio"
CHECKLIST = "checklist"
DROPDOWN = "dropdown"
CHOICE_KINDS = (RADIO, CHECKLIST, DROPDOWN)
MAX_DISPLAY_NAME = 128


@dataclass(frozen=True, slots=True)
class Option:
    """One possible answer. `name` is what the user sees (its label), `value` Labelbox's slug of it."""

    feature_schema_id: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Question:
    """One classification question at the top of the ontology. `name` is what labelers read (its instructions), `value`
    what the ontology calls it beside."""

    feature_schema_id: str
    name: str
    kind: str
    options: tuple[Option, ...] = ()
    value: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """One kind of object (`rectangle`, `named-entity`, ...)."""

    feature_schema_id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Ontology:
    """What labelers could say."""

    name: str
    questions: tuple[Question, ...]
    tools: tuple[Tool, ...]


def parse_ontology(name: str, normalized: Mapping[str, Any]) -> Ontology:
    """The ontology from its normalized form; parts that have no id are left out, for nothing can refer to them."""
    questions = tuple(
        Question(
            str(item["featureSchemaId"]),
            _label(item),
            str(item.get("type", "")),
            tuple(_options(item)),
            str(item.get("name") or ""),
        )
        for item in normalized.get("classifications") or ()
        if item.get("featureSchemaId")
    )
    tools = tuple(
        Tool(str(item["featureSchemaId"]), _label(item), str(item.get("tool", "")))
        for item in normalized.get("tools") or ()
        if item.get("featureSchemaId")
    )
    return Ontology(name, questions, tools)


def _label(item: Mapping[str, Any]) -> str:
    return str(item.get("instructions") or item.get("label") or item.get("name") or item.get("value") or "")


def _options(item: Mapping[str, Any]) -> Iterable[Option]:
    """All options; a dropdown's options may hold further options (not questions, which have a type)."""
    for option in item.get("options") or ():
        if option.get("type"):
            continue
        if option.get("featureSchemaId"):
            name = str(option.get("label") or option.get("value") or "")
            yield Option(str(option["featureSchemaId"]), name, str(option.get("value") or ""))
        yield from _options(option)


def choose_question(ontology: Ontology, wanted: str, preferred: Sequence[str] = CHOICE_KINDS) -> Question:
    """The question to train on: the one named (by name or feature schema id), or the only one with options.

    Without a name, questions of the preferred kinds go before others. Several candidates and no choice, or a choice
    that does not exist, is BadConfiguration naming the candidates.
    """
    candidates = [question for question in ontology.questions if question.kind in CHOICE_KINDS]
    fitting = [question for question in candidates if question.kind in preferred]
    return _choose(candidates if wanted or not fitting else fitting, wanted, "question", " or ".join(CHOICE_KINDS))


def choose_tools(ontology: Ontology, kind: str) -> tuple[Tool, ...]:
    """The tools of one kind; BadConfiguration when the ontology has none."""
    tools = tuple(tool for tool in ontology.tools if tool.kind == kind)
    if not tools:
        raise BadConfiguration(f"The ontology '{ontology.name}' has no {kind} tool.")
    return tools


def _choose(candidates: list[Question], wanted: str, what: str, kinds: str) -> Question:
    if not candidates:
        raise BadConfiguration(f"The ontology has no {kinds} {what} to train on.", "Use a fitting model type.")
    known = ", ".join(f"'{candidate.name}' ({candidate.feature_schema_id})" for candidate in candidates)
    hint = f"Set the parameter '{what}' to one of: {known}"
    if not wanted.strip():
        if len(candidates) == 1:
            return candidates[0]
        raise BadConfiguration(f"Choose a {what}, for there are {len(candidates)}: {known}", hint)
    found = [candidate for candidate in candidates if candidate.feature_schema_id == wanted]
    found = found or [candidate for candidate in candidates if candidate.name == wanted]
    found = found or [candidate for candidate in candidates if candidate.value == wanted]
    found = found or [candidate for candidate in candidates if _alike(candidate.name, wanted)]
    if len(found) == 1:
        return found[0]
    problem = "is not there" if not found else "is the name of several"
    raise BadConfiguration(f"The {what} '{shorten(wanted, 60)}' {problem}; there are: {known}", hint)


def _alike(name: str, word: str) -> bool:
    return name.strip().casefold() == word.strip().casefold()


def choose_options(question: Question, wanted: Sequence[str]) -> tuple[Option, ...]:
    """The options to train on, in the ontology's order: all, or those named (by name, value or feature schema id)."""
    if not wanted:
        return question.options
    chosen: set[str] = set()
    for word in wanted:
        found = {option.feature_schema_id for option in question.options if _is_called(option, word)}
        if not found:
            known = ", ".join(f"'{option.name}'" for option in question.options)
            raise BadConfiguration(f"'{question.name}' has no class '{shorten(word, 60)}'; it has: {known}")
        chosen |= found
    return tuple(option for option in question.options if option.feature_schema_id in chosen)


def _is_called(option: Option, word: str) -> bool:
    return word in (option.feature_schema_id, option.name, option.value)


def display_names(parts: Iterable[Option | Tool]) -> dict[str, str]:
    """A printable name for each feature schema id, unique among `parts`: equal names get their id behind them, and all
    names do where one is called what that makes of another."""
    cleaned = {part.feature_schema_id: _printable(part.name) or part.feature_schema_id for part in parts}
    uses = Counter(cleaned.values())
    with_ids = {key: f"{name} [{key}]" for key, name in cleaned.items()}
    names = {key: name if uses[name] == 1 else with_ids[key] for key, name in cleaned.items()}
    return names if len(set(names.values())) == len(names) else with_ids


def _printable(name: str) -> str:
    line = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(line.split())[:MAX_DISPLAY_NAME]
