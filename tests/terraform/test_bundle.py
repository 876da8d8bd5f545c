"""The source bundle: all of functions/, its requirements and nothing else; alone, it serves every entry point."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from orchestrator.pipelines import read_pipelines
from tests.terraform.workspace import ROOT, State, Workspace

SERVE = """
import json, sys
import functions_framework
answers = {}
for target in sys.argv[1:]:
    client = functions_framework.create_app(target, "main.py").test_client()
    answer = client.get("/ping" if target == "coordinator" else "/")
    answers[target] = [answer.status_code, answer.get_data(as_text=True)]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def bundle(workspace: Workspace, first: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip as it was uploaded, unpacked alone."""
    (item,) = first.of("google_storage_bucket_object").values()
    folder = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(workspace.folder / "terraform" / item["source"]) as archive:
        archive.extractall(folder)
    return folder


def test_it_holds_the_functions_and_their_requirements_and_nothing_else(bundle: Path) -> None:
    expected = {
        path.relative_to(ROOT / "functions").as_posix()
        for path in (ROOT / "functions").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }
    found = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert found == expected | {"requirements.txt"}


@pytest.fixture(scope="module", params=["the tests' own python", "an empty environment"])
def interpreter(request: pytest.FixtureRequest, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A python that can serve the bundle; the second has nothing but what the bundle's requirements bring."""
    if request.param == "the tests' own python":
        return sys.executable
    if not os.environ.get("TEST_EMPTY_ENVIRONMENT"):
        pytest.skip("installing takes half a minute: set TEST_EMPTY_ENVIRONMENT=1")
    folder = tmp_path_factory.mktemp("empty")
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-r", bundle / "requirements.txt"],
        check=True,
        timeout=600,
        capture_output=True,
    )
    return str(python)


def test_it_serves_every_entry_point_with_the_settings_that_terraform_gives(
    bundle: Path, first: State, interpreter: str
) -> None:
    functions = first.of("google_cloudfunctions2_function")
    targets = [item["build_config"][0]["entry_point"] for item in functions.values()]
    done = subprocess.run(
        [interpreter, "-c", SERVE, *targets],
        cwd=bundle,
        env={**first.settings("etl"), "PATH": "/usr/bin:/bin", "HOME": str(bundle)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers.pop("coordinator") == [200, "pong"]
    assert set(map(tuple, answers.values())) == {(200, "ready")}


def test_its_requirements_bring_every_package_that_its_code_imports(bundle: Path) -> None:
    lines = [line.split("#")[0].strip() for line in (bundle / "requirements.txt").read_text().splitlines()]
    brought: set[str] = set()
    todo = [Requirement(line).name for line in lines if line]
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in brought:
            continue
        brought.add(name)
        try:
            needed = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue
        todo += [item.name for item in needed if item.marker is None or item.marker.evaluate({"extra": ""})]
    distributions = packages_distributions()
    for path in bundle.rglob("*.py"):
        for module in _imports(path):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top == "orchestrator":
                continue
            offered = {name.lower().replace("_", "-") for name in distributions.get(top, [])}
            assert offered & brought, f"{path.name} imports {module}, which requirements.txt does not bring"


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def test_a_deployments_own_choice_of_pipelines_and_defaults_is_in_its_bundle(
    workspace: Workspace, second: State, tmp_path: Path
) -> None:
    (item,) = second.of("google_storage_bucket_object").values()
    with zipfile.ZipFile(workspace.folder / "terraform" / item["source"]) as archive:
        archive.extractall(tmp_path)
    pipelines, shipped = read_pipelines(tmp_path / "pipelines"), read_pipelines()
    assert list(pipelines) == ["text_single_classification"]
    chosen, original = pipelines["text_single_classification"], shipped["text_single_classification"]
    changed = {
        name: parameter.default
        for name, parameter in chosen.parameters.items()
        if parameter != original.parameters[name]
    }
    assert changed == {"minimum_examples": 20, "backbone": "none"}
    assert (chosen.stages, chosen.description) == (original.stages, original.description)
    text = (tmp_path / "pipelines" / "text_single_classification.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["parameters"]["minimum_examples"]["default"] == 20
