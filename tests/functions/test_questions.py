"""Which question a run learns is settled before anything is launched, by the rules that the ETL jobs choose by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobkit.errors import BadConfiguration
from jobkit.ontology import choose_question, parse_ontology
from orchestrator.errors import LabelboxRefused, LabelboxUnavailable
from orchestrator.questions import Question, questions_of, unsettled
from orchestrator.retrying import retry_from
from tests.functions.world import World

TOPIC, MOOD = Question("q1", "Topic", "topic", "radio"), Question("q2", "Mood", "mood", "radio")
TAGS = Question("q3", "Tags", "tags", "checklist")
TWIN = Question("q4", "Topic", "topic_2", "radio")


@pytest.mark.parametrize(
    ("questions", "wanted", "words"),
    [
        ([TOPIC], "", ""),
        ([TOPIC, TAGS], "", ""),  # the kinds that are asked for go before others
        ([TAGS], "", ""),
        ([TOPIC, MOOD], " ", "must be set, for the ontology has 2 questions: 'Topic' (q1), 'Mood' (q2)"),
        ([TOPIC, MOOD], "Mood", ""),
        ([TOPIC, MOOD], "q1", ""),
        ([TOPIC, MOOD], " mood ", ""),
        ([TOPIC, TAGS], "tags", ""),
        ([TOPIC, MOOD], "Colour", "'Colour' names no question of the ontology; there are: 'Topic' (q1), 'Mood' (q2)"),
        ([TOPIC, TWIN], "Topic", "'Topic' is the name of several questions; there are: 'Topic' (q1), 'Topic' (q4)"),
        ([TOPIC, TWIN], "topic_2", ""),
        ([], "", "cannot be chosen: the ontology has no radio, checklist or dropdown question"),
    ],
)
def test_a_question_is_settled_or_every_candidate_is_named(questions: list[Question], wanted: str, words: str) -> None:
    assert (unsettled(questions, wanted, ["radio", "dropdown"]) or "") == words


NAMES = st.sampled_from(["a", "A", " a", "b", "q0", "q1", ""])
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"instructions": NAMES, "name": NAMES, "type": st.sampled_from(["radio", "checklist", "dropdown", "text"])}
    ),
    max_size=4,
)


@given(ITEMS, NAMES, st.sampled_from([("radio", "dropdown"), ("checklist",)]))
def test_what_is_refused_here_is_what_the_etl_job_would_refuse(
    items: list[dict[str, Any]], wanted: str, kinds: tuple[str, ...]
) -> None:
    normalized = {"classifications": [{**item, "featureSchemaId": f"q{n}"} for n, item in enumerate(items)]}
    try:
        choose_question(parse_ontology("o", normalized), wanted, kinds)
        refused = False
    except BadConfiguration:
        refused = True
    assert (unsettled(questions_of(normalized), wanted, kinds) is not None) == refused


def test_several_questions_and_no_choice_fail_the_run_before_anything_is_launched() -> None:
    world = World()
    world.labelbox.ontology = (TOPIC, MOOD)
    run = world.run(world.start())
    assert run.finished and run.finished.outcome == "FAILED"
    assert run.finished.sentence == (
        "question must be set, for the ontology has 2 questions: 'Topic' (q1), 'Mood' (q2)"
    )
    assert not world.jobs.requests


def test_a_chosen_question_is_launched_with() -> None:
    world = World()
    world.labelbox.ontology = (TOPIC, MOOD)
    world.labelbox.configs["mr-1"] = {"question": "Mood"}
    world.start()
    assert len(world.jobs.requests) == 1


@pytest.mark.parametrize(
    "error", [LabelboxUnavailable("Labelbox answered 503"), LabelboxRefused("unknown", "no such ontology")]
)
def test_a_labelbox_that_does_not_tell_its_ontology_leaves_the_question_to_the_etl_job(error: Exception) -> None:
    world = World()

    def refuse(model_run_id: str) -> tuple[Question, ...]:
        raise error

    world.labelbox.questions = refuse  # type: ignore[method-assign]
    world.start()
    assert len(world.jobs.requests) == 1


def test_a_run_that_takes_over_prepared_data_is_not_asked_for_a_question_again() -> None:
    world = World()
    run_id = world.start()
    world.complete_text_run()
    world.labelbox.ontology = (TOPIC, MOOD)
    launched = len(world.jobs.requests)
    retry_from(world.services.begin(), run_id, "inference", {"upload_min_confidence": 0.5})
    world.pump()
    assert len(world.jobs.requests) == launched + 1
