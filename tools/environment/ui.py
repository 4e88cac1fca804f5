"""What `./dev` says: one clear sentence per failure, and progress during long steps."""
import os
import subprocess
import sys
import threading
import time


class Failure(Exception):
    """Something the user must know about: one sentence that names the way out. Ends with exit code 1."""


def say(message):
    """Print one line at once, whatever the output is."""
    print(message, flush=True)


def _last_line(path):
    """The last line of the end of a log, shortened to stand behind a progress line."""
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 2000))
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:100] if lines else ""


class Step:
    """A long step: says what begins, every ten seconds that it goes on, and how long it took.

    :param str title: what is done, as a phrase ("Fetching Odoo 19")
    :param log: path of a file whose last line is shown with the progress, if any
    """

    def __init__(self, title, log=None, every=10.0):
        self.title, self.log, self.every = title, log, every
        self._end = threading.Event()

    def _beat(self):
        while not self._end.wait(self.every):
            elapsed = time.monotonic() - self.start
            detail = _last_line(self.log) if self.log else ""
            say(f"  … {self.title}, {elapsed:.0f} s{': ' + detail if detail else ''}")

    def __enter__(self):
        self.start = time.monotonic()
        say(f"· {self.title}")
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self._end.set()
        self._thread.join()
        if kind is None:
            say(f"  done in {time.monotonic() - self.start:.1f} s")


def run_logged(title, command, log, failure, **kwargs):
    """Run a long command with its output in a log file.

    :param list command: the command and its arguments
    :param log: path of the log file, appended to
    :param str failure: the sentence to end with when the command fails
    :raises Failure: the command could not be started or returned an error
    """
    with Step(title, log), open(log, "ab") as output:
        try:
            code = subprocess.run(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, **kwargs
            ).returncode
        except OSError as error:
            raise Failure(f"{failure} ({error})") from error
    if code:
        with open(log, "rb") as output:
            tail = output.read().decode(errors="replace").strip().splitlines()[-15:]
        print("\n".join(f"    {line[:300]}" for line in tail), file=sys.stderr)
        raise Failure(f"{failure} The whole output is in {log}.")
