"""ETL of named entities: export in, Vertex's text extraction JSONL, manifest and report out."""

from collections.abc import Sequence

import labelbox

from jobkit.arguments import Arguments
from jobkit.classification import POLICIES, comma_list
from jobkit.ending import Ending, Result
from jobkit.errors import BadConfiguration, shorten
from jobkit.labelbox import export_rows, ontology, require_rows, split_map
from jobkit.ner.dataset import EntityDataset, EntityRules
from jobkit.ner.labels import ENTITY_TOOL
from jobkit.ontology import Tool, choose_tools
from jobkit.storage import Storage
from jobkit.text.etl import SplitFinder, announced, collect, reader_of

REQUIRED = ("model-run-id", "output-uri")
OPTIONAL = {
    "classes": "",
    "several-labels": "majority",
    "minimum-examples": "2",
    "strict-classes": "false",
    "make-split": "false",
}


def chosen_tools(tools: Sequence[Tool], wanted: Sequence[str]) -> tuple[Tool, ...]:
    """The entity classes to learn, in the ontology's order: all, or those named (by name or feature schema id)."""
    unknown = [word for word in wanted if not any(word in (tool.feature_schema_id, tool.name) for tool in tools)]
    if unknown:
        known = ", ".join(f"'{tool.name}'" for tool in tools)
        raise BadConfiguration(f"The ontology has no entity class '{shorten(unknown[0], 60)}'; it has: {known}")
    return tuple(tool for tool in tools if not wanted or tool.feature_schema_id in wanted or tool.name in wanted)


def prepare(arguments: Arguments, ending: Ending, client: labelbox.Client, storage: Storage) -> Result:
    """Does the job's work."""
    model_run_id = arguments.text("model-run-id")
    rules = EntityRules(
        several_labels=arguments.one_of("several-labels", POLICIES),
        minimum=arguments.whole("minimum-examples", least=1),
        strict=arguments.flag("strict-classes"),
    )
    tools = choose_tools(ontology(client, model_run_id), ENTITY_TOOL)
    chosen = chosen_tools(tools, comma_list(arguments.text("classes"), (tool.name for tool in tools)))
    splits = SplitFinder(lambda: split_map(client, model_run_id), arguments.flag("make-split"))
    rows = announced(export_rows(client, model_run_id), ending)
    with EntityDataset(tools, chosen, rules) as dataset, reader_of(model_run_id, storage) as reader:
        collect(rows, dataset, reader, splits)
        require_rows(dataset.report.rows, model_run_id)
        written = dataset.write(storage, arguments.folder("output-uri"))
        unused = dataset.skipped_entities.counts.total()
    report = written.report
    return Result(
        outputs={
            "training_file": written.training_file,
            "manifest": written.manifest,
            "dataset_report": written.dataset_report,
        },
        counts={
            "rows": report.rows,
            "labelled": report.labelled,
            "skipped": report.skipped.counts.total(),
            "skipped_entities": unused,
        },
        metadata=report.metadata(),
    )
