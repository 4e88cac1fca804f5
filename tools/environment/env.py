"""The environment: one home folder outside the repository with Python packages, Odoo and all that is made.

Every step leaves a stamp that says what it was made from, so that a second start only compares stamps.
"""
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import debian, pdf
from .ui import Failure, Step, run_logged

SERIES = "19.0"
ADDON = "account_dunning"
ROOT = Path(__file__).resolve().parent.parent.parent
PYTHONS = ("python3.12", "python3.11", "python3.13", "python3.10", "python3")
FREE_SPACE = 3_000_000_000  # bytes that a first set-up takes, with room for the databases
LOG_SIZE = 50_000_000  # bytes; a longer log is begun anew


def default_home():
    """The home folder: ACCOUNT_DUNNING_HOME, else the user's cache folder.

    Root's lies outside root's home, because PostgreSQL runs as another user there and must reach its data.
    """
    if named := os.environ.get("ACCOUNT_DUNNING_HOME"):
        return Path(named).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/cache") / ADDON
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / ADDON


class Env:
    """Paths of the home folder and of this checkout, and the steps that fill them."""

    def __init__(self, home=None):
        self.home = Path(home) if home else default_home()
        self.root = ROOT
        self.key = hashlib.sha1(str(ROOT).encode()).hexdigest()[:8]  # of this checkout
        self.venv = self.home / "venv"
        self.python = self.venv / "bin" / "python"
        # Our configuration has no time limits, which Odoo's prefork server takes for limits of no time at all.
        self.default_limits = ["--limit-time-cpu=60", "--limit-time-real=120"]
        self.odoo_command = [str(self.python), str(ROOT / "tools" / "environment" / "start" / "odoo-bin")]
        self.stamps = self.home / "stamps"
        self.logs = self.home / "logs"
        self.out = self.home / "out"
        self.data = self.home / "data"
        self.addons = self.home / "addons" / self.key
        self.addon = self.addons / ADDON
        self.config = self.addons / "odoo.conf"
        self.odoo_log = self.logs / f"odoo-{self.key}.log"

    # === HOME FOLDER === #

    def _make_home(self):
        if self.home == self.root or self.root in self.home.parents:
            raise Failure(
                f"{self.home} lies inside the repository, and Odoo walks every folder of an addon: "
                "name a folder outside it in ACCOUNT_DUNNING_HOME."
            )
        try:
            for folder in (self.home, self.stamps, self.logs, self.out, self.data, self.addons):
                folder.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                self.home.chmod(0o755)
            for log in self.logs.iterdir():
                if log.stat().st_size > LOG_SIZE:
                    log.unlink()
            if not os.access(self.home, os.W_OK | os.X_OK):
                raise PermissionError(f"{self.home} is not writable")
        except OSError as error:
            raise Failure(
                f"The folder {self.home} cannot be used ({error.strerror or error}): "
                "name another one in ACCOUNT_DUNNING_HOME."
            ) from error

    @contextlib.contextmanager
    def lock(self, name="setup"):
        """Hold a lock of the home folder, so that two `./dev` at once do not clash."""
        with open(self.home / f"{name}.lock", "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with Step(f"Waiting for another ./dev that holds the lock “{name}”"):
                    fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def stamp(self, name):
        """What a step was last made from, or None."""
        try:
            return (self.stamps / name).read_text()
        except OSError:
            return None

    def set_stamp(self, name, value):
        (self.stamps / name).write_text(value)

    def clear_stamp(self, name):
        (self.stamps / name).unlink(missing_ok=True)

    # === STEPS === #

    def setup(self):
        """Make everything that is missing; takes no time when nothing is."""
        self._make_home()
        with self.lock():
            self.odoo_path = self._find_odoo()
            self._make_venv()
            pdf.prepare(self)
            self._link_addon()
        return self

    def _check_space(self):
        free = shutil.disk_usage(self.home).free
        if free < FREE_SPACE:
            raise Failure(
                f"Only {free // 10**6} MB are free in {self.home}, a set-up takes {FREE_SPACE // 10**6} MB: "
                "free some space, or name a folder on another disk in ACCOUNT_DUNNING_HOME."
            )

    def _find_odoo(self):
        """The folder to put on the Python path: the user's own Odoo first, else Debian's package."""
        if source := os.environ.get("ODOO_SOURCE"):
            path = Path(source).expanduser().absolute()
            series = self._series_of(path)
            if series != SERIES:
                raise Failure(
                    f"ODOO_SOURCE={source} holds {'Odoo ' + series if series else 'no Odoo'}: "
                    f"name the folder of an Odoo {SERIES} source (the one with odoo/release.py)."
                )
            return path
        if self.inside_venv:
            if named := os.environ.get("ACCOUNT_DUNNING_ODOO"):
                return Path(named)
        elif (spec := importlib.util.find_spec("odoo")) and spec.submodule_search_locations:
            for location in spec.submodule_search_locations:
                path = Path(location).parent
                if self._series_of(path) == SERIES:
                    return path
        return debian.odoo(self)

    @staticmethod
    def _series_of(path):
        release = path / "odoo" / "release.py"
        if not release.is_file():
            return None
        for line in release.read_text().splitlines():
            if line.startswith("version_info"):
                major, minor = line.split("(")[1].split(",")[:2]
                return f"{major.strip()}.{minor.strip()}"
        return None

    @property
    def inside_venv(self):
        return Path(sys.prefix) == self.venv

    def _pick_python(self):
        """The Python for the venv: the running one when Odoo supports it, else another on the path."""
        if sys.version_info[:2] <= (3, 12):
            return sys.executable
        for name in PYTHONS:  # on 3.13 only barcodes are missing: another one first, if there is any
            if (found := shutil.which(name)) and subprocess.run(
                [found, "-c", "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))"],
                stderr=subprocess.DEVNULL,
            ).returncode == 0:
                return found
        raise Failure("Odoo 19 runs on Python 3.10 to 3.13: install one of them (for example the package python3.13).")

    def _make_venv(self):
        requirements = ROOT / "tools" / "environment" / "requirements.txt"
        # A user's own, importable Odoo comes with packages of its own: the venv sees them.
        system = not os.environ.get("ODOO_SOURCE") and not str(self.odoo_path).startswith(str(self.home))
        wanted = hashlib.sha1(requirements.read_bytes() + str(system).encode()).hexdigest()
        if self.stamp("venv") == wanted and self.python.exists():
            return
        if self.inside_venv:
            return  # the running Python is the venv's: the outer ./dev has seen to it
        self._check_space()
        self.clear_stamp("venv")
        log = self.logs / "pip.log"
        if not self.python.exists() or self.stamp("venv-system") != str(system):
            shutil.rmtree(self.venv, ignore_errors=True)
            self._create_venv(system, log)
            self.set_stamp("venv-system", str(system))
        run_logged(
            "Fetching the Python packages",
            [self.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", requirements],
            log,
            "The Python packages could not be installed: check the network and the package index that pip uses.",
            env={**os.environ, "PIP_CACHE_DIR": str(self.home / "pip")},
        )
        self.clear_stamp("wkhtmltopdf")
        self.set_stamp("venv", wanted)

    def _create_venv(self, system, log):
        python = self._pick_python()
        extra = ["--system-site-packages"] if system else []
        command = [python, "-m", "venv", *extra, str(self.venv)]
        with open(log, "ab") as output:
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output).returncode == 0:
                return
        # Debian and Ubuntu ship Python without what makes a venv.
        package = f"python3.{sys.version_info[1]}-venv"
        if os.geteuid() == 0 and shutil.which("apt-get"):
            debian.install(self, [package], f"Python's venv is missing and could not be installed: install {package}.")
            shutil.rmtree(self.venv, ignore_errors=True)
            if subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0:
                return
        shutil.rmtree(self.venv, ignore_errors=True)
        raise Failure(f"Python cannot make a virtual environment here: sudo apt install {package}, then try again.")

    def _link_addon(self):
        """Give the checkout the addon's name, in an addons folder of its own with the bridges, and write its
        configuration."""
        for link, target in ((self.addon, ROOT), *((self.addons / path.name, path) for path in self.bridges)):
            if not (link.is_symlink() and os.readlink(link) == str(target)):
                link.unlink(missing_ok=True)
                link.symlink_to(target)
        config = "\n".join(
            [
                "[options]",
                f"addons_path = {','.join(str(path) for path in self.addons_path)}",
                f"data_dir = {self.data}",
                "http_interface = 127.0.0.1",
                "list_db = False",
                "max_cron_threads = 0",
                "limit_time_real = 0",
                "limit_time_cpu = 0",
                "",
            ]
        )
        if not self.config.exists() or self.config.read_text() != config:
            self.config.write_text(config)

    @property
    def bridges(self):
        """The folders of the small addons beside this one."""
        return sorted(manifest.parent for manifest in (ROOT / "bridges").glob("*/__manifest__.py"))

    @property
    def addons_path(self):
        """Odoo's addons folders, then the one that holds this checkout."""
        candidates = [self.odoo_path / "odoo" / "addons", self.odoo_path / "addons"]
        return [path for path in candidates if (path / "base").is_dir() or (path / "account").is_dir()] + [self.addons]

    def variables(self):
        """The environment variables of every program that runs in here."""
        return {
            "ACCOUNT_DUNNING_HOME": str(self.home),
            "ACCOUNT_DUNNING_ODOO": str(self.odoo_path),
            "PYTHONPATH": str(self.odoo_path),
            "PATH": f"{self.venv / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "ODOO_RC": str(self.config),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }
