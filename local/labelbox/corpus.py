"""The data behind the stand-in: export files indexed by offset (never held in memory), model runs and ontologies."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from local.labelbox.ontology import Derivation, Ontology, ontology_of

_MAX_PROBLEMS = 20
FILES_FOLDER = "files/"


class BadCorpus(Exception):
    """An export or an ontology cannot be served; the text lists up to 20 problems with their lines."""


@dataclass(frozen=True)
class Source:
    """One export file. `name` is its part of the path in /files/<name>/...; `folder` holds the files that rows name."""

    name: str
    export: Path
    folder: Path
    ontology: Path | None


@dataclass
class ModelRun:
    """A model run found in an export: where its rows stand in the file, and which data rows they are."""

    id: str
    name: str
    model_id: str
    model_name: str
    source: Source
    media_type: str
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    row_ids: dict[str, int] = field(default_factory=dict)  # data row id -> position in offsets
    global_keys: dict[str, str] = field(default_factory=dict)  # global key -> data row id
    project_ids: set[str] = field(default_factory=set)

    def rows(self, first: int = 0) -> Iterator[tuple[int, dict[str, object]]]:
        """(position, export row), read from the file one at a time, from a position on."""
        with self.source.export.open("rb") as file:
            for position in range(first, len(self.offsets)):
                file.seek(self.offsets[position])
                row = json.loads(file.readline())
                assert isinstance(row, dict)
                yield position, row


@dataclass(frozen=True)
class Corpus:
    """All that the stand-in serves."""

    sources: tuple[Source, ...]
    runs: Mapping[str, ModelRun]
    ontologies: Mapping[str, Ontology]  # by model id
    projects: frozenset[str]

    def ontology(self, run: ModelRun) -> Ontology:
        """The ontology of a run's model."""
        return self.ontologies[run.model_id]


def sample(folder: Path) -> Source:
    """A sample folder: export.ndjson, ontology.json, files/."""
    folder = folder.resolve()
    return Source(folder.name, folder / "export.ndjson", folder, folder / "ontology.json")


def own_export(path: Path) -> Source:
    """A person's own export file; its ontology is derived from its labels, relative files lie beside it."""
    path = path.resolve()
    return Source(path.stem, path, path.parent, None)


def load(sources: Sequence[Source], projects: Sequence[str] = ()) -> Corpus:
    """Index every source in one pass. Raises BadCorpus with every problem found (at most 20)."""
    runs: dict[str, ModelRun] = {}
    ontologies: dict[str, Ontology] = {}
    problems: list[str] = []
    names = [source.name for source in sources]
    problems += [f"two sources are called {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    for source in sources:
        index = _Index(source)
        problems += index.problems
        problems += [
            f"{source.export}: model run {run} also stands in another source" for run in index.runs if run in runs
        ]
        problems += [
            f"{source.export}: model {model} also stands in another source"
            for model in index.models
            if model in ontologies
        ]
        runs |= index.runs
        try:
            ontologies |= index.ontologies()
        except (OSError, ValueError) as error:
            problems.append(f"{source.ontology}: {error}")
    if problems:
        raise BadCorpus("\n".join(problems[:_MAX_PROBLEMS]))
    known = set(projects).union(*(run.project_ids for run in runs.values()))
    return Corpus(tuple(sources), runs, ontologies, frozenset(known))


class _Index:
    """One pass over one export file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.runs: dict[str, ModelRun] = {}
        self.models: dict[str, str] = {}
        self.problems: list[str] = []
        self._derivations: dict[str, Derivation] = {}
        try:
            self._read()
        except OSError as error:
            self.problems.append(str(error))
            return
        if not self.runs and not self.problems:
            self.problems.append(f"{source.export}: no row belongs to a model run (experiments.<model>.runs.<run>)")

    def ontologies(self) -> dict[str, Ontology]:
        """One ontology a model: the file's, or the one derived from the model's labels."""
        found: dict[str, Ontology] = {}
        for model_id in self.models:
            identity = "cl" + sha256(f"ontology of {model_id}".encode()).hexdigest()[:23]
            if self.source.ontology is None:
                document = self._derivations[model_id].document()
            else:
                document = json.loads(self.source.ontology.read_text())
            found[model_id] = ontology_of(identity, document)
        return found

    def _read(self) -> None:
        offset = 0
        with self.source.export.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and len(self.problems) < _MAX_PROBLEMS:
                    try:
                        self._take(json.loads(line), offset)
                    except (ValueError, KeyError, TypeError, AttributeError) as error:
                        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                        self.problems.append(f"{self.source.export}, line {number}: not an export v2 row: {said}")
                offset += len(line)

    def _take(self, row: dict[str, dict[str, object]], offset: int) -> None:
        data_row_id = str(row["data_row"]["id"])
        global_key = row["data_row"].get("global_key")
        for model_id, model in row["experiments"].items():
            self.models.setdefault(model_id, str(model.get("name") or model_id))  # type: ignore[attr-defined]
            for run_id, body in model["runs"].items():  # type: ignore[index]
                run = self._run(run_id, body, model_id, row)
                if data_row_id in run.row_ids:
                    raise ValueError(f"data row {data_row_id} stands twice in model run {run_id}")
                run.row_ids[data_row_id] = len(run.offsets)
                run.offsets.append(offset)
                if global_key is not None:
                    run.global_keys[str(global_key)] = data_row_id
                run.project_ids.update(row.get("projects") or {})
                self._learn(model_id, body)

    def _run(self, run_id: str, body: dict[str, object], model_id: str, row: dict[str, dict[str, object]]) -> ModelRun:
        if run_id not in self.runs:
            media = str((row.get("media_attributes") or {}).get("asset_type") or "").upper()
            name = str(body.get("name") or run_id)
            self.runs[run_id] = ModelRun(run_id, name, model_id, self.models[model_id], self.source, media)
        return self.runs[run_id]

    def _learn(self, model_id: str, body: dict[str, object]) -> None:
        if self.source.ontology is not None:
            return
        derivation = self._derivations.setdefault(model_id, Derivation(self.models[model_id]))
        labels = body.get("labels")
        for label in labels if isinstance(labels, list) else []:
            derivation.learn(label)
