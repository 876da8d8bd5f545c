"""Takes the pictures of the console in docs/pictures anew: .venv/bin/python docs/pictures/console.py (needs Chromium).

It starts the embedded cloud on the samples, trains two models by pressing the button, and looks at the pages.
"""

from __future__ import annotations

import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "functions")]

from local.cloud import EmbeddedCloud  # noqa: E402
from local.commands import RunOptions  # noqa: E402
from local.job_environments import prepare  # noqa: E402
from local.state import StateFolder  # noqa: E402
from tests.browser import Browser, browser  # noqa: E402

TEXT, BOXES = "text_single_classification", "bounding_box_custom"
COLOURS = 128  # a page has few, and the file stays small
SEEN = "[...document.images].every(i => i.complete && i.naturalWidth)"


def take(page: Browser, name: str) -> None:
    """One picture of what the window shows, once its images are there."""
    page.run("document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })")
    page.wait(SEEN, "the images")
    path = ROOT / "docs" / "pictures" / f"console-{name}.png"
    page.picture(path)
    with Image.open(BytesIO(path.read_bytes())) as shown:
        shown.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def train(page: Browser, url: str, sample: str, model_type: str) -> str:
    """Press the button for a sample, and return the address of the run's page."""
    page.open(url)
    page.run(f"[...document.querySelectorAll('.cover')].find(a => a.innerText === {sample!r}).click()")
    page.wait("document.getElementById('type')", "the form")
    page.open(page.run("location.origin + location.pathname") + f"?type={model_type}")
    page.run("document.getElementById('train-button').click()")
    page.wait("location.pathname.startsWith('/runs/')", "the run's page")
    return str(page.run("location.href"))


def pictures(page: Browser, url: str) -> None:
    """All of them."""
    page.size(1200, 800)
    boxes = train(page, url, "Fruit boxes", BOXES)
    page.wait("document.querySelectorAll('.steps .done').length === 1", "the training", 120)
    page.wait("document.querySelector('.log').innerText.includes('poch')", "the training's words", 120)
    take(page, "live")
    text = train(page, url, "Ticket intent", TEXT)
    for run in (text, boxes):
        page.open(run)
        page.wait("document.getElementById('live').dataset.over === 'yes'", "the end", 300)
    page.size(1200, 780)
    page.open(f"{boxes}/predictions?split=test")
    take(page, "predictions")
    page.open(url)
    page.run("[...document.querySelectorAll('.cover')].find(a => a.innerText === 'Fruit boxes').click()")
    page.wait("document.getElementById('type')", "the data")
    take(page, "data")
    page.size(390, 780, dark=True)
    page.open(text)
    take(page, "phone")
    assert page.errors == [], page.errors


def main() -> None:
    """Start, take, stop."""
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(TEXT, local_dir=Path(folder))
        for name in options.offer.pipelines:
            options.offer.sample(name)
        state = StateFolder.new(options.local_dir)
        for name in (TEXT, BOXES):
            prepare(options.offer.pipelines[name], options.cloud.environments_dir, state, Console(quiet=True))
        with EmbeddedCloud(state, options.cloud) as cloud, options.console(cloud).serving() as console:
            console.wait_ready()
            with browser(Path(folder)) as page:
                pictures(page, console.url)


if __name__ == "__main__":
    main()
