"""The commands of `./dev`: each is a module of one of the two rooms with a function ``main(env, arguments)``.

A command's first docstring line is its line in the usage. Commands run in the venv, with Odoo and everything
else importable and PostgreSQL running; those of OUTSIDE run on the Python that ./dev was started with.
"""
import ast
import importlib
import os
import signal
import sys
from pathlib import Path

from .environment.env import Env
from .environment.ui import Failure, say

# In the order of the usage; those whose module is missing are left out.
COMMANDS = (
    "demo", "serve", "test", "lint", "fuzz", "roles", "mutate", "replay", "score", "bench", "crash", "odoo-tests",
    "lifecycle", "odoo", "shot", "pdf2png", "setup", "stop",
)  # fmt: skip
MODULES = {"test": "run_tests", "lint": "run_lint", "odoo": "run_odoo", "setup": "run_setup", "stop": "run_stop"}
OUTSIDE = ("setup", "stop")
HERE = Path(__file__).parent
ROOMS = ("environment", "proofs")


def module_of(command):
    return MODULES.get(command, command.replace("-", "_"))


def file_of(command):
    """The file of a command's module, or None."""
    files = (HERE / room / f"{module_of(command)}.py" for room in ROOMS)
    return next((file for file in files if file.exists()), None)


def available():
    return [command for command in COMMANDS if file_of(command)]


def usage():
    lines = ["Usage: ./dev COMMAND [arguments]", ""]
    for command in available():
        source = ast.parse(file_of(command).read_text())
        lines.append(f"  {(ast.get_docstring(source) or command).splitlines()[0]}")
    lines += ["", f"Everything fetched and made lies in {Env().home} (ACCOUNT_DUNNING_HOME moves it);"]
    lines += ["deleting that folder after ./dev stop is a full reset."]
    return "\n".join(lines)


def main(arguments):
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(128 + signal.SIGTERM))  # servers it started end with it
    try:
        return run(arguments) or 0
    except Failure as failure:
        print(f"dev: {failure}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("dev: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"dev: {error.strerror}{where}: make room or give access there, then try again.", file=sys.stderr)
        return 1


def run(arguments):
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        say(usage())
        return 0 if arguments else 2
    command, rest = arguments[0], arguments[1:]
    if command not in available():
        raise Failure(f"there is no command {command}: ./dev help lists them.")
    env = Env()
    if command in OUTSIDE:
        return load(command).main(env, rest)
    env.setup()
    os.environ.update(env.variables())
    if not env.inside_venv:
        # From here on in the venv: the commands may import Odoo and everything else.
        script = str(env.root / "dev")
        os.execv(env.python, [str(env.python), script, *arguments])
    from .environment import postgres

    os.environ.update(postgres.connect(env))
    os.environ["PATH"] = f"{postgres.programs(env)}{os.pathsep}{os.environ['PATH']}"
    return load(command).main(env, rest)


def load(command):
    file = file_of(command)
    return importlib.import_module(f"tools.{file.parent.name}.{file.stem}")
