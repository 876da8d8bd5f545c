"""A parsed operation to its answer: roots are chosen by field name, and only what was asked for comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.labelbox.document import Operation, Selection, Variable
from local.labelbox.errors import BadInput, GraphQLFault, InvalidQuery

Arguments = Mapping[str, object]
Resolver = Callable[[Arguments], object]


@dataclass(frozen=True)
class Record:
    """An object type's value: `fields` are values, or functions of the field's arguments. Anything else is a scalar."""

    type_name: str
    fields: Mapping[str, object]


@dataclass(frozen=True)
class Schema:
    """The root fields that exist on one endpoint."""

    queries: Mapping[str, Resolver]
    mutations: Mapping[str, Resolver]


@dataclass(frozen=True)
class Answer:
    """A GraphQL answer and the HTTP status that carries it."""

    status: int
    body: dict[str, object]


def execute(schema: Schema, operation: Operation, variables: Mapping[str, object]) -> Answer:
    """Run every root field in order. A fault of a root field that is known gives `data: null` and names the field."""
    is_query = operation.kind == "query"
    roots = schema.queries if is_query else schema.mutations
    try:
        values = _variables(operation, variables)
        for selection in operation.selections:  # all are checked before the first is run, as a real server validates
            if selection.name not in roots:
                label = f" (operation {operation.name})" if operation.name else ""
                kind = "Query" if is_query else "Mutation"
                raise InvalidQuery(f'Cannot query field "{selection.name}" on type "{kind}"{label}.')
    except GraphQLFault as fault:
        return refusal(fault)
    data: dict[str, object] = {}
    for selection in operation.selections:
        try:
            data[selection.alias] = _project(
                roots[selection.name](_filled(selection.arguments, values)), selection, values
            )
        except GraphQLFault as fault:
            return refusal(fault, selection.alias)
    return Answer(200, {"data": data})


def refusal(fault: GraphQLFault, path: str | None = None) -> Answer:
    """The answer that carries one fault."""
    return Answer(fault.http_status, {"errors": [fault.as_json(path)], "data": None})


def _variables(operation: Operation, given: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    for definition in operation.variables:
        value = given.get(definition.name, definition.default)
        if value is None and definition.required and definition.type_text != "Upload!":
            raise BadInput(f'Variable "${definition.name}" of required type "{definition.type_text}" was not provided.')
        values[definition.name] = value
    return values


def _filled(value: Mapping[str, object], values: Mapping[str, object]) -> dict[str, object]:
    return {name: _fill(item, values) for name, item in value.items()}


def _fill(value: object, values: Mapping[str, object]) -> object:
    if isinstance(value, Variable):
        if value.name not in values:
            raise InvalidQuery(f'Variable "${value.name}" is not defined.')
        return values[value.name]
    if isinstance(value, dict):
        return _filled(value, values)
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    return value


def _project(value: object, selection: Selection, values: Mapping[str, object]) -> object:
    if isinstance(value, list):
        return [_project(item, selection, values) for item in value]
    if not isinstance(value, Record):
        if selection.selections and value is not None:
            raise InvalidQuery(f'Field "{selection.name}" must not have a selection since it has no subfields.')
        return value
    if not selection.selections:
        raise InvalidQuery(f'Field "{selection.name}" of type "{value.type_name}" must have a selection of subfields.')
    found: dict[str, object] = {}
    for part in selection.selections:
        if part.name not in value.fields:
            raise InvalidQuery(f'Cannot query field "{part.name}" on type "{value.type_name}".')
        field = value.fields[part.name]
        resolved = field(_filled(part.arguments, values)) if callable(field) else field
        found[part.alias] = _project(resolved, part, values)
    return found


def text_argument(arguments: Arguments, *path: str) -> str:
    """A required ID or String at a path of nested input objects."""
    value: object = arguments
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, int) and not isinstance(value, bool):  # ID accepts integers
        return str(value)
    if not isinstance(value, str):
        raise BadInput(f'Argument "{".".join(path)}" must be a string.')
    return value


def object_argument(arguments: Arguments, name: str) -> Mapping[str, object]:
    """A required input object."""
    value = arguments.get(name)
    if not isinstance(value, Mapping):
        raise BadInput(f'Argument "{name}" must be an object.')
    return value


def texts_argument(arguments: Arguments, name: str) -> list[str]:
    """An optional list of IDs; null and absent are empty."""
    value = arguments.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput(f'Argument "{name}" must be a list of strings.')
    return list(value)
