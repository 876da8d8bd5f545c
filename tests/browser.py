"""Chromium without a window, driven by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = f"none of {', '.join(NAMES)} is installed"
_START_S, _ANSWER_S = 40.0, 40.0
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
          "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
          "--font-render-hinting=none", "--remote-debugging-port=0")  # fmt: skip


def find() -> str | None:
    """The browser's program, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. `errors` gathers what its console would show in red."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come meanwhile are taken in."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_ANSWER_S))
            if message.get("id") == self._number:
                assert "error" not in message, (method, message)
                return dict(message["result"])
            self._take(message)

    def _take(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.errors.append(str(said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        """Go to an address, and return once its page has loaded."""
        self.run("window.leaving = true")
        self.call("Page.navigate", url=url)
        self.wait("!window.leaving && document.readyState === 'complete'", url)

    def run(self, script: str) -> Any:
        """What an expression is worth in the page; AssertionError if it throws."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, what: str, within_s: float = 40.0) -> Any:
        """Wait until an expression is true in the page, whichever that then is."""
        give_up_at = time.monotonic() + within_s
        while time.monotonic() < give_up_at:
            answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)  # throws while pages change
            if "exceptionDetails" not in answer and (value := answer["result"].get("value")):
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {within_s:g} s: {what}; the page says {self.text()[:2000]}")

    def text(self) -> str:
        """What the page says."""
        return str(self.run("document.body.innerText"))

    def click(self, selector: str) -> None:
        """Press what a CSS selector finds first, as a mouse does: what is covered or hidden is not pressed."""
        at = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def key(self, key: str) -> None:
        """Press one key."""
        codes = {"Tab": 9, "Enter": 13}
        for kind in ("rawKeyDown", "char", "keyUp") if key == "Enter" else ("rawKeyDown", "keyUp"):
            text = {"text": "\r"} if kind == "char" else {}
            code = {"windowsVirtualKeyCode": codes[key]}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **code, **text)

    def size(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """The window's size in CSS pixels, and whether its user likes it dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def accessibility(self, axe: Path) -> list[str]:
        """What axe-core (https://github.com/dequelabs/axe-core) finds wrong in the page, the worst kinds only."""
        self.run(axe.read_text(encoding="utf-8") + "; true")
        found = self.run(
            "axe.run({resultTypes: ['violations']})"
            ".then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
            ".flatMap(v => v.nodes.map(n => v.id + ': ' + n.html.slice(0, 200) + ' ' + n.failureSummary)))"
        )
        return [str(problem) for problem in found]

    def picture(self, path: Path) -> None:
        """What the window shows, as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser of its own, with its files below `folder`; it is ended whole."""
    program = find()
    assert program, MISSING
    profile = folder / "profile"
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    with (folder / "browser.log").open("wb") as log:
        child = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        with connect(_page_address(profile, child), max_size=None, proxy=None, compression=None) as socket:
            yield Browser(socket)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(10)


def _page_address(profile: Path, child: subprocess.Popen[bytes]) -> str:
    """The web socket of the first page, once the browser serves it."""
    give_up_at = time.monotonic() + _START_S
    port_file = profile / "DevToolsActivePort"
    while time.monotonic() < give_up_at:
        assert child.poll() is None, f"the browser ended with {child.returncode}"
        if port_file.exists() and (words := port_file.read_text().split()):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{words[0]}/json/list", timeout=10) as answer:
                for target in json.load(answer):
                    if target["type"] == "page":
                        return str(target["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError(f"the browser did not serve within {_START_S:g} s")
