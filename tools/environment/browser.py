"""A headless Chromium for pictures of screens, steered over its DevTools protocol."""
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from .debian import need_program
from .ui import Failure

BROWSERS = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")  # as Odoo looks for them


class Browser:
    """One page of a headless browser; a context manager.

    :param tuple size: width and height in pixels
    """

    def __init__(self, env, size=(1366, 768)):
        self.program = need_program(env, BROWSERS, "chromium", "The browser")
        self.size = size
        self._numbers = itertools.count(1)

    def __enter__(self):
        import websocket

        self.profile = Path(tempfile.mkdtemp(prefix="dunning_browser_"))
        command = [
            self.program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--hide-scrollbars", "--force-device-scale-factor=1", "--remote-debugging-port=0",
            "--remote-allow-origins=*", f"--user-data-dir={self.profile}",
            f"--window-size={self.size[0]},{self.size[1]}", "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port = self._port()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
                page = next(page for page in json.load(answer) if page["type"] == "page")
            self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=120, suppress_origin=True)
        except BaseException:
            self.__exit__()
            raise
        self.send("Page.enable")
        self.send("Runtime.enable")
        self._resize(*self.size)
        return self

    def _port(self):
        file = self.profile / "DevToolsActivePort"
        for _wait in range(300):
            if file.exists() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise Failure(f"The browser {self.program} does not start headless: sudo apt install --reinstall chromium.")

    def __exit__(self, *error):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def send(self, method, **parameters):
        """Send one command of the DevTools protocol and return its answer."""
        number = next(self._numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise Failure(f"The browser refuses {method}: {answer['error']['message']}")
                return answer.get("result", {})

    def _resize(self, width, height):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def cookie(self, url, name, value):
        self.send("Network.setCookie", url=url, name=name, value=value)

    def evaluate(self, script):
        """The value of a piece of JavaScript on the page; promises are awaited."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failure(f"JavaScript failed on the page: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def go(self, url, wait_for="body", seconds=60):
        """Open an address and wait until it is loaded and an element is there.

        :param str wait_for: CSS selector of the element
        """
        self.send("Page.navigate", url=url)
        time.sleep(0.3)
        self.wait(f"document.readyState === 'complete' && !!document.querySelector({json.dumps(wait_for)})", seconds)
        self.settle()

    def wait(self, condition, seconds=60):
        """Wait until a JavaScript condition holds."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if self.evaluate(condition):
                return
            time.sleep(0.2)
        text = self.evaluate("document.body.innerText.slice(0, 300)")
        raise Failure(f"The page {self.evaluate('location.href')} did not come to “{condition}”; it shows: {text}")

    def settle(self):
        """Wait until fonts and images are there and nothing moves any more."""
        self.wait(
            "!document.querySelector('.o_blockUI, .o_loading_indicator, .o_list_view_skeleton')"
            " && Array.from(document.images).every((image) => image.complete || image.loading === 'lazy')"
        )
        self.evaluate("document.fonts.ready.then(() => true)")
        time.sleep(0.7)

    def picture(self, path, full=False):
        """Write a PNG of what is seen, or of the whole page."""
        if full:
            height = self.evaluate("Math.max(document.documentElement.scrollHeight, document.body.scrollHeight)")
            self._resize(self.size[0], max(self.size[1], int(height)))
            time.sleep(0.3)
        data = self.send("Page.captureScreenshot", format="png")["data"]
        if full:
            self._resize(*self.size)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(base64.b64decode(data))
