"""The documentation holds: pages made from code are current, links lead somewhere, every decision is listed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from orchestrator.pipelines import read_pipelines

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert spec and spec.loader
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)

PAGES = [
    path for path in ROOT.glob("**/*.md") if not {".venv", ".local", "node_modules"} & set(path.relative_to(ROOT).parts)
]


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_made_from_code_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generate.PAGES[name](), "run docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"]({page.name})" in listed for page in folder.glob("*.md") if page.name != "README.md")


def test_paths_that_the_documentation_names_exist() -> None:
    for page in PAGES:
        for name in re.findall(
            r"`((?:functions|jobs|local|tests|docs|samples|benchmarks)/[\w./-]+)`", page.read_text()
        ):
            # An example is a small repository of its own.
            assert (ROOT / name).exists() or (page.parent / name).exists(), f"{page.name} names {name}"


def test_the_readme_s_pipeline_is_one_that_the_functions_take(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block
    (tmp_path / "word_count.yaml").write_text(block[1], encoding="utf-8")
    assert list(read_pipelines(tmp_path)) == ["word_count"]


def test_the_readme_lists_every_model_type() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{model_type}` |" in text for model_type in read_pipelines())
