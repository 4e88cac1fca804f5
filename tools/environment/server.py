"""An Odoo server on a database: for the browser, for pictures of screens, and for the styles of PDFs."""
import contextlib
import errno
import http.client
import socket
import subprocess
import time

from . import database
from .ui import Failure, Step

HOST = "127.0.0.1"


def free_port():
    """A port that is free on this machine now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


class Server:
    """Odoo serving one database; a context manager.

    wkhtmltopdf fetches the styles of letters from a running server: the database is told that it is this one.

    :param env: the environment
    :param str name: the database
    :param int port: 0 for a free one (then in ``self.port``)
    :param options: further options of Odoo's command line, such as those of a mail server
    :param int cron_threads: how many threads run scheduled actions
    """

    def __init__(self, env, name, port=0, options=(), cron_threads=0):
        self.env, self.name, self.port = env, name, port or free_port()
        self.options, self.cron_threads = list(options), cron_threads
        self.log = env.logs / f"server-{name}.log"
        self.process = None

    @property
    def url(self):
        return f"http://{HOST}:{self.port}"

    def __enter__(self):
        if not database.exists(self.name):
            raise Failure(f"There is no database {self.name}: make it first, or name another with --db.")
        if not is_free(self.port):
            raise Failure(f"Port {self.port} is taken: name another with --port.")
        with database.cursor(self.name) as cr:
            self._set_parameter(cr, "report.url", self.url)
        command = [
            *self.env.odoo_command, "-d", self.name, f"--db-filter=^{self.name}$",
            f"--http-port={self.port}", f"--max-cron-threads={self.cron_threads}", *self.options,
        ]  # fmt: skip
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.env.home, start_new_session=True
            )
        try:
            with Step(f"Starting Odoo on the database {self.name}", self.log):
                self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    @staticmethod
    def _set_parameter(cr, key, value):
        cr.execute("SELECT 1 FROM pg_tables WHERE tablename = 'ir_config_parameter'")
        if not cr.fetchone():
            raise Failure("That database has no Odoo in it: name another with --db.")
        cr.execute("UPDATE ir_config_parameter SET value = %s WHERE key = %s", [value, key])
        if not cr.rowcount:
            cr.execute("INSERT INTO ir_config_parameter (key, value) VALUES (%s, %s)", [key, value])

    def _wait(self, seconds=180):
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                raise Failure(f"Odoo does not start on the database {self.name}: {self.log} says why.")
            connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/web/login")
                if connection.getresponse().status == 200:
                    return
            connection.close()
            time.sleep(0.3)
        raise Failure(f"Odoo does not answer on {self.url} after {seconds} s: see {self.log}.")

    def __exit__(self, *error):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
