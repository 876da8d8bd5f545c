"""Forgetting: every copy of a data row goes, nothing else does, and what cannot be reached is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ops.row_traces import Traces, cleaned
from ops.vertex_leftovers import Leftover
from orchestrator.identities import RunId
from tests.functions.world import World
from tests.ops.operators import Commands, CommandsFor, MemoryLeftovers, deployment_of

ROW, KEY, OTHER = "row-of-ann", "ann.txt", "row-of-bob"
TEXT = "My name is Ann and I live in the blue house behind the mill."
TRACES = Traces(frozenset({ROW, KEY}), frozenset({TEXT}))

IDS, ID = {"ids": [ROW, OTHER], "count": 2}, {"first": ROW, "n": [{"id": OTHER}]}
BOB = f'{{"id":"{OTHER}"}}\n'
CASES: dict[str, tuple[str, str, str | None]] = {
    "a line that names the row": ("p.ndjson", f'{{"dataRow":{{"id":"{ROW}"}}}}\n{BOB}', BOB),
    "a line with its text": ("t.jsonl", f'{{"textContent":"{TEXT}"}}\n{BOB}', BOB),
    "a line with its global key as a key": ("t.jsonl", f'{{"{KEY}":1}}\n', ""),
    "a broken line that names it": ("t.jsonl", f"not json {ROW}\nelse\n", "else\n"),
    "an id in a list of a document": ("r.json", json.dumps(IDS), json.dumps({"ids": [OTHER], "count": 2})),
    "an id as a value": ("r.json", json.dumps(ID), json.dumps({"n": [{"id": OTHER}]})),
    "a page that shows the beginning of the text": ("report.html", f"<p>{TEXT[:45]}…</p>", None),
    "a page that names the row": ("report.html", f"<code>{ROW}</code>", None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_tells_of_the_row_is_taken_out_and_all_else_stays(case: str) -> None:
    name, before, after = CASES[case]
    found = cleaned(name, before.encode(), TRACES)
    assert found is not None and found.gone
    if after is None or found.content is None:
        assert found.content is None and after is None
    elif name.endswith(".json"):
        assert json.loads(found.content) == json.loads(after)
    else:
        assert found.content.decode() == after


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.ndjson", f'{{"id":"{OTHER}"}}\n\n'),
        ("t.jsonl", f'{{"textContent":"{TEXT} And more, by somebody else."}}\n'),
        ("r.json", "{broken"),
        ("report.html", f"<p>{OTHER}</p>"),
        ("weights.bin", ROW),
    ],
)
def test_what_does_not_tell_of_it_or_cannot_be_read_is_left_as_it_is(name: str, content: str) -> None:
    assert cleaned(name, content.encode(), TRACES) is None


def manifest(*rows: tuple[str, str, str]) -> bytes:
    lines = [{"data_row_id": ident, "global_key": key, "content": content} for ident, key, content in rows]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def instances(*uris: str) -> bytes:
    return "".join(f'{{"instance":{{"content":"{uri}"}}}}\n' for uri in uris).encode()


@pytest.fixture
def kept(world: World) -> dict[str, bytes]:
    """A run of texts that has ended with the row in it, one of pictures that has, and one without it."""
    for number in (1, 2, 3):
        world.labelbox.configs[f"mr-{number}"] = {}
        world.start(model_run_id=f"mr-{number}")
        world.complete_text_run()
    for marker in list(world.store.list("active/")):
        world.store.delete(marker.name)
    mine, bobs = "gs://bucket/images/ann", "gs://bucket/images/bob"
    twin = "gs://bucket/images/twin"
    objects: dict[str, bytes] = {
        "data/mr-1/1/etl/manifest.jsonl": manifest((ROW, KEY, TEXT), (OTHER, "bob.txt", "I am Bob.")),
        "data/mr-1/1/etl/training.jsonl": f'{{"textContent":"{TEXT}"}}\n{{"textContent":"I am Bob."}}\n'.encode(),
        "data/mr-1/1/etl/dataset_report.json": json.dumps({"skipped": {"x": {"ids": [OTHER]}}}).encode(),
        "data/mr-1/1/inference/predictions.ndjson": f'{{"dataRow":{{"id":"{ROW}"}}}}\n'.encode(),
        "data/mr-1/1/inference/report.html": f"<p>{TEXT}</p>".encode(),
        "data/mr-1/1/inference/metrics.json": b'{"f1": 1}',
        "data/mr-1/1/train/model/weights.safetensors": b"\0",
        "data/mr-2/1/etl/manifest.jsonl": manifest(
            (ROW, KEY, mine), (OTHER, "b", bobs), (ROW, KEY, twin), ("c", "c", twin)
        ),
        "batch/mr-2/1/predict/predictions_00001.jsonl": instances(mine, bobs),
        "data/mr-3/1/etl/manifest.jsonl": manifest((OTHER, "b", "I am Bob.")),
        "data/mr-3/1/inference/report.html": f"<p>{OTHER}</p>".encode(),
        **dict.fromkeys(("images/ann", "images/bob", "images/twin"), b"jpeg"),
        "reports/texts/20261123T000000Z-mr-1.1.jsonl": f'["{ROW}","test"]\n["{OTHER}","test"]\n'.encode(),
    }
    for name, content in objects.items():
        assert world.store.create(name, content)
    return objects


@pytest.fixture
def leftovers() -> MemoryLeftovers:
    def item(kind: str, run: str) -> Leftover:
        labels = {"lb_model_run": run, "lb_run_number": "1"}
        return Leftover(kind, f"projects/p/{kind}s/of-{run}", datetime(2026, 11, 23, tzinfo=UTC), labels)

    return MemoryLeftovers([item("data set", "mr-2"), item("model", "mr-2"), item("data set", "mr-3")])


@pytest.fixture
def forget(world: World, leftovers: MemoryLeftovers, commands_for: CommandsFor) -> Commands:
    return commands_for(deployment_of(world, leftovers=leftovers))


def left(world: World) -> dict[str, bytes]:
    names = [item.name for prefix in ("data/", "batch/", "images/", "reports/") for item in world.store.list(prefix)]
    return {name: world.store.read(name) or b"" for name in names}


def test_a_dry_run_shows_all_and_changes_nothing(
    world: World, kept: dict[str, bytes], leftovers: MemoryLeftovers, forget: Commands
) -> None:
    answer = forget("--json", "forget", ROW)
    assert answer.code == 0, answer.err
    assert (answer.json["runs"], answer.json["removed"]) == (["mr-1.1", "mr-2.1"], False)
    assert left(world) == kept and len(leftovers.items) == 3
    assert "This was a dry run: add --yes to remove it." in forget("forget", ROW).out


@pytest.mark.parametrize("name", [ROW, KEY])
def test_every_copy_goes_and_nothing_else(
    world: World, kept: dict[str, bytes], leftovers: MemoryLeftovers, forget: Commands, name: str
) -> None:
    answer = forget("--json", "forget", name, "--yes")
    assert answer.code == 0, answer.err
    now = left(world)
    everything = b"\n".join(now.values()).decode("utf-8", "replace")
    assert not [trace for trace in (ROW, KEY, TEXT, "images/ann") if trace in everything]
    gone = set(kept) - set(now)
    assert gone == {"data/mr-1/1/inference/report.html", "images/ann"}
    untouched = [name for name in kept if name.startswith(("data/mr-3/", "images/bob", "images/twin"))]
    untouched += ["data/mr-1/1/etl/dataset_report.json", "data/mr-1/1/inference/metrics.json"]
    assert {name: now[name] for name in untouched} == {name: kept[name] for name in untouched}
    assert everything.count("I am Bob.") == 3 and "images/bob" in everything
    assert [item.name for item in leftovers.items] == ["projects/p/models/of-mr-2", "projects/p/data sets/of-mr-3"]
    again = forget("forget", name, "--yes")
    assert again.code == 3 and f"No run has a data row {name}" in again.err


def test_it_says_what_it_cannot_reach(kept: dict[str, bytes], forget: Commands) -> None:
    told = "\n".join(forget("--json", "forget", ROW).json["out_of_reach"])
    assert "model projects/p/models/of-mr-2 may have learned from it" in told
    assert "caches of mr-1.1 may hold what was learned from it: data/mr-1/1/train/model/" in told
    assert "images/twin stays: data row c shows the same picture." in told
    assert "Labelbox keeps the data row" in told and "soft delete" in told


def test_a_run_that_only_skipped_the_row_forgets_it(world: World, kept: dict[str, bytes], forget: Commands) -> None:
    name = "data/mr-3/1/etl/dataset_report.json"
    world.store.create(name, json.dumps({"skipped": {"no_content": {"count": 1, "ids": ["gone", OTHER]}}}).encode())
    assert forget("forget", "gone", "--yes").code == 0
    report: dict[str, Any] = json.loads(world.store.read(name) or b"{}")
    assert report["skipped"]["no_content"]["ids"] == [OTHER]


def test_an_interrupted_command_can_be_repeated(world: World, kept: dict[str, bytes], forget: Commands) -> None:
    changes = [item["name"] for item in forget("--json", "forget", ROW).json["objects"]]
    found_by = [name for name in kept if name.endswith(("manifest.jsonl", "report.html")) and "mr-3" not in name]
    assert changes[-3:] == sorted(found_by)


def test_the_report_of_a_cleaned_run_forgets_the_row_too(
    world: World, kept: dict[str, bytes], forget: Commands
) -> None:
    world.store.delete("data/mr-3/1/etl/manifest.jsonl")
    answer = forget("--json", "forget", OTHER)
    assert "data/mr-3/1/inference/report.html" in [item["name"] for item in answer.json["objects"]]


def test_a_row_of_a_run_under_way_is_not_touched(world: World, forget: Commands) -> None:
    run = world.start()
    assert isinstance(run, RunId)
    world.store.create(f"data/{run.slug}/1/etl/manifest.jsonl", manifest((ROW, KEY, TEXT)))
    answer = forget("forget", ROW, "--yes")
    assert answer.code == 1 and f"{run} is under way" in answer.err and "cancel it" in answer.err
