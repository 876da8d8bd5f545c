"""Tiny pretrained models, made once, where the jobs look for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.transformer.tiny import make_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as /models of an image: two models, and what is none."""
    import torch

    torch.set_num_threads(1)  # for networks this small more threads only wait for each other
    folder = tmp_path_factory.mktemp("models")
    for kind in ("modernbert", "bert"):
        make_model(folder / f"tiny-{kind}", kind=kind)
    (folder / "pictures").mkdir()
    (folder / "pictures" / "config.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def baked(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELS_DIR", str(models))
    return models
