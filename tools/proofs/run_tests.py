"""test [PYTEST ARGS]  lint and all tests, nothing skipped; e.g. ./dev test -k engine, ./dev test tests/test_x.py

Own options, before or among pytest's: --db NAME (another test database), --fresh (make it from scratch),
--no-lint, --no-http (without server and browser: their tests are then skipped, which fails the run). All tests run in
as many processes as there are cores (4 at most), each with a copy of the database; -n 1 keeps them in one.
`./dev test bridges [PYTEST ARGS]`: those of the bridges alone, in a database with the apps that they lead to; they are
part of all tests.
"""
import os
import subprocess
from pathlib import Path

from ..environment import database
from ..environment.browser import BROWSERS
from ..environment.debian import need_program
from ..environment.ui import Failure
from . import run_lint

WITH_VALUE = ("-k", "-m", "-p", "-o", "-c", "-W", "-r", "-n", "--deselect", "--durations", "--maxfail", "--tb")


def main(env, arguments):
    options, arguments = own_options(arguments)
    if arguments[:1] == ["bridges"]:
        return run_bridges(env, options, arguments[1:])
    name = database.check_name(options["db"] or os.environ.get("ACCOUNT_DUNNING_DB") or f"test_{env.key}")
    paths = map_paths(env, arguments)
    if options["lint"]:
        if run_lint.check(env):
            return 1
    if options["http"]:
        browser = need_program(env, BROWSERS, "chromium", "The browser tests")
        check_browser(env, browser)
    with env.lock(f"use-{name}"):
        if database.with_addon(env, name, options["fresh"]):
            database.leave_statistics_alone(name)
        failed = run_pytest(env, name, options, [*spread(arguments), *paths])
    if not arguments:
        failed = run_bridges(env, options, []) or failed
    return failed


def run_bridges(env, options, arguments):
    name = f"bridges_{env.key}"
    with env.lock(f"use-{name}"):
        database.with_bridges(env, name)
        return run_pytest(env, name, options, [*arguments, *(str(env.addons / path.name) for path in env.bridges)])


def run_pytest(env, name, options, arguments):
    command = [
        str(env.python), "-m", "pytest", "-p", "no:cacheprovider", "-p", "account_dunning_gate",
        f"--odoo-config={env.config}", f"--odoo-database={name}",
        *(["--odoo-http"] if options["http"] else []),
        *arguments,
    ]  # fmt: skip
    plugins = str(env.root / "tools" / "proofs" / "pytest_plugins")
    variables = {**os.environ, "PYTHONPATH": f"{env.odoo_path}{os.pathsep}{plugins}"}
    # Outside of the checkout: its tests are known as odoo.addons.account_dunning.tests through the symlink only.
    return subprocess.run(command, cwd=env.addons, env=variables, stdin=subprocess.DEVNULL).returncode


def own_options(arguments):
    """What is ours and what is pytest's."""
    options, rest = {"db": None, "fresh": False, "lint": True, "http": True}, []
    arguments = iter(arguments)
    for argument in arguments:
        if argument == "--db" or argument.startswith("--db="):
            options["db"] = argument[5:] or next(arguments, "")
        elif argument == "--fresh":
            options["fresh"] = True
        elif argument in ("--no-lint", "--no-http"):
            options[argument[5:]] = False
        else:
            rest.append(argument)
    return options, rest


def spread(arguments):
    """pytest-xdist's options, when all tests run: the classes of tests are shared out among processes."""
    if arguments or (os.cpu_count() or 1) == 1:
        return []
    return ["-n", str(min(os.cpu_count(), 4)), "--dist", "loadscope"]


def map_paths(env, arguments):
    """Paths of the checkout become paths through the symlink; without any, all tests are meant."""
    mapped, named, previous = [], False, None
    for argument in arguments:
        path, colons, test = argument.partition("::")
        if previous not in WITH_VALUE and not argument.startswith("-"):
            full = next((full for full in (Path(path).absolute(), env.root / path) if full.exists()), None)
            if full is None and (previous or "").startswith("-"):
                mapped.append(argument)  # the value of an option
                previous = argument
                continue
            if full is None:
                raise Failure(f"there is no test file {path}.")
            full = full.resolve()
            if full.is_relative_to(env.root):
                full = env.addon / full.relative_to(env.root)
            argument, named = f"{full}{colons}{test}", True
        mapped.append(argument)
        previous = argument
    return mapped if named else [*mapped, str(env.addon / "tests")]


def check_browser(env, browser):
    """Start the browser once per version: a broken one would only show as a time-out in a test."""
    done = subprocess.run([browser, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    version = f"{browser} {done.stdout.strip()}"
    if done.returncode == 0 and env.stamp("browser") == version:
        return
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={env.home / 'browser-check'}", "--dump-dom", "data:text/html,<p>works</p>",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        works = "works" in done.stdout
    except subprocess.TimeoutExpired:
        works = False
    if not works:
        raise Failure(f"The browser {browser} does not start headless: sudo apt install --reinstall chromium.")
    env.set_stamp("browser", version)
