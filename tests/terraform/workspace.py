"""A copy of what a deployment is made of, and the real terraform run in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "proj-one"
TIMEOUT_S = 600
FIRST: dict[str, Any] = {"project_id": PROJECT}
# A second deployment in the same project, with everything that a company may ask for.
SECOND: dict[str, Any] = {
    "project_id": PROJECT,
    "deployment_name": "second",
    "enable_apis": False,
    "alert_emails": ["ml-team@example.com"],
    "data_buckets": [f"{PROJECT}-model-training-sources"],
    "enabled_pipelines": ["text_single_classification"],
    "image_tag": "v2",
    "job_secrets": ["model-training-labelbox-api-key"],
    "kms_key_name": f"projects/{PROJECT}/locations/europe-west4/keyRings/r/cryptoKeys/k",
    "labelbox_endpoint": "https://labelbox.example.com/graphql",
    "labels": {"team": "vision", "cost_center": "1234"},
    "limits": {
        "max_active_runs": 5,
        "machines": ["n1-standard-8", "e2-standard-4"],
        "max_job_hours": 10,
        "max_run_hours": 24.5,
        "max_job_cost": 20,
        "max_run_cost": 50,
        "hourly_prices": {"n1-standard-8": 0.5, "n1-standard-8/spot": 0.2, "automl_image_training_node": 3.5},
    },
    "log_retention_days": 400,
    "network": {"network": "projects/123456789012/global/networks/main", "subnetwork": "functions"},
    "pipeline_defaults": {"text_single_classification": {"minimum_examples": 20, "backbone": "none"}},
    "public_access": False,
    "reconcile_minutes": 5,
    "region": "europe-west4",
    "report_readers": ["group:ml-team@example.com"],
    "retention_days": {"data": 60, "images": 400},
    "vertex_roles": {"jobs": ""},
}


class TerraformFailed(Exception):
    """What terraform said, when it was expected to work."""


@dataclass(frozen=True)
class Workspace:
    """A folder with terraform/, functions/ and requirements.txt, and an imaginary cloud in one file."""

    program: str
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run terraform. The credentials are none: with Google's own provider nothing real can be reached."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("GOOGLE_", "TF_", "CLOUDSDK_"))
        }
        environment |= {"GOOGLE_CREDENTIALS": "none", "TF_IN_AUTOMATION": "1"}
        if arguments[0] != "test":
            # Where a stand-in of Google's provider keeps what was applied; Google's own does not read it.
            environment["TERRAFORM_OFFLINE_CLOUD"] = str(self.folder / "cloud.json")
        done = subprocess.run(
            [self.program, "-chdir=terraform", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise TerraformFailed(f"terraform {' '.join(arguments)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def apply(self, variables: dict[str, Any], state: str = "terraform.tfstate") -> State:
        """Apply and return what there is then."""
        self.run("apply", "-auto-approve", "-no-color", "-parallelism=40", f"-state={state}", *_options(variables))
        return self.state(state)

    def plan(self, variables: dict[str, Any], *, refresh: bool = False) -> dict[str, list[str]]:
        """What a further apply would do: changed addresses, each with its actions. `refresh` reads the cloud anew."""
        name, reading = "next.plan", f"-refresh={str(refresh).lower()}"
        self.run("plan", "-no-color", "-parallelism=40", reading, f"-out={name}", *_options(variables))
        shown = json.loads(self.run("show", "-json", name).stdout)
        return {
            item["address"]: item["change"]["actions"]
            for item in shown.get("resource_changes", [])
            if item["change"]["actions"] not in (["no-op"], ["read"])
        }

    def destroy(self, variables: dict[str, Any], state: str = "terraform.tfstate") -> None:
        """Remove a deployment."""
        how = ("-auto-approve", "-no-color", "-parallelism=40", "-refresh=false", f"-state={state}")
        self.run("destroy", *how, *_options(variables))

    def state(self, state: str = "terraform.tfstate") -> State:
        """What terraform knows of."""
        path = self.folder / "terraform" / state
        shown = json.loads(self.run("show", "-json", state).stdout)
        return State(shown["values"], path.read_text())

    def cloud(self) -> dict[str, Any]:
        """Everything that exists in the imaginary cloud."""
        content: dict[str, Any] = json.loads((self.folder / "cloud.json").read_text() or "{}")
        return content


def _options(variables: dict[str, Any]) -> list[str]:
    return [
        f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in variables.items()
    ]


@dataclass(frozen=True)
class State:
    """The applied state: values by address, and the file's text."""

    values: dict[str, Any]
    text: str

    def of(self, kind: str, name: str = "") -> dict[str, dict[str, Any]]:
        """Values of one type (and name), by their key in for_each, or by their name."""
        return {
            str(item.get("index", item["name"])): item["values"]
            for item in self.values["root_module"]["resources"]
            if item["mode"] == "managed" and item["type"] == kind and name in ("", item["name"])
        }

    def resources(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and values of every managed resource."""
        return [
            (item["type"], item["values"])
            for item in self.values["root_module"]["resources"]
            if item["mode"] == "managed"
        ]

    def output(self, name: str) -> Any:
        """Value of an output."""
        return self.values["outputs"][name]["value"]

    def settings(self, function: str) -> dict[str, str]:
        """Environment of a function."""
        found: dict[str, str] = self.of("google_cloudfunctions2_function")[function]["service_config"][0][
            "environment_variables"
        ]
        return found


def copy_sources(folder: Path) -> None:
    """What terraform reads, so that a test may change it."""
    ignored = shutil.ignore_patterns("__pycache__", ".terraform", ".terraform.lock.hcl", "*.tfstate*", "*.tfvars")
    for name in ("terraform", "functions"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "requirements.txt", folder)
