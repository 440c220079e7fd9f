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

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage --disable-sync"
)
FLAGS += " --disable-background-networking --disable-component-update"
FLAGS += " --remote-debugging-pipe"
# Gives the two ends the numbers that the browser expects, and becomes the browser.
LAUNCHER = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
LAUNCHER += "os.execv(sys.argv[3], sys.argv[3:])"
PATIENCE = 60  # seconds: the machine can be busy, and axe looks at every element


def find_browser():
    """The path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def _pipe():
    """A pipe whose ends aren't 3 or 4."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high


@contextlib.contextmanager
def open_browser(path, profile):
    """A `Browser`, whose process and all of its children end with the context."""
    (read_commands, commands), (messages, write_messages) = _pipe(), _pipe()
    ends = (read_commands, write_messages)
    flags = [*FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
    launch = [sys.executable, "-c", LAUNCHER, *map(str, ends), path, *flags]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(launch, pass_fds=ends, start_new_session=True, **quiet)
    for end in ends:
        os.close(end)
    browser = Browser(commands, messages)
    try:
        yield browser
    finally:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            browser.send("Browser.close")
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(commands)
        os.close(messages)


class Browser:
    """Both ends of a browser's pipes, and the events that came so far."""

    def __init__(self, commands, messages):
        self._commands, self._messages = commands, messages
        self._unread, self._last_id, self.events = b"", 0, []

    def send(self, method, session=None, **parameters):
        """Send a command and return its result; events that come meanwhile are kept."""
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": parameters}
        data = json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while (message := self._receive()).get("id") != self._last_id:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _receive(self):
        while b"\0" not in self._unread:
            if not select.select([self._messages], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser doesn't answer")
            data = os.read(self._messages, 1 << 16)
            if not data:
                raise ConnectionResetError("the browser has ended")
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    @contextlib.contextmanager
    def tab(self, url, width=1200, height=850):
        """A page in a tab of a size in pixels."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        tab = Tab(self, self.send("Target.attachToTarget", targetId=target, flatten=True))
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            tab.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        tab.send("Emulation.setDeviceMetricsOverride", **size)
        tab.send("Page.navigate", url=url)
        tab.wait("document.readyState === 'complete'")
        yield tab
        self.send("Target.closeTarget", targetId=target)


class Tab:
    """One page: look at it, and use mouse, keys and files on it."""

    def __init__(self, browser, attached):
        self._browser, self._session = browser, attached["sessionId"]

    def send(self, method, **parameters):
        return self._browser.send(method, self._session, **parameters)

    def evaluate(self, expression):
        """The value of a JavaScript expression, awaited if it is a promise."""
        options = {"awaitPromise": True, "returnByValue": True}
        answer = self.send("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression):
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(expression)
            time.sleep(0.02)

    def events(self, *methods):
        """The parameters of this tab's events, of which all have arrived."""
        self.evaluate("0")
        mine = [e for e in self._browser.events if e.get("sessionId") == self._session]
        return [e["params"] for e in mine if e["method"] in methods]

    def place(self, selector, share=0.5):
        """Where an element is, scrolled into view: a share of its width, half of its height."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"{element}.getBoundingClientRect().toJSON()")
        return {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}

    def drag(self, selector, start, end, steps=8):
        """Drag the mouse along an element, from one to another share of its width."""
        moves = [start + step / steps * (end - start) for step in range(1, steps + 1)]
        kinds = ["mousePressed", *["mouseMoved"] * steps, "mouseReleased"]
        for kind, share in zip(kinds, [start, *moves, end], strict=True):
            options = {"type": kind, "button": "left", "clickCount": 1}
            options["buttons"] = int(kind != "mouseReleased")
            self.send("Input.dispatchMouseEvent", **options, **self.place(selector, share))

    def click(self, selector):
        self.drag(selector, 0.5, 0.5, steps=0)

    def press(self, key, code):
        """Press and release a key: its name and its virtual key code."""
        for kind in ("rawKeyDown", "keyUp"):
            names = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", type=kind, **names)

    def choose(self, selector, file):
        """Choose a file in a file input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def drop(self, selector, file):
        """Drop a file on an element."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, data=data, **self.place(selector))
