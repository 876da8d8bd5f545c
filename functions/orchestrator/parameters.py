"""Parameters of a run: what a pipeline declares, and settling a model run's config against it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from orchestrator.templates import Scalar, in_words

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TEXT_LIMIT = 2000


class Need(BaseModel):
    """What else must be set where a parameter has a value that fits `when`, a pattern of it as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str
    parameter: str
    value: bool | int | float | str


class Parameter(BaseModel):
    """Something a user may set per run in the model run's config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["string", "integer", "number", "boolean"]
    default: bool | int | float | str
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[bool | int | float | str, ...] | None = None
    pattern: str | None = None  # of a string as a whole, in place of choices where they cannot be listed
    form: str = ""  # the pattern in words that complete "NAME must be ..."
    needs: tuple[Need, ...] = ()  # refused before launch, so that no job finds out what it lacks after an hour
    question_kinds: tuple[Literal["radio", "checklist", "dropdown"], ...] = ()  # it names a question, these kinds first

    @model_validator(mode="after")
    def _default_is_valid(self) -> Parameter:
        if (self.pattern is None) == bool(self.form):
            raise ValueError("a pattern and its form in words belong together")
        if self.type != "string" and (self.pattern is not None or self.question_kinds):
            raise ValueError("only a string has a pattern or names a question")
        if problem := self.problem(self.default):
            raise ValueError(f"its default {problem}")
        return self

    def read(self, value: object) -> Scalar:
        """The value in this parameter's type; Labelbox's config may hold numbers and booleans as text.

        Raises ValueError in words that complete "NAME ...".
        """
        if self.type == "string" and isinstance(value, str):
            return value
        if self.pattern is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return in_words(value)
        if self.type == "boolean":
            if isinstance(value, bool):
                return value
            if isinstance(value, str) and value.lower() in ("true", "false"):
                return value.lower() == "true"
        if self.type in ("integer", "number") and not isinstance(value, bool) and isinstance(value, int | float | str):
            try:
                number = float(value)
            except ValueError:
                number = float("nan")
            if number - number == 0 and (self.type == "number" or number.is_integer()):
                return int(number) if self.type == "integer" else number
        article = "an" if self.type == "integer" else "a"
        raise ValueError(f"must be {article} {self.type}, not {_shown(value)}")

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, in words that complete "NAME ..."; None if nothing is."""
        try:
            read = self.read(value)
        except ValueError as error:
            return str(error)
        if self.choices is not None and read not in self.choices:
            return f"must be one of {', '.join(map(str, self.choices))}, not {_shown(value)}"
        if self.pattern is not None and not re.fullmatch(self.pattern, str(read)):
            return f"must be {self.form}, not {_shown(value)}"
        if isinstance(read, int | float) and not isinstance(read, bool):
            if self.minimum is not None and read < self.minimum:
                return f"must be at least {self.minimum:g}, not {read:g}"
            if self.maximum is not None and read > self.maximum:
                return f"must be at most {self.maximum:g}, not {read:g}"
        if isinstance(read, str) and len(read) > _TEXT_LIMIT:
            return f"must have at most {_TEXT_LIMIT} characters"
        return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def settle(declared: Mapping[str, Parameter], config: Mapping[str, Any]) -> tuple[dict[str, Scalar], list[str]]:
    """Values of all declared parameters, and every problem of the config.

    Labelbox hands config keys back in snake_case or camelCase, depending on how they are read
    (https://docs.labelbox.com/reference/model-run), so both name the same parameter.
    """
    values: dict[str, Scalar] = {name: parameter.default for name, parameter in declared.items()}
    problems: list[str] = []
    seen: dict[str, str] = {}
    for key, value in config.items():
        name = _CAMEL.sub("_", key).lower()
        if name not in declared:
            problems.append(f"{key} is no parameter of this model type")
        elif name in seen:
            problems.append(f"{seen[name]} and {key} name the same parameter")
        elif problem := declared[name].problem(value):
            problems.append(f"{key} {problem}")
        else:
            values[name] = declared[name].read(value)
        seen.setdefault(name, key)
    problems += _unmet_needs(declared, values)
    return values, problems


def _unmet_needs(declared: Mapping[str, Parameter], values: Mapping[str, Scalar]) -> Iterator[str]:
    for name, parameter in declared.items():
        for need in parameter.needs:
            if re.fullmatch(need.when, in_words(values[name])) and values.get(need.parameter) != need.value:
                yield f"{name} {_shown(values[name])} needs {need.parameter}: {in_words(need.value)}"
