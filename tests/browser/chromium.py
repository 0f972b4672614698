"""Chromium without a window, driven over two pipes by its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/: JSON messages, each ended by NUL; Chromium reads them from file
descriptor 3 and writes to 4 (`--remote-debugging-pipe`).
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.node.browser import program

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # its own needs user namespaces, which containers lack; it opens nothing but our pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Browser:
    """A browser that runs."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers = to, answers
        self._rest = b""
        self._number = 0

    def send(self, method: str, session: str | None, parameters: dict[str, object]) -> int:
        """Send a call, to a tab if a session is given; its number."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return self._number

    def receive(self) -> dict[str, Any]:
        """The next message."""
        while b"\0" not in self._rest:
            data = os.read(self._answers, 1 << 16)
            assert data, "Chromium ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Tab:
    """A page that is open, and all that happened on it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Close it."""
        self.call("Target.closeTarget", targetId=self._target)

    def open(self, page: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.call("Page.navigate", url=page.as_uri())
        while not self.happened("Page.loadEventFired"):
            self._keep(self._browser.receive())
        self.script("void 0")  # what loading has caused is told before the answer

    def script(self, expression: str) -> Any:
        """The value of an expression."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def click(self, selector: str) -> None:
        """Click on the first element of this kind, as a mouse does."""
        element = f"document.querySelector({json.dumps(selector)})"
        x, y = self.script(
            f"(() => {{ {element}.scrollIntoView({{block: 'center'}}); const at = {element}.getBoundingClientRect();"
            " return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Put text where the cursor is, as a keyboard does."""
        self.call("Input.insertText", text=text)

    def happened(self, method: str) -> list[dict[str, Any]]:
        """What the events of this kind say."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def call(self, method: str, **parameters: object) -> Any:
        """Call the browser and wait for its answer; events that come first are kept."""
        number = self._browser.send(method, self._session, parameters)
        while (answer := self._browser.receive()).get("id") != number:
            self._keep(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _keep(self, event: dict[str, Any]) -> None:
        if event.get("sessionId") == self._session:  # else it is of a tab before
            self.events.append(event)


@contextmanager
def running(folder: Path) -> Iterator[Browser]:
    """A browser with its data in this folder."""
    its_in, to = os.pipe()
    answers, its_out = os.pipe()
    # Bash gives the pipes the numbers that Chromium expects.
    start = f'exec "$0" "$@" 3<&{its_in} 4>&{its_out}'
    command = ["bash", "-c", start, program(), *_OPTIONS, f"--user-data-dir={folder}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, pass_fds=(its_in, its_out), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    os.close(its_in)
    os.close(its_out)
    try:
        browser = Browser(to, answers)
        yield browser
        browser.send("Browser.close", None, {})
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(answers)
