"""The page in the browser: a training pressed, watched, cancelled, retried and looked at, by forms and in Chromium."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.console.service import ConsoleService
from tests import browser
from tests.local.console_world import HOSTILE, NOTES, Visitor, console_world, model_run

Wait = Callable[..., Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleService]:
    with console_world(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(service: ConsoleService) -> Visitor:
    return Visitor(service.url)


def is_over(visitor: Visitor, run: str) -> bool:
    return 'data-over="yes"' in visitor.get(f"/runs/{run}/live").text


@pytest.fixture(scope="module")
def finished(visitor: Visitor, eventually: Wait) -> str:
    """A run that was started by the form, and is over."""
    answer = visitor.train(1, rate="0.25")
    assert answer.status_code == 200, answer.text
    run = f"{model_run(1)}.1"
    assert answer.url.endswith(f"/runs/{run}")
    eventually(lambda: is_over(visitor, run), "the run is over", 60)
    return run


def test_the_data_is_shown_with_its_labels_and_splits_page_by_page(visitor: Visitor) -> None:
    home = visitor.get("/").text
    assert "Pictures" in home and home.count('class="card"') == 5  # one a model run
    first = visitor.get(f"/data/{model_run(1)}").text
    assert first.count('class="text"') == 24 and "1 to 24 of 30" in first and "Yes &amp; now" in first
    last = visitor.get(f"/data/{model_run(1)}?page=99&split=test").text
    assert last.count('class="text"') == 10 and "note-3<" in last and "note-4<" not in last
    assert "Note 4 &lt;b&gt;&amp;&lt;/b&gt; more" in first


def test_what_strangers_wrote_into_data_is_shown_and_never_run(visitor: Visitor) -> None:
    page = visitor.get(f"/data/{model_run(1)}")
    assert HOSTILE not in page.text and HOSTILE.replace("<", "&lt;").replace(">", "&gt;")[:20] in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy


def test_boxes_are_drawn_over_their_image(visitor: Visitor) -> None:
    page = visitor.get("/data/4e-boxes").text
    assert '<rect class="frame" x="5.0" y="10.0" width="30.0" height="20.0">' in page
    source = re.search(r'<img src="(/files/[^"]+)"', page)
    assert source and visitor.get(source[1]).content.startswith(b"\x89PNG")


NOT_THERE = (
    *("/files/pictures/../secret.txt", "/files/pictures/files/..%2F..%2Fsecret.txt", "/files/pictures/ontology.json"),
    *("/files/nothing/files/x", "/images/facts%2Fx.jpg", f"/images/{'0' * 64}.jpg", "/data/unknown"),
    *("/runs/unknown.1", "/runs/un known", "/runs/unknown.1/live", "/runs/unknown.1/report", "/runs/unknown.1/retry"),
)


@pytest.mark.parametrize("path", NOT_THERE)
def test_what_is_not_there_is_answered_with_what_to_do(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 404 and "not for the page" not in answer.text
    assert "Look for it from the first page." in answer.text


def test_every_wrong_parameter_is_told_at_once_in_its_place_and_nothing_is_sent(visitor: Visitor) -> None:
    answer = visitor.train(4, seed="10", rate="fast", mood="wild", unknown="1")
    assert answer.status_code == 422
    for problem in ("seed must be at most 9, not 10", "rate must be a number, not &#39;fast&#39;",
                    "unknown is no parameter", "mood must be one of calm, bold"):  # fmt: skip
        assert problem in answer.text, problem
    assert re.search(r'id="p.seed-problem">seed must', answer.text) and 'value="fast"' in answer.text
    assert visitor.get(f"/runs/{model_run(4)}.1").status_code == 404


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "unheard"}, "GET /models offers no"),
        ({"type": NOTES, "p.machine": "a-giant"}, "machine a-giant is not allowed here"),
    ],
    ids=["type", "limit"],
)
def test_what_the_deployment_refuses_is_told_in_the_form(visitor: Visitor, fields: dict[str, str], told: str) -> None:
    page = f"/data/{model_run(4)}"
    answer = visitor.send(page, f"{page}/train", fields)
    assert answer.status_code == 422 and told in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "stranger.example:{port}"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "http://stranger.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({}, 403),
        ({"Cookie": "console-{port}=another"}, 403),
    ],
)
def test_no_other_page_can_press_the_button(
    visitor: Visitor, service: ConsoleService, headers: dict[str, str], status: int
) -> None:
    page = f"/data/{model_run(4)}"
    token = re.search(r'name="token" value="([0-9a-f]+)"', visitor.get(page).text)
    assert token
    given = {name: value.format(port=service.port) for name, value in headers.items()}
    data = {"type": NOTES, "token": token[1]} if headers else {"type": NOTES}
    answer = visitor.session.post(f"{visitor.url}{page}/train", data=data, headers=given, timeout=30)
    assert answer.status_code == status
    assert visitor.get(f"/runs/{model_run(4)}.1").status_code == 404


def test_a_stranger_s_name_for_this_machine_is_shown_nothing(visitor: Visitor) -> None:
    answer = visitor.get("/", headers={"Host": "stranger.example"})
    assert answer.status_code == 421 and "Pictures" not in answer.text


def test_a_finished_run_shows_its_figures_predictions_and_report(visitor: Visitor, finished: str) -> None:
    page = visitor.get(f"/runs/{finished}").text
    assert "65.5<small>%</small>" in page and "majority baseline 50.0%" in page
    assert "rate=0.25" in page and "http-equiv" not in page
    wrong = visitor.get(f"/runs/{finished}/predictions?split=test&verdict=wrong").text
    assert wrong.count('<li class="wrong">') == 10 and "0.75" in wrong and "note-0<" in wrong
    right = visitor.get(f"/runs/{finished}/predictions?split=training&verdict=right").text
    assert right.count('<li class="right">') == 19 and "19 of 19 labelled rows" in right
    assert visitor.get(f"/runs/{finished}/predictions?verdict=unlabelled").text.count('<li class="unlabelled">') == 1
    report = visitor.get(f"/runs/{finished}/report")
    assert "The report" in report.text and "sandbox" in report.headers["content-security-policy"]
    log = re.search(rf'href="(/runs/{finished}/logs/\d+)"', page)
    assert log and "Doing etl" in visitor.get(log[1]).text
    assert visitor.get(f"/runs/{finished}/logs/1").status_code == 404
    assert NOTES in visitor.get("/runs/").text


def test_a_pressed_button_trains_with_what_was_typed(visitor: Visitor, finished: str) -> None:
    state = visitor.get(f"/runs/{finished}").text
    assert "parameters settled: hold=False, machine=n1-standard-4, mood=calm, rate=0.25, seed=0" in state


def test_a_retry_takes_over_the_stages_before_it_and_changes_what_they_did_not_use(
    visitor: Visitor, finished: str, eventually: Wait
) -> None:
    page = f"/runs/{finished}/retry"
    form = visitor.get(f"{page}?stage=train").text
    assert 'id="p.rate"' in form and 'id="p.seed"' not in form and 'value="0.25"' in form
    refused = visitor.send(page, page, {"stage": "train", "p.rate": "2"})
    assert refused.status_code == 422 and "rate must be at most 1, not 2" in refused.text
    following = f"{model_run(1)}.2"
    answer = visitor.send(page, page, {"stage": "inference"})
    assert answer.url.endswith(f"/runs/{following}")
    eventually(lambda: is_over(visitor, following), "the retry is over", 60)
    shown = visitor.get(f"/runs/{following}").text
    assert shown.count('<li class="reused"') == 2 and "65.5<small>" in shown
    assert f"The run was followed by {following}." in visitor.get(page).text


def test_a_cancel_stops_the_run_and_says_who_asked(visitor: Visitor, eventually: Wait) -> None:
    assert visitor.train(2, hold="true").status_code == 200
    run = f"/runs/{model_run(2)}.1"
    eventually(lambda: "train/job/1 launched" in visitor.get(f"{run}/live").text, "the training is launched", 60)
    running = visitor.get(run).text
    assert '<noscript><meta http-equiv="refresh"' in running and "Cancel this run" in running
    assert "The run is still under way." in visitor.get(f"{run}/retry").text
    assert visitor.train(2).url.endswith("?already=yes")
    visitor.send(run, f"{run}/cancel", {"reason": "too  long"})
    eventually(lambda: is_over(visitor, f"{model_run(2)}.1"), "the run is over", 60)
    ended = visitor.get(run).text
    assert "It failed" in ended and "too long" in ended
    answer = visitor.session.post(
        f"{visitor.url}{run}/cancel",
        data={"token": re.findall(r'"token" value="(\w+)"', visitor.get(f"{run}/retry").text)[0]},
    )
    assert answer.status_code == 409 and "there is nothing to cancel" in answer.text


AXE = os.environ.get("AXE_CORE", "")


@pytest.mark.skipif(browser.find() is None, reason=browser.MISSING)
@pytest.mark.skipif(not AXE, reason="AXE_CORE names no axe.min.js; make test-accessibility fetches it")
def test_nobody_is_shut_out_of_any_page(service: ConsoleService, finished: str, tmp_path: Path) -> None:
    """Serious problems that axe-core finds, in light and dark, wide and narrow."""
    data, run = f"data/{model_run(1)}", f"runs/{finished}"
    paths = ("", data, "data/4e-boxes", "runs/", run, f"{run}/predictions", f"{run}/retry", "nothing")
    problems = []
    with browser.browser(tmp_path) as page:
        for width, dark in ((1280, False), (1280, True), (360, False), (360, True)):
            page.size(width, 800, dark=dark)
            for path in paths:
                page.open(service.url + path)
                page.run("document.querySelectorAll('details').forEach(part => { part.open = true })")
                problems += [f"/{path}, {width}, dark {dark}: {found}" for found in page.accessibility(Path(AXE))]
    assert not problems, "\n".join(problems)


@pytest.mark.skipif(browser.find() is None, reason=browser.MISSING)
def test_in_a_browser_the_button_is_pressed_the_run_watched_and_its_predictions_seen(
    service: ConsoleService, tmp_path: Path
) -> None:
    with browser.browser(tmp_path) as page:
        page.open(f"{service.url}data/{model_run(3)}")
        assert page.run("document.title").startswith("Notes <script>")
        page.click("summary")
        page.run("document.getElementById('p.rate').value = '0.75'")
        page.click("#train-button")
        page.wait("location.pathname.startsWith('/runs/')", "the run's page")
        page.wait("document.getElementById('live')?.dataset.over === 'yes'", "the end, without a key pressed")
        assert "65.5" in page.text() and "rate=0.75" in page.text()
        page.click("a.primary")
        page.wait("location.pathname.endsWith('/predictions')", "the predictions")
        page.wait("document.querySelectorAll('li.wrong').length > 5", "rows judged wrong")
        page.size(360, 740, dark=True)
        assert page.run("document.documentElement.scrollWidth") <= 360
        page.key("Tab")
        assert page.run("document.activeElement.className") == "skip"
        assert page.errors == []
