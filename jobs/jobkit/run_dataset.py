"""The Vertex data set of one run: found again by this attempt's note or by its label, else made; then filled."""

from collections.abc import Mapping

from jobkit.image.dataset import RUN_KEY_LABEL, Imported, VertexDatasets, dataset_client
from jobkit.progress import say
from jobkit.storage import Storage
from jobkit.vertex import parent
from jobkit.vertex import parse_labels as parse_labels

NOTE = "dataset.txt"  # the data set's name, so that a restarted job of this attempt finds its own


def fill_run_dataset(
    storage: Storage, folder: str, labels: Mapping[str, str], import_uri: str, images: int, schema: str
) -> Imported:
    """The run's data set in Vertex, holding the images of the import file.

    Safe to repeat: this attempt's own note is read first, then the data sets with the run's label, before one is made.
    """
    datasets = VertexDatasets(dataset_client(), parent())
    note = f"{folder}/{NOTE}"
    name = storage.read_text(note) if storage.exists(note) else None
    if name is None and labels.get(RUN_KEY_LABEL):
        name = datasets.find(labels[RUN_KEY_LABEL])
    if name is None:
        words = ("lb", labels.get("lb_model_run"), labels.get("lb_run_number"))
        name = datasets.create("-".join(filter(None, words)), labels)
    storage.write_text(note, name, content_type="text/plain")
    say("The data set is there", dataset=name)
    return datasets.fill(name, import_uri, images, schema)
