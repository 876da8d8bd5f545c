"""The documentation holds: pages made from code are current, links lead somewhere, every decision is listed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

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
            assert (ROOT / name).exists(), f"{page.name} names {name}"
