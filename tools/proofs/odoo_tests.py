"""odoo-tests          Odoo's own tests without and with the addon, and what differs (--modules a,b --only without|with)

The tests that Odoo runs once everything is installed (`post_install`), of account, sale, account_payment and portal or
of the modules named, on two copies of one database with these modules: one with the addon, one without. The difference
must be empty. With `--roles` instead: what each of Odoo's standard roles can do in each form that the addon extends or
that lies on its way.
"""
import argparse
import json
import re
import subprocess
import time

from ..environment import database
from ..environment.browser import BROWSERS
from ..environment.debian import need_program
from ..environment.env import ADDON
from ..environment.server import free_port
from ..environment.ui import Failure, Step, say
from . import roles

MODULES = "account,sale,account_payment,portal"
STARTED = re.compile(r"odoo\.addons\.(\w+)\.tests\.\w+: Starting (\w+\.\w+) \.\.\.")
FAILED = re.compile(r"odoo\.addons\.(\w+)\.tests[\w.]*: (?:FAIL|ERROR): (?:Subtest )?(\w+\.\w+)")
# A whole class that could not be set up
BROKEN = re.compile(r"odoo\.tests\.suite: ERROR: \w+ \(odoo\.addons\.(\w+)\.tests\.([\w.]+)\)")
SKIPPED = re.compile(r"odoo\.addons\.(\w+)\.tests[\w.]*: skipped (\w+\.\w+)")


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev odoo-tests")
    parser.add_argument("--modules", default=MODULES, help=f"whose tests ({MODULES})")
    parser.add_argument(
        "--roles", action="store_true", help="instead: what each standard role can do in each form (with 35 more apps)")
    parser.add_argument(
        "--write-roles", action="store_true", help="that of account and sale alone, kept for the tests")
    parser.add_argument("--only", choices=("without", "with"), help="run one side, take the other from its last run")
    parser.add_argument("--nice", type=int, default=0, help="give way to other programs (0 to 19)")
    options = parser.parse_args(arguments)
    if options.roles or options.write_roles:
        apps = roles.APPS if options.modules == MODULES else options.modules
        return roles.main(env, [] if options.write_roles else apps.split(","), options.write_roles)
    need_program(env, BROWSERS, "chromium", "Odoo's browser tests")
    modules = options.modules.split(",")
    for side in ("without", "with"):
        if options.only in (None, side):
            run(env, side, modules, options.nice)
    results = {side: [load(env, side, module) for module in modules] for side in ("without", "with")}
    return compare({side: merge(parts) for side, parts in results.items()})


def result_file(env, side, module):
    return env.out / "odoo-tests" / f"{side}-{module}.json"


def load(env, side, module):
    try:
        return json.loads(result_file(env, side, module).read_text())
    except OSError as error:
        sentence = f"The tests of {module} have not been run {side} the addon yet: leave --only out."
        raise Failure(sentence) from error


def merge(parts):
    return {
        "seconds": max(part["seconds"] for part in parts),
        **{key: sorted({test for part in parts for test in part[key]}) for key in ("started", "failed", "skipped")},
    }


def run(env, side, modules, nice):
    """Run the tests on a fresh copy of the base; the result is kept in a file for each module."""
    name = f"odootests_{side}_{modules[0]}"
    source = database.base(env)
    with env.lock(f"database-{source}"):
        database.copy(env, source, name)
    missing = [module for module in modules if module not in database.BASE_MODULES]
    if missing:
        database.install(env, name, missing)
    if side == "with":
        database.install(env, name, [ADDON])
    database.leave_statistics_alone(name)
    log = env.logs / f"odoo-tests-{side}-{modules[0]}.log"
    log.unlink(missing_ok=True)
    tags = ",".join(f"/{module}" for module in modules)
    command = [
        "nice", "-n", str(nice), *env.odoo_command, "-d", name, f"--test-tags={tags}",
        "--stop-after-init", f"--http-port={free_port()}", "--max-cron-threads=0", f"--logfile={log}",
    ]  # fmt: skip
    start = time.monotonic()
    with Step(f"Odoo's tests of {', '.join(modules)} {side} the addon", log, every=60):
        # They report failures in the log; the exit code says nothing more.
        subprocess.run(
            command, cwd=env.home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    keep(env, side, modules, log, round(time.monotonic() - start))
    database.drop(env, name)


def keep(env, side, modules, log, seconds):
    """What the log says, in a file for each module: tests started, failed, skipped."""
    text = log.read_text(errors="replace")
    if "post-tests in" not in text:
        raise Failure(f"Odoo's tests did not come to their end: {log} says why.")
    for module in modules:
        result = {
            "seconds": seconds,
            "started": sorted({test for owner, test in STARTED.findall(text) if owner == module}),
            "failed": sorted({
                test for pattern in (FAILED, BROKEN) for owner, test in pattern.findall(text) if owner == module
            }),
            "skipped": sorted({test for owner, test in SKIPPED.findall(text) if owner == module}),
        }
        result_file(env, side, module).parent.mkdir(exist_ok=True)
        result_file(env, side, module).write_text(json.dumps(result, indent=1))


def compare(results):
    """Print both sides and what differs; 1 when anything does."""
    for side, result in results.items():
        say(
            f"\n{side.capitalize()} the addon: {len(result['started'])} tests in {result['seconds']} s, "
            f"{len(result['failed'])} failed, {len(result['skipped'])} skipped."
        )
        for test in result["failed"]:
            say(f"  fails {side}: {test}")
    without, with_addon = results["without"], results["with"]
    differs = False
    for key, sentence in (
        ("failed", "fail only with the addon"),
        ("skipped", "are skipped only with the addon"),
    ):
        for test in sorted(set(with_addon[key]) - set(without[key])):
            say(f"  {sentence}: {test}")
            differs = True
    for test in sorted(set(without["started"]) - set(with_addon["started"])):
        say(f"  run only without the addon: {test}")
        differs = True
    for test in sorted(set(without["failed"]) - set(with_addon["failed"])):
        say(f"  (fails only without the addon: {test})")
    say("\nThere is a difference." if differs else "\nNo difference: nothing of Odoo's breaks with the addon.")
    return int(differs)
