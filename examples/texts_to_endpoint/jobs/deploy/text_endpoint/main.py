"""Deploys a trained text model to the one endpoint of this name and deployment, and moves all traffic to it."""

import json
import sys
from collections.abc import Sequence

from deploy.text_endpoint.vertex import Vertex
from google.api_core.exceptions import GoogleAPIError

from jobkit.arguments import Arguments, parse
from jobkit.ending import Ending, Result, run_job
from jobkit.errors import BadData, JobError
from jobkit.progress import say
from jobkit.run_dataset import parse_labels
from jobkit.splits import TEST

REQUIRED = ("model", "metrics", "labels", "name")
OPTIONAL = {"threshold": "0.0", "serving-image": "", "machine": "n1-standard-2"}


def deploy(arguments: Arguments, ending: Ending) -> Result:
    """Does the job's work. Safe to repeat: model, endpoint and deployment are looked for before each is made."""
    accuracy, threshold = _accuracy(arguments, ending), arguments.share("threshold")
    if accuracy < threshold:
        raise BadData(
            f"Nothing is deployed: the accuracy on the test split is {accuracy:.3f}, below {threshold:g}.",
            "Label more data, or lower the parameter threshold.",
        )
    labels, vertex = parse_labels(arguments.text("labels")), Vertex()
    try:
        image = arguments.text("serving-image") or vertex.sibling_image("inference-text-classification")
        model = vertex.register(arguments.folder("model"), image, labels)
        say("The model is registered", model=model)
        endpoint = vertex.endpoint(arguments.text("name"), labels)
        vertex.deploy(endpoint, model, arguments.text("machine"))
        say("The model is deployed", endpoint=endpoint)
    except GoogleAPIError as error:
        raise JobError(f"Vertex AI did not deploy the model ({type(error).__name__}).", "See the job's log.") from error
    finally:
        vertex.close()
    return Result(outputs={"endpoint": endpoint, "registered_model": model}, metrics={"accuracy": accuracy})


def _accuracy(arguments: Arguments, ending: Ending) -> float:
    """On the test split; BadData where nothing was measured there."""
    splits = json.loads(ending.storage.read_text(arguments.text("metrics")))["splits"]
    if TEST not in splits:
        raise BadData("Nothing is deployed: there is no labelled test row to measure the model with.")
    return float(splits[TEST]["accuracy"])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(arguments.text("ending-uri"), lambda ending: deploy(arguments, ending))


if __name__ == "__main__":
    sys.exit(main())
