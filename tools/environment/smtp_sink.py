"""A real SMTP server on this machine that delivers nothing: each mail becomes an .eml file in a folder."""
import contextlib
import re
import threading
from pathlib import Path

from .ui import Failure, say


class SmtpSink:
    """Take mails over SMTP and keep them as files; a context manager.

    :param folder: where the mails go, as ``0001_recipient@example.com.eml``
    :param int port: port to listen on, 0 for a free one (then in ``self.port``)
    :param refuse: function (recipient address) -> bool, True to refuse that recipient as a mail server would
    """

    def __init__(self, folder, port=0, host="127.0.0.1", refuse=None):
        self.folder, self.port, self.host, self.refuse = Path(folder), port, host, refuse
        self._lock = threading.Lock()

    def __enter__(self):
        from aiosmtpd.controller import Controller

        from .server import free_port

        self.folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(found[1]) for path in self.folder.iterdir() if (found := re.match(r"(\d+)_", path.name))]
        self._last = max(numbers, default=0)
        self.port = self.port or free_port()
        self._controller = Controller(self, hostname=self.host, port=self.port, data_size_limit=100 * 2**20)
        try:
            self._controller.start()
        except OSError as error:
            raise Failure(f"Port {self.port} for the SMTP sink is taken ({error.strerror}): name another.") from error
        return self

    def __exit__(self, *error):
        with contextlib.suppress(AssertionError):
            self._controller.stop()

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if self.refuse and self.refuse(address):
            return "550 5.1.1 no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        with self._lock:
            self._last += 1
            number = self._last
        recipient = re.sub(r"[^\w.@+-]", "_", envelope.rcpt_tos[0])[:80]
        draft = self.folder / f".{number:04d}"
        draft.write_bytes(envelope.original_content)
        draft.rename(self.folder / f"{number:04d}_{recipient}.eml")
        return "250 Message accepted for delivery"

    @property
    def mails(self):
        """Paths of the mails taken so far, in their order."""
        return sorted(self.folder.glob("*.eml"))

    @property
    def odoo_options(self):
        """Options of Odoo's command line that send its mails here."""
        return [f"--smtp={self.host}", f"--smtp-port={self.port}"]


if __name__ == "__main__":
    import sys

    with SmtpSink(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0) as sink:
        say(f"SMTP sink on {sink.host}:{sink.port}, mails in {sink.folder}")
        threading.Event().wait()
