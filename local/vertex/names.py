"""Resource names of Vertex: their parts, their numeric ids, and which project and region this stand-in serves."""

import random
import re
from dataclasses import dataclass

import grpc

from local.vertex.refusal import Refused

CUSTOM_JOBS = "customJobs"
BATCH_PREDICTION_JOBS = "batchPredictionJobs"
TRAINING_PIPELINES = "trainingPipelines"
DATASETS = "datasets"
MODELS = "models"
MODEL_VERSIONS = "modelVersions"
OPERATIONS = "operations"

_ids = random.SystemRandom()


def new_id() -> str:
    """Return an id as Vertex gives them: up to nineteen digits, in no order."""
    return str(_ids.randrange(10**17, 2**63))


def last_part(name: str) -> str:
    """Return the id at the end of a resource name, without a model's version."""
    return name.rsplit("/", 1)[-1].split("@", 1)[0]


@dataclass(frozen=True)
class Place:
    """The one project and region whose requests are answered."""

    project: str
    region: str

    @property
    def parent(self) -> str:
        """Return `projects/P/locations/R`."""
        return f"projects/{self.project}/locations/{self.region}"

    def name(self, collection: str, identifier: str) -> str:
        """Return the full name of a resource in this place."""
        return f"{self.parent}/{collection}/{identifier}"

    def check_parent(self, parent: str) -> None:
        """Refuse a parent that is malformed, of another region (wrong endpoint) or of another project."""
        match = re.fullmatch(r"projects/([^/]+)/locations/([^/]+)", parent)
        if not match:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Resource name is invalid: {parent!r}")
        if match[2] != self.region:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"The provided location ID doesn't match the endpoint: {match[2]!r}, this one is {self.region!r}.",
            )
        if match[1] != self.project:
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED,
                f"Permission denied on resource '//aiplatform.googleapis.com/{parent}' (or it may not exist).",
            )

    def check_name(self, name: str, collection: str) -> str:
        """Refuse a name that is not one of `collection` in this place; return it without a model's version."""
        match = re.fullmatch(r"(projects/[^/]+/locations/[^/]+)/([A-Za-z]+)/([^/@]+)(@[^/]+)?", name)
        if not match or match[2] != collection or (match[4] and collection != MODELS):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Resource name is not one of {collection}: {name!r}")
        self.check_parent(match[1])
        return name.split("@", 1)[0]
