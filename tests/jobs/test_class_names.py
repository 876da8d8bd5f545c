"""A class is found by whatever AutoML and the 2022 service made of its name, and never when several could be meant."""

import pytest

from jobkit.class_names import ClassNames
from jobkit.dataset_report import ClassEntry, class_entries
from jobkit.ontology import CHECKLIST, RADIO
from jobkit.text.automl import answers_of_prediction

BREEDS = (
    ClassEntry("Golden Retriever", "1", "Golden Retriever", "q", RADIO, "Breed", "golden_retriever"),
    ClassEntry("Boxer", "2", "Boxer", "q", RADIO, "Breed", "boxer"),
)
# Two questions whose answers have one name in the 2022 service.
SIZES = (
    ClassEntry("big_dog", "3", "big_dog", "size", CHECKLIST, "size", "big_dog"),
    ClassEntry("dog", "4", "dog", "size_big", CHECKLIST, "size_big", "dog"),
)
SIGNS = tuple(ClassEntry(name, name, name) for name in ("C", "C++", "Äpfel", "猫", "+"))
PERSON = (ClassEntry("A person", "5", "A person", kind="named-entity"),)


@pytest.mark.parametrize(
    ("entries", "name", "found"),
    [
        pytest.param(BREEDS, "Golden Retriever", "Golden Retriever", id="as it is"),
        pytest.param(BREEDS, "Golden-Retriever", "Golden Retriever", id="b10 a space became a hyphen"),
        pytest.param(BREEDS, "golden_retriever", "Golden Retriever", id="b17 the value for the label"),
        pytest.param(BREEDS, "Breed_Golden Retriever", "Golden Retriever", id="b17 question and label"),
        pytest.param(BREEDS, "Breed_golden_retriever", "Golden Retriever", id="b17 question and value"),
        pytest.param(BREEDS, "breed_Golden_Retriever", "Golden Retriever", id="b17 question and label in its letters"),
        pytest.param(BREEDS, "no_label", "no_label", id="b16 no class"),
        pytest.param(SIZES, "dog", "dog", id="b18 an answer alone"),
        pytest.param(SIZES, "size_dog", "size_dog", id="b18 an answer of the other question"),
        pytest.param(SIZES, "size_big_dog", "size_big_dog", id="b18 either could be meant"),
        pytest.param(SIGNS, "C__", "C++", id="b10 signs became underscores"),
        pytest.param(SIGNS, "_pfel", "Äpfel", id="b10 a letter beyond ascii became an underscore"),
        pytest.param(SIGNS, "C#", "C#", id="another class with one sign more than a known one"),
        pytest.param(SIGNS, "鳥", "鳥", id="another class in letters that may be written"),
        pytest.param(SIGNS, "++", "++", id="another class without any letter"),
        pytest.param(PERSON, "A_person", "A person", id="an entity has no question"),
    ],
)
def test_baseline_b10_b16_b17_b18_a_name_means_one_class_or_none(
    entries: tuple[ClassEntry, ...], name: str, found: str
) -> None:
    assert ClassNames.of_entries(entries).find(name) == found


def test_baseline_b18_names_that_mean_several_classes_are_reported_and_not_used() -> None:
    names = ClassNames.of_entries(SIZES)
    prediction = {"displayNames": ["size_big_dog", "dog"], "confidences": [0.9, 0.4]}
    assert answers_of_prediction(prediction, names)[0] == {"size_big_dog": 0.9, "dog": 0.4}
    assert names.note() == {"names that mean several classes": "'size_big_dog' (1): not used"}
    assert ClassNames.of_entries(BREEDS).note() == {}


def test_a_report_of_release_0_1_has_no_question_names_and_is_read() -> None:
    (entry,) = class_entries({"classes": [{"display_name": "a", "feature_schema_id": "1", "name": "a"}]})
    assert ClassNames.of_entries([entry]).find("a") == "a"
