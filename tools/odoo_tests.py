"""odoo-tests          Odoo's own tests without and with the addon, and what differs (--modules a,b --only without|with)

The tests that Odoo runs once everything is installed (`post_install`), of account, sale, account_payment and portal,
on two copies of one database: one with the addon, one without. The difference must be empty.
"""
import argparse
import json
import re
import subprocess
import time

from . import database
from .browser import BROWSERS
from .debian import need_program
from .env import ADDON
from .server import free_port
from .ui import Failure, Step, say

MODULES = "account,sale,account_payment,portal"
STARTED = re.compile(r"odoo\.addons\.(\w+)\.tests\.\w+: Starting (\w+\.\w+) \.\.\.")
FAILED = re.compile(r"odoo\.addons\.(\w+)\.tests[\w.]*: (FAIL|ERROR): (?:Subtest )?(\w+(?:\.\w+)?)")
SKIPPED = re.compile(r"odoo\.addons\.(\w+)\.tests[\w.]*: skipped (\w+\.\w+)")
# Also a failure: what Odoo logs as an error while a test runs, without its being asserted.
LOGGED = re.compile(r"^\S+ \S+ \d+ (ERROR|CRITICAL) \S+ (\S+): (.{0,120})")


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev odoo-tests")
    parser.add_argument("--modules", default=MODULES, help=f"whose tests ({MODULES})")
    parser.add_argument("--only", choices=("without", "with"), help="run one side, take the other from its last run")
    parser.add_argument("--nice", type=int, default=0, help="give way to other programs (0 to 19)")
    options = parser.parse_args(arguments)
    need_program(env, BROWSERS, "chromium", "Odoo's browser tests")
    results = {}
    for side in ("without", "with"):
        if options.only in (None, side):
            run(env, side, options)
        results[side] = load(env, side, options.modules)
    return compare(results)


def result_file(env, side):
    return env.out / "odoo-tests" / f"{side}.json"


def load(env, side, modules):
    try:
        result = json.loads(result_file(env, side).read_text())
    except OSError as error:
        raise Failure(f"Odoo's tests have not been run {side} the addon yet: leave --only out.") from error
    if result["modules"] != modules:
        raise Failure(f"The last run {side} the addon was of other modules: leave --only out.")
    return result


def run(env, side, options):
    """Run the tests on a fresh copy of the base; the result is kept in a file."""
    name = f"odootests_{side}_{env.key}"
    source = database.base(env)
    with env.lock(f"database-{source}"):
        database.copy(env, source, name)
    if side == "with":
        database.install(env, name, [ADDON])
    log = env.logs / f"odoo-tests-{side}.log"
    log.unlink(missing_ok=True)
    tags = ",".join(f"/{module}" for module in options.modules.split(","))
    command = [
        "nice", "-n", str(options.nice), str(env.python), "-m", "odoo", "-d", name, f"--test-tags={tags}",
        "--stop-after-init", f"--http-port={free_port()}", "--max-cron-threads=0", f"--logfile={log}",
    ]  # fmt: skip
    start = time.monotonic()
    with Step(f"Odoo's tests of {options.modules} {side} the addon", log, every=60):
        # They report failures in the log; the exit code says nothing more.
        subprocess.run(command, cwd=env.home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    result = {"modules": options.modules, "seconds": round(time.monotonic() - start), **read(log)}
    result_file(env, side).parent.mkdir(exist_ok=True)
    result_file(env, side).write_text(json.dumps(result, indent=1))
    database.drop(env, name)


def read(log):
    """What a log says: tests started, failed, skipped, errors logged."""
    text = log.read_text(errors="replace")
    if "post-tests in" not in text:
        raise Failure(f"Odoo's tests did not come to their end: {log} says why.")
    return {
        "started": sorted({f"{module}: {test}" for module, test in STARTED.findall(text)}),
        "failed": sorted({f"{module}: {test}" for module, _kind, test in FAILED.findall(text)}),
        "skipped": sorted({f"{module}: {test}" for module, test in SKIPPED.findall(text)}),
        "errors": sum(1 for line in text.splitlines() if LOGGED.match(line)),
    }


def compare(results):
    """Print both sides and what differs; 1 when anything does."""
    for side, result in results.items():
        say(
            f"\n{side.capitalize()} the addon: {len(result['started'])} tests in {result['seconds']} s, "
            f"{len(result['failed'])} failed, {len(result['skipped'])} skipped, {result['errors']} errors logged."
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
    say("\nThere is a difference." if differs else "\nNo difference: nothing of Odoo's breaks with the addon installed.")
    return int(differs)
