"""ETL of entities over the wire: a real storage server, the real SDK against the Labelbox stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobkit.splits import ML_USE
from tests.jobs import exports
from tests.jobs.conftest import REPOSITORY, StartLabelbox
from tests.jobs.ner.notes import CITY, PERSON, TOOLS, Jobs, entity, good_rows, label, sample, tool

FEW = "--minimum-examples=5"


def serve(start: StartLabelbox, path: Path, rows: Sequence[dict[str, Any]], tools: Any = TOOLS) -> None:
    start(sample(path / "sample", [*rows, *good_rows()], tools))


def run(jobs: Jobs, *more: str) -> dict[str, Any]:
    assert jobs.etl(FEW, *more) == 0
    return jobs.ending("etl")


def test_the_training_file_is_vertexs_text_extraction_jsonl_with_exclusive_ends(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    serve(start_labelbox, tmp_path, [])
    result = run(jobs)
    lines = jobs.lines("etl/training.jsonl")
    assert lines[0] == {
        "textContent": "Ada0 went to Paris0 today",
        "textSegmentAnnotations": [
            {"startOffset": 0, "endOffset": 4, "displayName": "Person"},
            {"startOffset": 13, "endOffset": 19, "displayName": "City"},
        ],
        "dataItemResourceLabels": {ML_USE: "training"},
    }
    assert {line["dataItemResourceLabels"][ML_USE] for line in lines} == {"training", "validation", "test"}
    assert set(result["outputs"]) == {"training_file", "manifest", "dataset_report"}
    assert result["counts"] == {"rows": 40, "labelled": 40, "skipped": 0, "skipped_entities": 0}
    assert jobs.report()["entities"]["counts"] == {
        "Person": {"training": 32, "validation": 4, "test": 4},
        "City": {"training": 32, "validation": 4, "test": 4},
    }
    assert jobs.ending("etl", "phase-PREPARING_DATA.json") == {"version": 1}


def test_baseline_the_same_export_gives_the_same_bytes(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    serve(start_labelbox, tmp_path, [])
    for stage in ("etl", "again"):
        assert jobs.etl(FEW, stage=stage) == 0
    for file in ("training.jsonl", "manifest.jsonl", "dataset_report.json"):
        one, other = (jobs.storage.read_bytes(f"{jobs.folder}/{stage}/{file}") for stage in ("etl", "again"))
        assert one == other


WIDE = "🚀 Ada flew to Rome 🚀"
LINES = "Hello\r\nAda Lovelace\r\nRome"
MARKS = "Zoe\u0308 and Rene\u0301 met"
PLAIN = "Ada met Bo in Rome"

ENTITIES: dict[str, tuple[str, list[dict[str, Any]], list[tuple[str, str]], dict[str, int]]] = {
    # row id: (text, entities as exported, entities found, reasons of those that are not used)
    "code points": (WIDE, [entity(WIDE, "Ada"), entity(WIDE, "Rome", CITY)], [("Ada", "Person"), ("Rome", "City")], {}),
    "utf-16": (
        WIDE,
        [entity(WIDE, "Ada", location={"start": 3, "end": 5, "token": "Ada"})],
        [("Ada", "Person")],
        {},
    ),
    "crlf": (
        LINES,
        [entity(LINES, "Ada Lovelace"), entity(LINES, "Rome", CITY)],
        [("Ada Lovelace", "Person"), ("Rome", "City")],
        {},
    ),
    "across lines": (LINES, [entity(LINES, "Lovelace\r\nRome")], [("Lovelace\r\nRome", "Person")], {}),
    "combining marks": (
        MARKS,
        [entity(MARKS, "Zoe\u0308"), entity(MARKS, "Rene\u0301")],
        [("Zoe\u0308", "Person"), ("Rene\u0301", "Person")],
        {},
    ),
    "strings": (
        PLAIN,
        [entity(PLAIN, "Bo", location={"start": "8", "end": "9", "token": "Bo"})],
        [("Bo", "Person")],
        {},
    ),
    "one letter": (
        "X is in Y",
        [entity("X is in Y", "X"), entity("X is in Y", "Y", CITY)],
        [("X", "Person"), ("Y", "City")],
        {},
    ),
    "past the end": (
        PLAIN,
        [entity(PLAIN, "Ada"), entity(PLAIN, "Rome", CITY, location={"start": 14, "end": 44, "token": "Rome"})],
        [("Ada", "Person")],
        {"past_the_end": 1},
    ),
    "another token": (
        PLAIN,
        [entity(PLAIN, "Ada"), entity(PLAIN, "Bo", location={"start": 8, "end": 10, "token": "Bo"})],
        [("Ada", "Person")],
        {"token_differs": 1},
    ),
    "duplicates": (PLAIN, [entity(PLAIN, "Ada")] * 3, [("Ada", "Person")], {"duplicate": 2}),
    "overlap": (
        PLAIN,
        [entity(PLAIN, "Bo"), entity(PLAIN, "Bo in Rome", CITY), entity(PLAIN, "Ada")],
        [("Ada", "Person"), ("Bo in Rome", "City")],
        {"overlap": 1},
    ),
    "two classes": (PLAIN, [entity(PLAIN, "Ada"), entity(PLAIN, "Ada", CITY)], [("Ada", "Person")], {"overlap": 1}),
    "reversed": (
        PLAIN,
        [entity(PLAIN, "Ada"), entity(PLAIN, "Bo", location={"start": 9, "end": 8})],
        [("Ada", "Person")],
        {"end_before_start": 1},
    ),
    "no location": (
        PLAIN,
        [entity(PLAIN, "Ada"), entity(PLAIN, "Bo", location=None)],
        [("Ada", "Person")],
        {"no_location": 1},
    ),
    "renamed": (PLAIN, [entity(PLAIN, "Ada", name="An old name", value="old")], [("Ada", "Person")], {}),
    "by name only": (PLAIN, [entity(PLAIN, "Ada", feature_schema_id=None)], [("Ada", "Person")], {}),
    "true negative": (PLAIN, [], [], {}),
}


def test_baseline_every_span_is_checked_against_its_token_and_what_does_not_fit_is_skipped_with_its_reason(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = [exports.row(name, text, [label(*found)]) for name, (text, found, _, _) in ENTITIES.items()]
    serve(start_labelbox, tmp_path, rows)
    result = run(jobs)
    manifest = jobs.manifest()
    assert {name: jobs.spans(manifest[name]) for name in ENTITIES} == {
        name: found for name, (_, _, found, _) in ENTITIES.items()
    }
    assert all(manifest[name].labelled for name in ENTITIES)
    skipped = jobs.report()["entities"]["skipped"]
    expected: dict[str, int] = {}
    for _, _, _, reasons in ENTITIES.values():
        for reason, count in reasons.items():
            expected[reason] = expected.get(reason, 0) + count
    assert {reason: item["count"] for reason, item in skipped.items()} == expected
    assert skipped["past_the_end"]["ids"] == ["past the end"]
    assert result["counts"]["skipped_entities"] == sum(expected.values())
    assert "2 duplicate" in result["metadata"]["skipped_entities"]


def test_predictions_use_the_unit_that_labels_use_and_unlabelled_texts_the_common_one(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    utf16 = entity(WIDE, "Ada", location={"start": 3, "end": 5, "token": "Ada"})
    rows = [
        exports.row("a", WIDE, [label(utf16)]),
        exports.row("b", f"{WIDE}!", [label(utf16)]),
        exports.row("c", f"{WIDE}?", [label(entity(WIDE, "Ada"))]),
        exports.row("nobody", "🎉 Bo", []),
        exports.row("plain", "Bo", []),
    ]
    serve(start_labelbox, tmp_path, rows)
    run(jobs)
    units = {name: (row.details or {}).get("unit", "code_points") for name, row in jobs.manifest().items()}
    assert (units["a"], units["b"], units["c"]) == ("utf16", "utf16", "code_points")
    assert (units["nobody"], units["plain"]) == ("utf16", "code_points")
    assert jobs.report()["entities"]["offset_unit"] == "utf16"


def test_rows_that_nobody_judged_are_predicted_and_not_trained_on(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    bad = entity(PLAIN, "Ada", location={"start": 90, "end": 92, "token": "Ada"})
    gone = entity(PLAIN, "Ada", "left-the-ontology")
    rows = [
        exports.row("unlabelled", PLAIN),
        exports.row("skipped", PLAIN, [label(skipped=True)]),
        exports.row("no usable entity", PLAIN, [label(bad)]),
        exports.row("unassigned", PLAIN, [label(entity(PLAIN, "Ada"))], "UNASSIGNED"),
        exports.row("gone", PLAIN, [label(gone)]),
    ]
    serve(start_labelbox, tmp_path, rows)
    run(jobs)
    manifest = jobs.manifest()
    assert {row["data_row"]["id"]: manifest[row["data_row"]["id"]].note for row in rows} == {
        "unlabelled": "unlabelled",
        "skipped": "unlabelled",
        "no usable entity": "no_usable_entity",
        "unassigned": "no_split",
        "gone": "",
    }
    assert "the entity class 'left-the-ontology' (1) is not in the ontology" in jobs.report()["notes"]


MALFORMED = {
    "objects are texts": ["Person"],
    "an object is a list": [[1, 2]],
    "an object is nothing": [None],
}


@pytest.mark.parametrize("objects", MALFORMED.values(), ids=MALFORMED)
def test_baseline_one_malformed_object_does_not_kill_the_run(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path, objects: list[Any]
) -> None:
    bad = label()
    bad["annotations"]["objects"] = objects
    serve(start_labelbox, tmp_path, [exports.row("malformed", PLAIN, [bad])])
    assert run(jobs)["counts"]["labelled"] == 40
    assert jobs.report()["skipped"] == {"unreadable_row": {"count": 1, "ids": ["malformed"]}}


VOTES = {
    "majority": [("Ada", "Person")],
    "first": [("Ada", "Person"), ("Rome", "City")],
    "skip": [],
}


@pytest.mark.parametrize("policy", VOTES)
def test_several_labels_of_one_row_follow_the_chosen_rule(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path, policy: str
) -> None:
    labels = [
        label(entity(PLAIN, "Ada"), entity(PLAIN, "Rome", CITY)),
        label(entity(PLAIN, "Ada"), entity(PLAIN, "Bo")),
        label(),
    ]
    serve(start_labelbox, tmp_path, [exports.row("several", PLAIN, labels)])
    run(jobs, f"--several-labels={policy}")
    row = jobs.manifest()["several"]
    assert jobs.spans(row) == VOTES[policy]
    assert row.note == ("several_labels" if policy == "skip" else "")
    assert f"1 rows had several labels (rule: {policy})" in jobs.report()["notes"]


def test_baseline_class_names_may_hold_spaces_repeat_and_be_hostile(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    names = {
        "t1": "traffic light",
        "t2": "traffic light",
        "t3": "<script>alert(1)</script>\n\0",
        "t4": "x" * 500,
        "t5": "",
    }
    tools = [*TOOLS, *(tool(key, name) for key, name in names.items()), tool("box", "a box", "rectangle")]
    tools[-2]["name"] = ""
    text = "one two three four five"
    spans = [entity(text, word, key, name=names[key]) for word, key in zip(text.split(), names, strict=True)]
    rows = [exports.row(f"h{n}", text, [label(*spans)], exports.split_of(n)) for n in range(40)]
    serve(start_labelbox, tmp_path, rows, tools)
    run(jobs)
    entries = {entry["feature_schema_id"]: entry["display_name"] for entry in jobs.report()["classes"]}
    assert set(entries) == {PERSON, CITY, *names}
    assert len(set(entries.values())) == len(entries)
    assert entries["t1"] == "traffic light [t1]"
    assert entries["t5"] == "t5"
    assert jobs.spans(jobs.manifest()["h0"])[0] == ("one", "traffic light [t1]")


def test_rare_classes_are_left_out_and_one_class_is_enough(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = [exports.row("rare", PLAIN, [label(entity(PLAIN, "Rome", "tool-rare"))])]
    serve(start_labelbox, tmp_path, rows, [*TOOLS, tool("tool-rare", "Rare")])
    assert run(jobs, "--classes=Person,tool-rare")["metadata"]["left_out_classes"] == "City (40), Rare (1)"
    assert [entry["display_name"] for entry in jobs.report()["classes"]] == ["Person"]
    assert jobs.manifest()["rare"].labelled  # somebody looked, and found none of the classes that are learned
    assert jobs.etl(FEW, "--strict-classes=true", stage="strict") == 1
    assert "Rare 1/0/0" in jobs.ending("strict", "error.json")["sentence"]


def without(split: str) -> list[dict[str, Any]]:
    return [row for row in good_rows() if f'"split": "{split}"' not in json.dumps(row)]


REFUSED = {
    "no label": ([exports.row(f"r{n}", PLAIN, [], exports.split_of(n)) for n in range(30)], "needs|none in training"),
    "no entity": ([exports.row(f"r{n}", PLAIN, [label()], exports.split_of(n)) for n in range(30)], "Person 0/0/0"),
    "no split": (
        [exports.row(f"r{n}", PLAIN, [label()], "UNASSIGNED") for n in range(30)],
        "(30 labelled rows are in no split)",
    ),
    "no test row": (without("TEST"), "none in test"),
    "no validation row": (without("VALIDATION"), "none in validation"),
}


@pytest.mark.parametrize(("rows", "named"), REFUSED.values(), ids=REFUSED)
def test_a_data_set_that_cannot_be_learned_fails_with_one_sentence_that_names_the_gaps(
    jobs: Jobs,
    start_labelbox: StartLabelbox,
    tmp_path: Path,
    rows: list[dict[str, Any]],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobkit.labelbox.LABELS_WAIT_S", 0.0)
    start_labelbox(sample(tmp_path / "sample", rows))
    assert jobs.etl(FEW) == 1
    error = jobs.ending("etl", "error.json")
    assert error["kind"] == "bad_data"
    assert any(word in error["sentence"] for word in named.split("|"))
    assert "1 class in 5 training rows" in error["sentence"]
    assert len(error["sentence"]) <= 255
    assert error["hint"]


@pytest.mark.parametrize(
    ("tools", "arguments", "named"),
    [
        ([tool("box", "a box", "rectangle")], (), ("named-entity",)),
        (TOOLS, ("--classes=Person,zebra",), ("'zebra'", "'City'")),
        (TOOLS, ("--several-labels=best",), ("--several-labels", "majority")),
    ],
)
def test_a_choice_that_does_not_fit_the_ontology_fails_as_configuration(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path, tools: Any, arguments: Any, named: tuple[str, ...]
) -> None:
    serve(start_labelbox, tmp_path, [], tools)
    assert jobs.etl(*arguments) == 1
    error = jobs.ending("etl", "error.json")
    assert error["kind"] == "configuration"
    assert all(word in error["sentence"] for word in named)


HOSTILE = {
    "empty": ("", "empty_text"),
    "blank": (" \r\n\u3000", "empty_text"),
    "nul": ("a\0b", "not_text"),
    "10 MB": ("x" * 10_000_000, "too_large"),
    "surrogate": ("half \ud800 pair", "not_utf8"),
    "not utf-8": ("files/latin.txt", "not_utf8"),
    "gone": ("files/gone.txt", "not_found"),
    "metadata server": ("http://169.254.169.254/computeMetadata/v1/token", "address_refused"),
}


def test_baseline_a_bad_text_is_skipped_and_counted_and_never_kills_the_run(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "sample" / "files"
    files.mkdir(parents=True)
    (files / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (files / "ok.txt").write_text("Bo was in Rome.\r\n", encoding="utf-8", newline="")
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    labels = [label(entity(PLAIN, "Ada"))]
    rows = [exports.row(name, text, labels) for name, (text, _) in HOSTILE.items()]
    fetched = "Bo was in Rome.\r\n"
    rows.append(exports.row("fetched", "files/ok.txt", [label(entity(fetched, "Bo"), entity(fetched, "Rome", CITY))]))
    serve(start_labelbox, tmp_path, rows)
    run(jobs)
    skipped = {row_id: reason for reason, item in jobs.report()["skipped"].items() for row_id in item["ids"]}
    assert skipped == {name: reason for name, (_, reason) in HOSTILE.items()}
    assert jobs.spans(jobs.manifest()["fetched"]) == [("Bo", "Person"), ("Rome", "City")]


def test_baseline_texts_of_5_and_of_50_000_characters_are_kept(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    long = "Ada went to Rome. " * 2800
    labels = [label(entity(long, "Rome", CITY, 2799))]
    serve(start_labelbox, tmp_path, [exports.row("short", "Ada!", [label()]), exports.row("long", long, labels)])
    run(jobs)
    manifest = jobs.manifest()
    assert manifest["short"].content == "Ada!"
    assert len(manifest["long"].content) > 50_000
    assert (manifest["long"].details or {})["entities"][0]["start"] > 50_000


def test_answers_below_an_entity_are_kept_beside_it(jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path) -> None:
    nested = entity(PLAIN, "Ada", classifications=[exports.radio("role", "boss")])
    serve(start_labelbox, tmp_path, [exports.row("nested", PLAIN, [label(nested)])])
    run(jobs)
    details = jobs.manifest()["nested"].details or {}
    assert details["nested"] == [{"under": PERSON, "question": "role", "answers": ["boss"]}]


def test_baseline_an_export_that_takes_its_time_is_waited_for(
    jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    start_labelbox(sample(tmp_path / "sample", good_rows())).set(export_delay_polls=1, export_chunk_bytes=2000)
    assert run(jobs)["counts"]["rows"] == 40


PEAK = """
import sys, time
from etl.ner.main import main
code = main(sys.argv[1:])
print("VmHWM", open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""


def test_memory_stays_flat_over_twenty_thousand_rows(jobs: Jobs, start_labelbox: StartLabelbox, tmp_path: Path) -> None:
    def rows() -> Any:
        for number in range(20_000):
            text = f"Ada{number} wrote to Bo{number * 7919 % 10007} about the order of Rome{number % 97}. " * 3
            names = [entity(text, text.split()[place], kind) for place, kind in ((0, PERSON), (3, PERSON))]
            yield exports.row(f"row{number}", text, [label(*names)], exports.split_of(number))

    start_labelbox(sample(tmp_path / "sample", rows()))
    job = subprocess.run(
        [
            sys.executable,
            "-c",
            PEAK,
            f"--model-run-id={exports.RUN_ID}",
            f"--output-uri={jobs.folder}/etl/",
            f"--ending-uri={jobs.folder}/etl/ending/",
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "jobs")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert job.returncode == 0, job.stdout + job.stderr
    assert jobs.report()["rows"] == {"seen": 20_000, "labelled": 20_000, "skipped": 0}
    assert int(job.stdout.split("VmHWM")[1]) / 1024 < 200
