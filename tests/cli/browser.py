"""A real browser for tests: Chromium without a window, told what to do through a pair of pipes.

The protocol is Chrome DevTools' (https://chromedevtools.github.io/devtools-protocol/), as JSON texts that end
with a zero byte. The browser is that of XPNET_CHROMIUM, or the first known one on the PATH.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

__all__ = ["Browser", "find_chromium"]

_NAMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
          "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe")  # fmt: skip


def find_chromium() -> str | None:
    """Return the path of a browser, None if there is none."""
    named = os.environ.get("XPNET_CHROMIUM")
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """A page of a browser without network; remembers what was requested and what went wrong."""

    def __init__(self, chromium: str, profile: Path, seconds: float = 60.0):
        self.seconds = seconds
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._seen: set[str] = set()
        self._number, self._rest, self._session = 0, b"", ""
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # the browser looks for its ends at 3 and 4
        script = f'exec "$0" "$@" 3</dev/fd/{theirs_in} 4>/dev/fd/{theirs_out}'
        self._process = subprocess.Popen(
            ["sh", "-c", script, chromium, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def __enter__(self) -> Browser:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=0, uploadThroughput=0,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)
        os.close(self._from)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show(
        self, page: Path, *, width: int, height: int = 900, scheme: str = "light", media: str = ""
    ) -> None:
        """Open a file at a width in CSS pixels, on a light or dark system, on the screen or on paper."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self._seen.discard("Page.loadEventFired")
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._read_until(lambda: "Page.loadEventFired" in self._seen)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """Return what is seen of the page as a PNG file."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def call(self, method: str, **parameters: Any) -> Any:
        """Return the browser's answer to a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answers: list[Any] = []

        def answered() -> bool:
            answers.extend(m for m in self._arrived if m.get("id") == self._number)
            return bool(answers)

        self._read_until(answered)
        assert "error" not in answers[0], f"{method}: {answers[0]}"
        return answers[0]["result"]

    def _read_until(self, done: Any) -> None:
        end = time.monotonic() + self.seconds
        self._arrived: list[Any] = []
        while not done():
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser said nothing for {self.seconds} s"
            block = os.read(self._from, 1 << 20)
            assert block, f"the browser has ended, with {self._process.wait(10)}"
            *texts, self._rest = (self._rest + block).split(b"\0")
            self._arrived = [json.loads(text) for text in texts]
            for message in self._arrived:
                self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str | None, values: Any) -> None:
        if event is None:
            return
        self._seen.add(event)
        if event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(values))
        elif event == "Log.entryAdded":
            self.complaints.append(values["entry"]["text"])
