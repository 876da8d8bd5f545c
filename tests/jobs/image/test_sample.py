"""The committed sample is what its generator makes, and is what its README says."""

import importlib.util
import io
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from jobkit.export import parse_line
from jobkit.image.files import as_rgb, opened, prepared
from jobkit.ontology import RADIO, choose_question, parse_ontology

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "image_single_classification"
MAX_SAMPLE_BYTES = 600_000


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_sample_make", SAMPLE / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    generator.main(folder)
    return folder


@pytest.mark.parametrize("name", ["export.ndjson", "ontology.json"])
def test_the_generator_makes_the_committed_text_files(made: Path, name: str) -> None:
    assert (made / name).read_text() == (SAMPLE / name).read_text()


def test_the_generator_makes_the_committed_pictures(generator: ModuleType, made: Path) -> None:
    """Compared by their pixels, with some room: another JPEG encoder may round differently."""
    names = sorted(path.name for path in (SAMPLE / "files").iterdir())
    assert sorted(path.name for path in (made / "files").iterdir()) == names
    for name in names:
        pixels = []
        for folder in (made, SAMPLE):
            with opened((folder / "files" / name).read_bytes()) as image:
                pixels.append(np.asarray(as_rgb(image)).astype(int))
        assert pixels[0].shape == pixels[1].shape == (generator.SIDE_PX, generator.SIDE_PX, 3)
        assert np.abs(pixels[0] - pixels[1]).mean() < 4, name


def test_the_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) <= MAX_SAMPLE_BYTES


def test_the_sample_has_what_the_readme_promises(generator: ModuleType) -> None:
    rows = [parse_line(line, generator.MODEL_RUN_ID) for line in (SAMPLE / "export.ndjson").read_bytes().splitlines()]
    assert not [row.problem for row in rows if row.problem]
    ontology = json.loads((SAMPLE / "ontology.json").read_text())
    question = choose_question(parse_ontology(ontology["name"], ontology["normalized"]), "", (RADIO,))
    assert question.name == "fruit"
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for label in row.labels:
            (classification,) = label.classifications
            (answer,) = classification.answers
            assert answer.feature_schema_id in {option.feature_schema_id for option in question.options}
            counts[row.split, answer.name] += 1
    assert len(question.options) == 4
    for option in question.options:
        assert counts["training", option.name] >= 12
        assert counts["validation", option.name] >= 4
        assert counts["test", option.name] >= 8
    assert sum(not row.labels for row in rows) == 2
    contents = {row.data_row_id: (SAMPLE / row.row_data).read_bytes() for row in rows}
    splits: dict[bytes, set[str]] = {}
    for row in rows:
        splits.setdefault(contents[row.data_row_id], set()).add(row.split)
    assert [found for found in splits.values() if len(found) > 1] == [{"training", "test"}]
    assert Counter(prepared(data).re_encoded for data in contents.values())[True] == 1  # the one that lies on its side
    assert Counter(Image.open(io.BytesIO(data)).format for data in contents.values())["PNG"] == 1


def test_no_drawing_of_the_test_split_is_shown_in_another(generator: ModuleType) -> None:
    for fruit in generator.CLASSES:
        shown = {split: set(generator.sprites(fruit, split)) for split in generator.SCENES_PER_CLASS}
        assert len(shown["TEST"]) == 1
        assert not shown["TEST"] & (shown["TRAINING"] | shown["VALIDATION"])
        assert len(shown["TRAINING"]) >= 2


def test_the_scenes_of_several_fruits_are_what_their_generator_makes(tmp_path: Path) -> None:
    sample = SAMPLE.parent / "image_multi_classification"
    spec = importlib.util.spec_from_file_location("image_multi_sample_make", sample / "make.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.main(tmp_path)
    for name in ("export.ndjson", "ontology.json"):
        assert (tmp_path / name).read_text() == (sample / name).read_text()
    files = sorted(path.name for path in (sample / "files").iterdir())
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == files
    for fruit in maker.FRUITS:  # of each fruit one drawing is shown in the test split only
        assert not set(maker.sprites(fruit, "TEST")) & set(maker.sprites(fruit, "TRAINING"))
