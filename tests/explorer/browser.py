"""A headless Chromium, driven by the DevTools protocol over a pair of pipes.

With `--remote-debugging-pipe` the browser reads commands from file descriptor 3 and writes results
and events to 4: JSON, each message ended by a NUL (https://chromedevtools.github.io/devtools-protocol).
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--remote-debugging-pipe",
]
# Gives the two ends the numbers that the browser expects, and becomes the browser.
LAUNCHER = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
LAUNCHER += "os.execv(sys.argv[3], sys.argv[3:])"
PATIENCE = 20  # seconds


def find_browser() -> str | None:
    """The path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends aren't 3 or 4."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


class Browser:
    """A browser process; leaving the context ends it and all of its children."""

    def __init__(self, path: str, profile: Path) -> None:
        read_commands, self._commands = _pipe()
        self._messages, write_messages = _pipe()
        ends = (read_commands, write_messages)
        flags = [*FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *map(str, ends), path, *flags],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in ends:
            os.close(end)
        self._unread = b""
        self._last_id = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            self.send("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._commands)
        os.close(self._messages)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        data = json.dumps(command).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            message = self._receive()
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            if not select.select([self._messages], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser doesn't answer")
            data = os.read(self._messages, 1 << 16)
            if not data:
                raise ConnectionResetError("the browser has ended")
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def open(self, url: str, width: int, height: int) -> "Tab":
        """Open a page in a tab of a size in pixels."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, target, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            tab.send(f"{domain}.enable")
        tab.resize(width, height)
        tab.send("Page.navigate", url=url)
        tab.wait("document.readyState === 'complete'")
        return tab


class Tab:
    """One page: look at it, and use mouse, keys and files on it."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command to this tab."""
        return self._browser.send(method, self._session, **parameters)

    def close(self) -> None:
        """Close the tab."""
        self._browser.send("Target.closeTarget", targetId=self._target)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size in pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(expression)
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """What the console says: warnings, errors, refusals of the security policy."""
        self.evaluate("0")  # whatever was on its way has arrived with the answer
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        mine = [e for e in self._browser.events if e.get("sessionId") == self._session]
        return [json.dumps(e["params"]) for e in mine if e["method"] in kinds]

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        mine = [e for e in self._browser.events if e.get("sessionId") == self._session]
        sent = [e["params"] for e in mine if e["method"] == "Network.requestWillBeSent"]
        return [parameters["request"]["url"] for parameters in sent]

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, scrolled into view."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center'}})")
        rectangle = self.evaluate(f"{element}.getBoundingClientRect().toJSON()")
        return tuple(rectangle[name] for name in ("left", "top", "width", "height"))

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        """Send a mouse event: mousePressed, mouseMoved or mouseReleased."""
        self.send(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="none" if kind == "mouseMoved" and not buttons else "left",
            buttons=buttons,
            clickCount=0 if kind == "mouseMoved" else 1,
        )

    def drag(self, selector: str, start: float, end: float, steps: int = 8) -> None:
        """Drag along an element, from one to another part of its width."""
        left, top, width, height = self.box(selector)
        y = top + height / 2
        self.mouse("mousePressed", left + start * width, y, 1)
        for step in range(1, steps + 1):
            self.mouse("mouseMoved", left + (start + step / steps * (end - start)) * width, y, 1)
        self.mouse("mouseReleased", left + end * width, y)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        left, top, width, height = self.box(selector)
        for kind, buttons in (("mousePressed", 1), ("mouseReleased", 0)):
            self.mouse(kind, left + width / 2, top + height / 2, buttons)

    def press(self, key: str, code: int) -> None:
        """Press and release a key: its name and its virtual key code."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in a file input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def drop(self, selector: str, file: Path) -> None:
        """Drop a file on an element."""
        left, top, width, height = self.box(selector)
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send(
                "Input.dispatchDragEvent",
                type=kind,
                x=left + width / 2,
                y=top + height / 2,
                data={"items": [], "files": [str(file)], "dragOperationsMask": 1},
            )

    def screenshot(self) -> str:
        """The window as a PNG in base64."""
        return self.send("Page.captureScreenshot", format="png")["data"]
