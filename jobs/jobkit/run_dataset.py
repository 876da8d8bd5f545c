"""The Vertex data set of one run: found again by this attempt's note or by its label, else made; then filled."""

import re
from collections.abc import Mapping

from jobkit.errors import BadConfiguration
from jobkit.image.dataset import RUN_KEY_LABEL, Imported, VertexDatasets, dataset_client, parent
from jobkit.progress import say
from jobkit.storage import Storage

NOTE = "dataset.txt"  # the data set's name, so that a restarted job of this attempt finds its own
_LABEL = re.compile(r"([a-z][a-z0-9_-]{0,62})=([a-z0-9_-]{0,63})")


def parse_labels(text: str) -> dict[str, str]:
    """`k=v,k=v` as Vertex takes labels. Raises BadConfiguration for anything that it would refuse."""
    labels = {}
    for part in filter(None, text.split(",")):
        matched = _LABEL.fullmatch(part)
        if not matched:
            raise BadConfiguration(f"'{part[:80]}' is no label of a Vertex resource (--labels).")
        labels[matched[1]] = matched[2]
    return labels


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
