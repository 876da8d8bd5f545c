"""ETL of texts over the wire: a real storage server, the real SDK against the Labelbox stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from etl.text_classification.main import main
from jobkit.labelbox import client, split_map
from jobkit.manifest import read_manifest
from jobkit.splits import ML_USE
from jobkit.storage import Storage
from tests.jobs import exports
from tests.jobs.conftest import REPOSITORY, StartLabelbox

QUESTION = exports.question("q", "radio", exports.options("a", "b", "c"))


class Etl:
    """Runs the job and reads what it left."""

    def __init__(self, folder: str, storage: Storage) -> None:
        self.folder = folder
        self.storage = storage

    def run(self, *arguments: str, name: str = "etl") -> int:
        target = f"{self.folder}/{name}"
        return main(
            [
                f"--model-run-id={exports.RUN_ID}",
                f"--output-uri={target}/",
                f"--ending-uri={target}/ending/",
                *arguments,
            ]
        )

    def file(self, file: str, name: str = "etl") -> str:
        return self.storage.read_text(f"{self.folder}/{name}/{file}")

    def ending(self, file: str = "result.json", name: str = "etl") -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.file(f"ending/7001/{file}", name))
        return body

    @property
    def report(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.file("dataset_report.json"))
        return body

    def manifest(self) -> dict[str, Any]:
        return {row.data_row_id: row for row in read_manifest(self.storage, f"{self.folder}/etl/manifest.jsonl")}


@pytest.fixture
def etl(folder: str) -> Iterator[Etl]:
    storage = Storage()
    yield Etl(folder, storage)
    storage.close()


def says(option: str) -> dict[str, Any]:
    return exports.label(exports.radio("q", option))


def good_rows(count: int = 40) -> list[dict[str, Any]]:
    """Two classes in all three splits."""
    return [
        exports.row(f"good{n}", f"text number {n}", [says("ab"[n // 10 % 2])], exports.split_of(n))
        for n in range(count)
    ]


def serve(start: StartLabelbox, path: Path, rows: Sequence[dict[str, Any]], *questions: dict[str, Any]) -> Any:
    return start(exports.sample(path / "sample", rows, questions or (QUESTION,)))


def test_the_training_file_is_vertexs_text_jsonl_with_its_words_for_splits(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    serve(start_labelbox, tmp_path, good_rows())
    assert etl.run("--minimum-examples=5") == 0
    lines = [json.loads(line) for line in etl.file("training.jsonl").splitlines()]
    assert lines[0] == {
        "textContent": "text number 0",
        "classificationAnnotation": {"displayName": "a"},
        "dataItemResourceLabels": {ML_USE: "training"},
    }
    assert {line["dataItemResourceLabels"][ML_USE] for line in lines} == {"training", "validation", "test"}
    result = etl.ending()
    assert set(result["outputs"]) == {"training_file", "manifest", "dataset_report"}
    assert result["counts"] == {"rows": 40, "labelled": 40, "skipped": 0}
    assert etl.ending("phase-PREPARING_DATA.json") == {"version": 1}


def test_baseline_the_same_export_gives_the_same_bytes(etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path) -> None:
    serve(start_labelbox, tmp_path, good_rows())
    for name in ("first", "second"):
        assert etl.run("--minimum-examples=5", name=name) == 0
    for file in ("training.jsonl", "manifest.jsonl", "dataset_report.json"):
        assert etl.file(file, "first") == etl.file(file, "second")


HOSTILE = {
    # row id: (row_data, labels, reason it is skipped or "")
    "empty": ("", [says("a")], "empty_text"),
    "blank": (" \n\t\u3000", [says("a")], "empty_text"),
    "nul": ("a\0b", [says("a")], "not_text"),
    "huge": ("x" * 2_000_000, [says("a")], "too_large"),
    "surrogate": ("half \ud800 pair", [says("a")], "not_utf8"),
    "s3": ("s3://bucket/key.txt", [says("a")], "unsupported_address"),
    "other bucket": ("gs://not-ours/key.txt", [says("a")], "bucket_refused"),
    "metadata server": ("http://169.254.169.254/computeMetadata/v1/token", [says("a")], "address_refused"),
    "private": ("http://127.0.0.1:9/x.txt", [says("a")], "address_refused"),
    "line separators": ("one\u2028two\u2029three\x85four\r\nfive", [says("a")], ""),
    "an address in a sentence": ("see http://127.0.0.1/ for more", [says("a")], ""),
    "emoji": ("👩‍👩‍👧 é é", [says("b")], ""),
}


def test_baseline_bad_rows_are_skipped_and_counted_by_reason_and_never_kill_the_run(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    bad = [exports.row(name, text, labels) for name, (text, labels, _) in HOSTILE.items()]
    serve(start_labelbox, tmp_path, [*bad, *good_rows()])
    assert etl.run("--minimum-examples=5") == 0
    skipped = {row_id: reason for reason, item in etl.report["skipped"].items() for row_id in item["ids"]}
    assert skipped == {name: reason for name, (_, _, reason) in HOSTILE.items() if reason}
    manifest = etl.manifest()
    for name, (text, _, reason) in HOSTILE.items():
        assert (name in manifest) == (not reason)
        if not reason:
            assert manifest[name].content == text
    assert "9 of" not in etl.ending()["metadata"]["dataset"]
    assert "2 address refused" in etl.ending()["metadata"]["skipped_rows"]


def test_baseline_unlabelled_rows_are_predicted_and_not_trained_on(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = [
        exports.row("unlabelled", "nobody looked"),
        exports.row("skipped", "somebody skipped", [exports.label(skipped=True)]),
        exports.row("tie", "two opinions", [says("a"), says("b")]),
        exports.row("gone", "an old answer", [says("left-the-ontology")]),
        exports.row("unassigned", "no split", [says("a")], "UNASSIGNED"),
    ]
    serve(start_labelbox, tmp_path, [*rows, *good_rows()])
    assert etl.run("--minimum-examples=5") == 0
    manifest = etl.manifest()
    notes = {row["data_row"]["id"]: manifest[row["data_row"]["id"]].note for row in rows}
    assert notes == {
        "unlabelled": "unlabelled",
        "skipped": "unlabelled",
        "tie": "labels_disagree",
        "gone": "unlabelled",
        "unassigned": "no_split",
    }
    assert not any(manifest[name].labelled for name in notes)
    assert etl.file("training.jsonl").count("\n") == 40
    assert "the answer 'left-the-ontology' (1) is not in the ontology" in etl.report["notes"]


def test_baseline_one_rare_class_is_left_out_and_named_instead_of_stopping_everything(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    serve(start_labelbox, tmp_path, [exports.row("rare", "only one", [says("c")]), *good_rows()])
    assert etl.run("--minimum-examples=5") == 0
    assert etl.report["left_out_classes"] == {"c": 1}
    assert [entry["display_name"] for entry in etl.report["classes"]] == ["a", "b"]
    assert etl.manifest()["rare"].note == "class_left_out"
    assert "c (1)" in etl.ending()["metadata"]["left_out_classes"]


def without(split: str) -> list[dict[str, Any]]:
    return [row for row in good_rows() if json.dumps(row).find(f'"split": "{split}"') < 0]


REFUSED = {
    "one class": ([exports.row(f"r{n}", f"t{n}", [says("a")], exports.split_of(n)) for n in range(30)], "a 24/3/3"),
    "no label at all": ([exports.row(f"r{n}", f"t{n}", [], exports.split_of(n)) for n in range(30)], "a 0/0/0"),
    "too few of each": ([*good_rows(10), good_rows(20)[10]], "5 training rows each. Training/validation/test: a 8/1/1"),
    "no split": (
        [exports.row(f"r{n}", f"t{n}", [says("ab"[n % 2])], "UNASSIGNED") for n in range(30)],
        "none in training and validation and test (30 labelled rows are in no split)",
    ),
    "no validation row": (without("VALIDATION"), "none in validation"),
    "no test row": (without("TEST"), "none in test"),
    "all in training": (
        [exports.row(f"r{n}", f"t{n}", [says("ab"[n % 2])]) for n in range(30)],
        "none in validation and test",
    ),
}


@pytest.mark.parametrize(("rows", "named"), REFUSED.values(), ids=REFUSED)
def test_baseline_a_data_set_that_cannot_be_learned_fails_with_one_sentence_that_names_the_gaps(
    etl: Etl,
    start_labelbox: StartLabelbox,
    tmp_path: Path,
    rows: list[dict[str, Any]],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobkit.labelbox.LABELS_WAIT_S", 0.0)
    serve(start_labelbox, tmp_path, rows)
    assert etl.run("--minimum-examples=5") == 1
    error = etl.ending("error.json")
    assert error["kind"] == "bad_data"
    assert named in error["sentence"]
    assert "'q' needs 2 classes with 5 training rows" in error["sentence"]
    assert len(error["sentence"]) <= 255
    assert error["hint"]


def test_strict_classes_fails_naming_the_rare_class(etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path) -> None:
    serve(start_labelbox, tmp_path, [exports.row("rare", "only one", [says("c")]), *good_rows()])
    assert etl.run("--minimum-examples=5", "--strict-classes=true") == 1
    assert "c 1/0/0" in etl.ending("error.json")["sentence"]


OTHER = exports.question("other", "radio", exports.options("x"))


@pytest.mark.parametrize(
    ("questions", "arguments", "named"),
    [
        ((QUESTION, OTHER), (), ("'q' (q)", "'other' (other)")),
        ((QUESTION,), ("--question=nope",), ("'nope'", "'q' (q)")),
        ((QUESTION,), ("--classes=a,zebra",), ("'zebra'", "'c'")),
        ((QUESTION,), ("--several-labels=best",), ("--several-labels", "majority")),
        ((QUESTION,), ("--minimum-examples=many",), ("--minimum-examples", "many")),
    ],
)
def test_a_choice_that_is_not_clear_fails_as_configuration(
    etl: Etl,
    start_labelbox: StartLabelbox,
    tmp_path: Path,
    questions: tuple[dict[str, Any], ...],
    arguments: tuple[str, ...],
    named: tuple[str, ...],
) -> None:
    serve(start_labelbox, tmp_path, good_rows(), *questions)
    assert etl.run(*arguments) == 1
    error = etl.ending("error.json")
    assert error["kind"] == "configuration"
    assert all(word in error["sentence"] for word in named)


def test_rows_without_a_split_are_split_by_hash_when_asked_and_always_alike(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = [exports.row(f"r{n}", f"text {n}", [says("ab"[n % 2])], None) for n in range(300)]
    serve(start_labelbox, tmp_path, rows)
    assert etl.run("--minimum-examples=5", "--make-split=true") == 0
    splits = [row.split for row in etl.manifest().values()]
    assert 200 < splits.count("training") < 280
    assert splits.count("validation") > 10
    assert splits.count("test") > 10


def test_the_annotation_groups_say_the_split_of_every_row(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    rows = good_rows(250)  # more than two pages
    serve(start_labelbox, tmp_path, rows)
    assert split_map(client(), exports.RUN_ID) == {
        row["data_row"]["id"]: exports.split_of(n).lower() for n, row in enumerate(rows)
    }


def test_labels_that_reach_the_export_late_are_waited_for(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobkit.labelbox.LABELS_PAUSE_S", 0.1)
    serve(start_labelbox, tmp_path, good_rows()).set(labels_appear_after_exports=2)
    assert etl.run("--minimum-examples=5") == 0
    assert etl.report["rows"] == {"seen": 40, "labelled": 40, "skipped": 0}


def test_labels_of_another_place_are_no_sign_that_this_runs_have_arrived(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobkit.labelbox.LABELS_PAUSE_S", 0.1)
    rows = [row | {"projects": {"p": {"labels": [says("c")]}}} for row in good_rows()]
    serve(start_labelbox, tmp_path, rows).set(labels_appear_after_exports=1)
    assert etl.run("--minimum-examples=5") == 0
    assert etl.report["rows"] == {"seen": 40, "labelled": 40, "skipped": 0}


def test_an_export_in_many_chunks_loses_no_row_and_keeps_their_order(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path
) -> None:
    serve(start_labelbox, tmp_path, good_rows(200)).set(export_chunk_bytes=1500, rate_limit=3)
    assert etl.run("--minimum-examples=5") == 0
    assert list(etl.manifest()) == [f"good{n}" for n in range(200)]


def test_texts_behind_urls_and_in_named_buckets_are_read(
    etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "sample" / "files"
    files.mkdir(parents=True)
    (files / "ok.txt").write_bytes("\ufeffwith a mark — ünïcode".encode())
    (files / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    etl.storage.write_text(f"{etl.folder}/texts/one.txt", "in the bucket", "text/plain")
    rows = [
        exports.row("url", "files/ok.txt", [says("a")]),
        exports.row("latin", "files/latin.txt", [says("a")]),
        exports.row("gone", "files/gone.txt", [says("a")]),
        exports.row("bucket", f"{etl.folder}/texts/one.txt", [says("a")]),
        exports.row("no object", f"{etl.folder}/texts/none.txt", [says("a")]),
    ]
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("DATA_BUCKETS", "another, jobs-test")
    serve(start_labelbox, tmp_path, [*rows, *good_rows()])
    assert etl.run("--minimum-examples=5") == 0
    manifest = etl.manifest()
    assert manifest["url"].content == "with a mark — ünïcode"
    assert manifest["bucket"].content == "in the bucket"
    skipped = {row_id: reason for reason, item in etl.report["skipped"].items() for row_id in item["ids"]}
    assert skipped == {"latin": "not_utf8", "gone": "not_found", "no object": "unreadable_object"}


def test_contents_that_lie_in_two_splits_are_reported(etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path) -> None:
    twins = [
        exports.row("t1", "The  same text", [says("a")], "TRAINING"),
        exports.row("t2", "the same TEXT", [says("a")], "TEST"),
        exports.row("t3", "twice in training", [says("a")], "TRAINING"),
        exports.row("t4", "twice in training", [says("a")], "TRAINING"),
    ]
    serve(start_labelbox, tmp_path, [*twins, *good_rows()])
    assert etl.run("--minimum-examples=5") == 0
    assert etl.report["duplicates_across_splits"] == {"count": 2, "contents": 1, "ids": ["t1", "t2"]}


@pytest.mark.parametrize(
    ("endpoint_key", "kind"), [("wrong-key", "permission"), ("test-key", "configuration")], ids=["key", "run"]
)
def test_a_refused_key_and_an_unknown_run_are_told_apart(
    etl: Etl,
    start_labelbox: StartLabelbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    endpoint_key: str,
    kind: str,
) -> None:
    serve(start_labelbox, tmp_path, good_rows())
    monkeypatch.setenv("LABELBOX_API_KEY", endpoint_key)
    assert etl.run("--model-run-id=unknown-run") == 1
    assert etl.ending("error.json")["kind"] == kind


PEAK = """
import sys
from etl.text_classification.main import main
code = main(sys.argv[1:])
print("VmHWM", open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""


def test_a_hundred_thousand_rows_take_less_than_300_mb(etl: Etl, start_labelbox: StartLabelbox, tmp_path: Path) -> None:
    rows = (
        exports.row(
            f"row{n}",
            f"Ticket {n}: thing {n % 977} of order {n * 7919 % 100003} broke. " * 4,
            [says("abc"[n // 10 % 3])],
            exports.split_of(n),
        )
        for n in range(100_000)
    )
    start_labelbox(exports.sample(tmp_path / "sample", rows, (QUESTION,)))
    target = f"{etl.folder}/etl"
    job = subprocess.run(
        [
            sys.executable,
            "-c",
            PEAK,
            f"--model-run-id={exports.RUN_ID}",
            f"--output-uri={target}/",
            f"--ending-uri={target}/ending/",
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "jobs")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert job.returncode == 0, job.stdout + job.stderr
    assert etl.report["rows"] == {"seen": 100_000, "labelled": 100_000, "skipped": 0}
    peak_mb = int(job.stdout.split("VmHWM")[1]) / 1024  # ru_maxrss would start at this process's own memory
    assert peak_mb < 300
