"""One row of a model-run export (Labelbox export v2), parsed once into plain values. Pure: no network, no storage.

Shapes: https://docs.labelbox.com/reference/export-text-annotations and .../export-image-annotations. Where the split
stands is not documented: `split`, `data_split`, `Data Split` or the like of the run's section is taken, any case.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jobkit.json_lines import loads
from jobkit.splits import parse_split

# What is made for each row is a named tuple: a frozen dataclass takes three times as long.

_SPLIT_KEYS = ("split", "datasplit")  # as letters alone
_ANSWER_KEYS = ("radio_answer", "checklist_answers", "dropdown_answer", "dropdown_answers")


class Answer(NamedTuple):
    """One option that a labeler chose."""

    feature_schema_id: str
    name: str
    value: str
    classifications: tuple["Classification", ...] = ()


class Classification(NamedTuple):
    """One question that a labeler answered. `text` is set for free text only."""

    feature_schema_id: str
    name: str
    answers: tuple[Answer, ...] = ()
    text: str | None = None


class ObjectAnnotation(NamedTuple):
    """One object (entity, box, ...); `body` is the export's own dictionary, with its location or bounding_box."""

    feature_schema_id: str
    name: str
    kind: str
    body: Mapping[str, Any]
    classifications: tuple[Classification, ...] = ()


class Label(NamedTuple):
    """One labeler's work on the row. `skipped`: the labeler skipped it, so it says nothing."""

    label_id: str
    classifications: tuple[Classification, ...]
    objects: tuple[ObjectAnnotation, ...]
    skipped: bool = False


class ExportRow(NamedTuple):
    """One data row of the model run. `split` is None where the export does not say; `problem` names what is wrong
    with a row that could not be read whole (its labels are then empty)."""

    data_row_id: str
    global_key: str | None
    external_id: str | None
    row_data: str
    media_attributes: Mapping[str, Any] = MappingProxyType({})
    split: str | None = None
    labels: tuple[Label, ...] = ()
    problem: str = ""

    def with_split(self, split: str | None) -> "ExportRow":
        """The same row in another split."""
        return self._replace(split=split)


def parse_line(line: str | bytes, model_run_id: str) -> ExportRow:
    """The row of one NDJSON line; a line that is not a row comes back with `problem` set, never as an exception."""
    try:
        body = loads(line)
    except (ValueError, RecursionError):
        return _unreadable("the line is not JSON")
    return parse_row(body, model_run_id)


def parse_row(body: object, model_run_id: str) -> ExportRow:
    """The row as this model run sees it: its labels and its split there, not those of projects or other runs."""
    if not isinstance(body, dict) or not isinstance(body.get("data_row"), dict):
        return _unreadable("the row has no data_row")
    data_row = body["data_row"]
    data_row_id = data_row.get("id")
    if not isinstance(data_row_id, str) or not data_row_id:
        return _unreadable("the data row has no id")
    run = _run_section(body.get("experiments"), model_run_id)
    row_data = data_row.get("row_data")
    media = body.get("media_attributes")
    problem = "" if isinstance(row_data, str) else "the data row has no row_data"
    labels: tuple[Label, ...] = ()
    try:
        labels = tuple([_label(item) for item in run.get("labels") or ()])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        problem = problem or "the labels have a shape that is not known"
    return ExportRow(
        data_row_id=_text(data_row_id),
        global_key=_text_or_none(data_row.get("global_key")),
        external_id=_text_or_none(data_row.get("external_id")),
        row_data=row_data if isinstance(row_data, str) else "",
        media_attributes=media if isinstance(media, dict) else {},
        split=_split(run),
        labels=labels,
        problem=problem,
    )


def _unreadable(problem: str) -> ExportRow:
    return ExportRow(data_row_id="", global_key=None, external_id=None, row_data="", problem=problem)


def _run_section(experiments: object, model_run_id: str) -> dict[str, Any]:
    """experiments[<any model>].runs[<this run>], or {} where the row has none."""
    if isinstance(experiments, dict):
        for experiment in experiments.values():
            runs = experiment.get("runs") if isinstance(experiment, dict) else None
            run = runs.get(model_run_id) if isinstance(runs, dict) else None
            if isinstance(run, dict):
                return run
    return {}


def _split(run: dict[str, Any]) -> str | None:
    split = parse_split(run.get("split"))
    if split is not None:
        return split
    for key, word in run.items():
        if "".join(filter(str.isalpha, key)).lower() in _SPLIT_KEYS and (split := parse_split(word)) is not None:
            return split
    return None


def _text_or_none(value: object) -> str | None:
    return _text(value) if isinstance(value, str) and value else None


def _text(value: object) -> str:
    """As text that UTF-8 can carry: half a surrogate pair, which JSON can name, becomes "?"."""
    if type(value) is str and value.isascii():
        return value
    text = str(value or "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _label(item: dict[str, Any]) -> Label:
    annotations = item.get("annotations") or {}
    performance = item.get("performance_details") or {}
    return Label(
        label_id=_text(item.get("id")),
        classifications=_classifications(annotations.get("classifications")),
        objects=tuple([_object(entry) for entry in annotations.get("objects") or ()]),
        skipped=bool(performance.get("skipped")),
    )


def _object(entry: dict[str, Any]) -> ObjectAnnotation:
    schema_id, name, kind = entry.get("feature_schema_id"), entry.get("name"), entry.get("annotation_kind")
    if not (type(schema_id) is type(name) is type(kind) is str and (schema_id + name + kind).isascii()):
        schema_id, name, kind = _text(schema_id), _text(name), _text(kind)
    return ObjectAnnotation(schema_id, name, kind, entry, _classifications(entry.get("classifications")))


def _classifications(entries: list[dict[str, Any]] | None) -> tuple[Classification, ...]:
    return tuple([_classification(entry) for entry in entries]) if entries else ()


def _classification(entry: dict[str, Any]) -> Classification:
    answers: list[Answer] = []
    for key in _ANSWER_KEYS:
        given = entry.get(key)
        if given:
            answers += [_answer(one) for one in given] if isinstance(given, list) else [_answer(given)]
    free_text = entry.get("text_answer")
    return Classification(
        _text(entry.get("feature_schema_id")),
        _text(entry.get("name")),
        tuple(answers),
        _text(free_text.get("content")) if free_text else None,
    )


def _answer(entry: dict[str, Any]) -> Answer:
    return Answer(
        _text(entry.get("feature_schema_id")),
        _text(entry.get("name")),
        _text(entry.get("value")),
        _classifications(entry.get("classifications")),
    )
