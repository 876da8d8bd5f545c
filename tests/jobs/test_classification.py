"""What several labelers said about a row, by feature schema id, under each rule."""

from __future__ import annotations

import pytest

from jobkit.classification import AnswerReader, comma_list, multiple_choice, single_choice
from jobkit.errors import BadConfiguration
from jobkit.export import parse_row
from jobkit.ontology import Ontology, Option, Question, choose_options, choose_question, display_names, parse_ontology
from tests.jobs import exports

RADIO = exports.question("q", "radio", exports.options("a", "b", "c"))
CHECKS = exports.question("k", "checklist", exports.options("a", "b", "c"))


def ontology(*questions: dict[str, object]) -> Ontology:
    return parse_ontology("o", {"tools": [], "classifications": list(questions)})


def only(question: dict[str, object]) -> Question:
    return ontology(question).questions[0]


def says(*options: str) -> dict[str, object]:
    return exports.label(*(exports.radio("q", option) for option in options))


SINGLE = {
    # name: (labels, policy, labelled, options, reason)
    "one label": ([says("a")], "majority", True, ("a",), ""),
    "two agree": ([says("a"), says("a")], "majority", True, ("a",), ""),
    "two of three": ([says("a"), says("b"), says("a")], "majority", True, ("a",), ""),
    "a tie": ([says("a"), says("b")], "majority", False, (), "labels_disagree"),
    "the first of a tie": ([says("b"), says("a")], "first", True, ("b",), ""),
    "several are skipped": ([says("a"), says("a")], "skip", False, (), "several_labels"),
    "one label under skip": ([says("a")], "skip", True, ("a",), ""),
    "no label": ([], "majority", False, (), ""),
    "an unanswered label has no vote": ([says(), says("a")], "skip", True, ("a",), ""),
    "a skipped label has no vote": (
        [exports.label(exports.radio("q", "b"), skipped=True), says("a")],
        "skip",
        True,
        ("a",),
        "",
    ),
    "an answer to another question": ([exports.label(exports.radio("other", "a"))], "majority", False, (), ""),
    "two answers to a radio": ([says("a", "b")], "majority", False, (), "several_answers"),
    "an answer that left the ontology": ([says("gone")], "majority", False, (), ""),
}


@pytest.mark.parametrize(("labels", "policy", "labelled", "options", "reason"), SINGLE.values(), ids=SINGLE)
def test_single_choice(
    labels: list[dict[str, object]], policy: str, labelled: bool, options: tuple[str, ...], reason: str
) -> None:
    row = parse_row(exports.row("r", "t", labels), exports.RUN_ID)
    verdict = single_choice(row, AnswerReader(only(RADIO)), policy)
    assert (verdict.labelled, verdict.reason) == (labelled, reason)
    if labelled:
        assert verdict.options == options


def ticks(*options: str) -> dict[str, object]:
    return exports.label(exports.checklist("k", options))


MULTIPLE = {
    "two ticks": ([ticks("b", "a")], "majority", True, ("a", "b")),
    "no tick is a true negative": ([ticks()], "majority", True, ()),
    "an unanswered question is a true negative": ([exports.label()], "majority", True, ()),
    "no label": ([], "majority", False, ()),
    "each tick by majority": ([ticks("a", "b"), ticks("a"), ticks("a", "c")], "majority", True, ("a",)),
    "half is no majority": ([ticks("a"), ticks("b")], "majority", True, ()),
    "first": ([ticks("a"), ticks("b")], "first", True, ("a",)),
    "skip": ([ticks("a"), ticks("b")], "skip", False, ()),
}


@pytest.mark.parametrize(("labels", "policy", "labelled", "options"), MULTIPLE.values(), ids=MULTIPLE)
def test_multiple_choice(
    labels: list[dict[str, object]], policy: str, labelled: bool, options: tuple[str, ...]
) -> None:
    row = parse_row(exports.row("r", "t", labels), exports.RUN_ID)
    verdict = multiple_choice(row, AnswerReader(only(CHECKS)), policy)
    assert (verdict.labelled, verdict.options) == (labelled, options)


def test_baseline_b17_an_option_whose_label_differs_from_its_value_is_found() -> None:
    choices = [{"featureSchemaId": "id1", "label": "Golden Retriever", "value": "golden_retriever"}]
    reader = AnswerReader(only(exports.question("q", "radio", choices)))
    for answer in (
        exports.radio("q", "id1", "Golden Retriever", "golden_retriever"),
        exports.radio("q", "", "Golden Retriever", "golden_retriever"),
        exports.radio("q", "", "golden_retriever", "golden_retriever"),
        exports.radio("q", "id1", "An older name", "an_older_name"),
    ):
        (label,) = parse_row(exports.row("r", "t", [exports.label(answer)]), exports.RUN_ID).labels
        assert reader.options(label) is not None, answer
        if answer["radio_answer"]["feature_schema_id"]:
            assert reader.options(label) == ("id1",)


def test_baseline_b18_equal_option_names_under_two_questions_are_different_classes() -> None:
    first = exports.question("size", "radio", [{"featureSchemaId": "s1", "label": "big", "value": "big"}])
    second = exports.question("age", "radio", [{"featureSchemaId": "a1", "label": "big", "value": "big"}])
    both = exports.label(exports.radio("size", "s1", "big"), exports.radio("age", "a1", "big"))
    (label,) = parse_row(exports.row("r", "t", [both]), exports.RUN_ID).labels
    assert AnswerReader(only(first)).options(label) == ("s1",)
    assert AnswerReader(only(second)).options(label) == ("a1",)


def test_equal_or_hostile_option_names_get_printable_unique_display_names() -> None:
    names = ["same", "same", "a\nb\0c", "", "x" * 500, "\u202egnp.exe"]
    choices = [{"featureSchemaId": f"id{index}", "label": name, "value": "v"} for index, name in enumerate(names)]
    shown = display_names(only(exports.question("q", "radio", choices)).options)
    assert len(set(shown.values())) == len(names)
    assert all(name.isprintable() and 0 < len(name) <= 140 for name in shown.values())


def test_an_option_that_is_called_what_becomes_of_another_is_still_a_class_of_its_own() -> None:
    names = [("o1", "a"), ("o2", "a"), ("o3", "a [o1]")]
    assert display_names([Option(key, name, "") for key, name in names]) == {
        "o1": "a [o1]",
        "o2": "a [o2]",
        "o3": "a [o1] [o3]",
    }


def test_a_dropdowns_inner_options_are_options_and_nested_questions_are_not() -> None:
    inner = {"featureSchemaId": "in", "label": "inner", "value": "inner", "options": []}
    nested = {"featureSchemaId": "nq", "name": "nested", "type": "radio", "options": exports.options("z")}
    outer = {"featureSchemaId": "out", "label": "outer", "value": "outer", "options": [inner, nested]}
    assert [one.feature_schema_id for one in only(exports.question("q", "dropdown", [outer])).options] == ["out", "in"]


OTHER = exports.question("other", "checklist", exports.options("x"))
NAMED = {**RADIO, "instructions": "Same"}
TEXT = exports.question("free", "text", [])


@pytest.mark.parametrize(
    ("questions", "wanted", "found"),
    [
        ([RADIO], "", "q"),
        ([RADIO, TEXT], "", "q"),
        ([RADIO, OTHER], "q", "q"),
        ([RADIO, OTHER], "OTHER", "other"),
        ([RADIO, {**OTHER, "instructions": "Other "}], " other", "other"),
        ([RADIO], " ", "q"),
        ([OTHER, TEXT], "", "other"),
    ],
)
def test_the_question_is_chosen_by_name_or_id_or_because_it_is_the_only_one(
    questions: list[dict[str, object]], wanted: str, found: str
) -> None:
    assert choose_question(ontology(*questions), wanted).feature_schema_id == found


@pytest.mark.parametrize(
    ("questions", "wanted", "named"),
    [
        ([RADIO, OTHER], "", ("'q'", "'other'")),
        ([RADIO, OTHER], "nothing", ("'nothing'", "'q'", "'other'")),
        ([NAMED, {**OTHER, "instructions": "Same"}], "Same", ("several", "'Same' (q)", "'Same' (other)")),
        ([TEXT], "", ("no radio or checklist or dropdown",)),
    ],
)
def test_a_question_that_is_not_clear_fails_naming_the_candidates(
    questions: list[dict[str, object]], wanted: str, named: tuple[str, ...]
) -> None:
    with pytest.raises(BadConfiguration) as caught:
        choose_question(ontology(*questions), wanted)
    assert all(word in caught.value.sentence for word in named)


def test_a_question_of_the_model_types_own_kind_goes_before_others() -> None:
    both = ontology(RADIO, OTHER)
    assert choose_question(both, "", ("radio", "dropdown")).feature_schema_id == "q"
    assert choose_question(both, "", ("checklist",)).feature_schema_id == "other"
    assert choose_question(both, "other", ("radio",)).feature_schema_id == "other"


def test_classes_are_chosen_by_name_value_or_id_and_an_unknown_one_is_named() -> None:
    question = only(RADIO)
    assert [one.name for one in choose_options(question, ("c", "a"))] == ["a", "c"]
    with pytest.raises(BadConfiguration, match="no class 'zebra'"):
        choose_options(question, ("a", "zebra"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a, b ,,c", ("a", "b", "c")),
        ("", ()),
        ("Yes, please,No", ("Yes, please", "No")),
        ("No,Yes, please", ("No", "Yes, please")),
        ("Yes, please, now,Yes", ("Yes, please, now", "Yes")),
        ("Yes, sir", ("Yes", "sir")),
    ],
)
def test_names_that_hold_commas_can_be_chosen_in_a_list_that_commas_part(text: str, words: tuple[str, ...]) -> None:
    assert comma_list(text, ["Yes, please", "Yes, please, now", "Yes", "No"]) == words


def test_a_question_is_known_by_what_labelers_read_and_by_what_the_ontology_calls_it_beside() -> None:
    both = ontology({**RADIO, "name": "mood", "instructions": "How does it feel?"}, OTHER)
    for wanted in ("How does it feel?", "mood"):
        assert choose_question(both, wanted).feature_schema_id == "q"
    reader = AnswerReader(choose_question(both, "q"))
    for name in ("How does it feel?", "mood"):
        answer = exports.radio("", "", "a") | {"name": name}
        row = parse_row(exports.row("r", "text", [exports.label(answer)]), exports.RUN_ID)
        assert reader.options(row.labels[0]) == ("a",)
