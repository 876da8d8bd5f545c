"""The root fields that clients may ask for, each from its arguments to a Record."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

from local.labelbox.corpus import Corpus, ModelRun
from local.labelbox.errors import BadInput, NotFound, Refused
from local.labelbox.execution import Arguments, Record, Schema, object_argument, text_argument, texts_argument
from local.labelbox.exports import Exports
from local.labelbox.imports import MODEL_RUN, PROJECT, Imports
from local.labelbox.links import Links
from local.labelbox.ontology import Ontology
from local.labelbox.pipelines import TrainingPipelines
from local.labelbox.records import ONLY_USER, DataRows, model_run_record, ontology_record, project_record, user_record
from local.labelbox.store import Store
from local.labelbox.switches import SwitchBoard

SPLITS = ("TRAINING", "VALIDATION", "TEST", "UNASSIGNED")
_FETCH_TIMEOUT_S = 30


class Operations:
    """Everything that Labelbox does here. `schema` is what /graphql offers, or with `experimental` what /_gql does."""

    def __init__(self, corpus: Corpus, store: Store, board: SwitchBoard, links: Links, state_dir: Path) -> None:
        self.corpus = corpus
        self.store = store
        self.pipelines = TrainingPipelines(store)
        self.exports = Exports(corpus, store, board, links, state_dir / "exports")
        self.imports = Imports(corpus, store, board, links, state_dir / "imports")
        self.uploads = state_dir / "uploads"
        self._board = board
        self._links = links
        self._data_rows = DataRows(store, self.exports)
        self._uploading = threading.Lock()

    def schema(self, *, experimental: bool) -> Schema:
        """The root fields of an endpoint; /_gql has all of /graphql's and the experimental ones."""
        queries: dict[str, Callable[[Arguments], object]] = {
            "modelRun": self._model_run,
            "model": self._model,
            "ontology": self._ontology,
            "user": self._user,
            "task": self._task,
            "project": self._project,
            "annotationGroups": self._annotation_groups,
            "customMetadataOntology": lambda _: [],
            "modelErrorAnalysisPredictionImport": self._run_import,
            "modelAssistedLabelingPredictionImport": self._project_import,
            "MEADataRowRegistrationTaskStatus": self._registration,
            "MEALabelRegistrationTaskStatus": self._registration,
        }
        mutations: dict[str, Callable[[Arguments], object]] = {
            "updateModelRunConfig": self._update_config,
            "resetModelRunConfig": self._reset_config,
            "exportDataRowsInModelRun": self._export,
            "createModelErrorAnalysisPredictionImport": self._import_into_run,
            "createModelAssistedLabelingPredictionImport": self._import_into_project,
            "uploadFile": self._upload,
            "createMEAModelRunDataRowRegistrationTask": self._register_rows,
            "createMEAModelRunProjectLabelRegistrationTask": self._register_project_labels,
            "sendToAnnotateFromMea": self._send_to_annotate,
            "deleteModelRunDataRows": self._delete_rows,
            "deleteModelRuns": self._delete_runs,
        }
        if experimental:
            queries |= {
                "trainingPipeline": self._training_pipeline,
                "assignDataRowsToDataSplitTaskStatus": self._registration,
            }
            mutations |= {
                "updateTrainingPipeline": self._update_pipeline,
                "createAssignDataRowsToDataSplitTask": self._assign_splits,
            }
        return Schema(queries, mutations)

    def run(self, identity: str) -> ModelRun:
        """A model run that exists and was not deleted; NotFound otherwise."""
        found = self.corpus.runs.get(identity)
        if found is None or self.pipelines.deleted(identity):
            raise NotFound("ModelRun", identity)
        return found

    # Model runs, models, ontologies

    def _model_run(self, arguments: Arguments) -> object:
        return self._run_record(self.run(text_argument(arguments, "where", "id")))

    def _run_record(self, run: ModelRun) -> Record:
        camel_case = self._board.now().camel_case_config
        return model_run_record(run, self.pipelines.config(run.id, camel_case=camel_case))

    def _model(self, arguments: Arguments) -> object:
        identity = text_argument(arguments, "where", "id")
        run = next((run for run in self.corpus.runs.values() if run.model_id == identity), None)
        if run is None:
            raise NotFound("Model", identity)
        return Record("Model", {"id": identity, "name": run.model_name, "ontologyId": self.corpus.ontology(run).id})

    def _ontology(self, arguments: Arguments) -> object:
        identity = text_argument(arguments, "where", "id")
        found: Ontology | None = None
        media_type = ""
        for run in self.corpus.runs.values():
            if self.corpus.ontology(run).id == identity:
                found, media_type = self.corpus.ontology(run), run.media_type
        if found is None:
            raise NotFound("Ontology", identity)
        return ontology_record(found, media_type)

    def _update_config(self, arguments: Arguments) -> object:
        run = self.run(text_argument(arguments, "modelRun", "id"))
        self.pipelines.keep_config(run.id, object_argument(arguments, "data").get("config"))
        return Record("ModelRun", {"trainingMetadata": self.pipelines.config(run.id)})

    def _reset_config(self, arguments: Arguments) -> object:
        run = self.run(text_argument(arguments, "modelRun", "id"))
        self.pipelines.keep_config(run.id, None)
        return Record("ModelRun", {"trainingMetadata": None})

    # The training pipeline's status

    def _training_pipeline(self, arguments: Arguments) -> object:
        run = self.run(text_argument(arguments, "where", "id"))
        return Record("TrainingPipeline", self.pipelines.current(run.id))

    def _update_pipeline(self, arguments: Arguments) -> object:
        run = self.run(text_argument(arguments, "modelRun", "id"))
        self.pipelines.update(run.id, object_argument(arguments, "data"))
        return Record("TrainingPipeline", self.pipelines.current(run.id))

    # Exports

    def _export(self, arguments: Arguments) -> object:
        given = object_argument(arguments, "input")
        run = self.run(text_argument(given, "filters", "modelRunId"))
        if given.get("streamable") is not True:
            raise Refused("Only streamable exports are served.", exception_status=426)
        name = given.get("taskName")
        task_id = self.exports.start(run, str(name) if name else None, object_argument(given, "params"))
        return Record("ExportTask", {"taskId": task_id, "isStreamable": True})

    def _user(self, arguments: Arguments) -> object:
        if "where" in arguments and text_argument(arguments, "where", "id") != ONLY_USER:
            raise NotFound("User", text_argument(arguments, "where", "id"))
        return user_record(self._created_tasks)

    def _created_tasks(self, arguments: Arguments) -> object:
        return [Record("Task", self.exports.look(text_argument(arguments, "where", "id")))]

    def _task(self, arguments: Arguments) -> object:
        task_id = text_argument(arguments, "where", "id")

        def header(inner: Arguments) -> object:
            found = self.exports.header(task_id, text_argument(inner, "streamType"))
            return None if found is None else Record("ExportMetadataHeader", found)

        def file(inner: Arguments) -> object:
            found = self.exports.chunk_at(task_id, text_argument(inner, "streamType"), inner.get("offset"))
            if found is None:
                return None
            chunk, url = found
            offsets = Record("Range", {"start": chunk.start, "end": chunk.end})
            lines = Record("Range", {"start": chunk.first_line, "end": chunk.last_line})
            return Record("ExportFile", {"offsets": offsets, "lines": lines, "file": url})

        return Record("Task", {"id": task_id, "exportMetadataHeader": header, "exportFileFromOffset": file})

    # Data rows of a run

    def _annotation_groups(self, arguments: Arguments) -> object:
        run = self.run(text_argument(object_argument(arguments, "where"), "modelRunId", "id"))
        return self._data_rows.page(run, arguments.get("after"), arguments.get("first"))

    def _assign_splits(self, arguments: Arguments) -> object:
        run = self.run(text_argument(arguments, "modelRun", "id"))
        assignments = object_argument(arguments, "data").get("assignments")
        if not isinstance(assignments, list):
            raise BadInput('Field "assignments" must be a list.')
        problem = None
        for assignment in assignments:
            if not isinstance(assignment, Mapping):
                raise BadInput('Field "assignments" must be a list of objects.')
            split = assignment.get("split")
            if split not in SPLITS:
                raise BadInput(f'Value "{split}" does not exist in "DataSplit" enum.')
            rows, problem = self._named_rows(run, assignment)
            if problem is None:
                self.store.assign_splits(run.id, split, rows)
        return self._finished_task(problem)

    def _register_rows(self, arguments: Arguments) -> object:
        run = self.run(text_argument(arguments, "where", "id"))
        _, problem = self._named_rows(run, object_argument(arguments, "data"))
        return self._finished_task(problem)

    def _register_project_labels(self, arguments: Arguments) -> object:
        self.run(text_argument(arguments, "where", "modelRunId"))
        self._known_project(text_argument(arguments, "where", "projectId"))
        return self._finished_task(None)

    def _named_rows(self, run: ModelRun, named: Mapping[str, object]) -> tuple[list[str], str | None]:
        """Data row ids, and what is wrong with them: this server has no rows beside those of its export files."""
        keys = texts_argument(named, "globalKeys")
        rows = [*texts_argument(named, "dataRowIds"), *(run.global_keys.get(key, key) for key in keys)]
        removed = self.store.removed(run.id)
        unknown = [row for row in rows if row not in run.row_ids or row in removed]
        return rows, f"data rows {unknown[:5]} are not part of model run {run.id}" if unknown else None

    def _finished_task(self, problem: str | None) -> str:
        task_id = f"task-{uuid4().hex[:8]}"
        self.store.keep_task(task_id, {"status": "FAILED" if problem else "COMPLETE", "errorMessage": problem})
        return task_id

    def _registration(self, arguments: Arguments) -> object:
        task_id = text_argument(arguments, "where", "id")
        found = self.store.task(task_id)
        if found is None or "status" not in found:
            raise NotFound("Task", task_id)
        return Record("RegistrationTask", found)

    def _delete_rows(self, arguments: Arguments) -> object:
        where = object_argument(arguments, "where")
        run = self.run(text_argument(where, "modelRunId"))
        self.store.remove_rows(run.id, [row for row in texts_argument(where, "dataRowIds") if row in run.row_ids])
        return True

    def _delete_runs(self, arguments: Arguments) -> object:
        for run in [self.run(identity) for identity in texts_argument(object_argument(arguments, "where"), "ids")]:
            self.pipelines.delete(run.id)
        return True

    # Imports and projects

    def _import_into_run(self, arguments: Arguments) -> object:
        data = object_argument(arguments, "data")
        run = self.run(text_argument(data, "modelRunId"))
        return Record("PredictionImport", self.imports.into_run(run, text_argument(data, "name"), self._content(data)))

    def _run_import(self, arguments: Arguments) -> object:
        run = self.run(text_argument(arguments, "where", "modelRunId"))
        return Record(
            "PredictionImport", self.imports.look(MODEL_RUN, run.id, text_argument(arguments, "where", "name"))
        )

    def _import_into_project(self, arguments: Arguments) -> object:
        data = object_argument(arguments, "data")
        project = self._known_project(text_argument(data, "projectId"))
        made = self.imports.into_project(project, text_argument(data, "name"), self._content(data))
        return Record("PredictionImport", {**made, "project": project_record(project)})

    def _project_import(self, arguments: Arguments) -> object:
        project = self._known_project(text_argument(arguments, "where", "projectId"))
        found = self.imports.look(PROJECT, project, text_argument(arguments, "where", "name"))
        return Record("PredictionImport", {**found, "project": project_record(project)})

    def _content(self, data: Mapping[str, object]) -> bytes:
        """An import's bytes: a multipart file (contentLength is not checked: the SDK declares it wrong) or a URL."""
        payload = data.get("filePayload")
        if isinstance(payload, Mapping) and isinstance(payload.get("file"), bytes):
            return bytes(payload["file"])
        url = data.get("fileUrl")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise BadInput('One of "filePayload.file" and an http(s) "fileUrl" is required.')
        try:
            with urllib.request.urlopen(url, timeout=_FETCH_TIMEOUT_S) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, TimeoutError) as error:
            raise Refused(f"The file at {url} cannot be read: {error}", exception_status=400) from error

    def _project(self, arguments: Arguments) -> object:
        return project_record(self._known_project(text_argument(arguments, "where", "id")))

    def _known_project(self, identity: str) -> str:
        if identity not in self.corpus.projects:
            raise NotFound("Project", identity)
        return identity

    def _send_to_annotate(self, arguments: Arguments) -> object:
        given = object_argument(arguments, "input")
        self.run(text_argument(given, "sourceModelRunId"))
        self._known_project(text_argument(given, "destinationProjectId"))
        return Record("SendToAnnotateTask", {"taskId": self._finished_task(None)})

    def _upload(self, arguments: Arguments) -> object:
        content = arguments.get("file")
        if not isinstance(content, bytes):
            raise BadInput('Argument "file" must be a part of the multipart request.')
        identity = uuid4().hex
        with self._uploading:
            self.uploads.mkdir(parents=True, exist_ok=True)
            (self.uploads / identity).write_bytes(content)
        return Record("UploadedFile", {"url": self._links.signed(f"/signed/upload/{identity}"), "filename": identity})
