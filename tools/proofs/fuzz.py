"""fuzz                events of a company's life in any order, checked after each (--steps N --seed S --shrink)

Hypothesis draws invoices, payments, agreements, orders, changes of configuration, runs and mail servers that fail; an
oracle in plain Python says after each step what must be true.
"""
import argparse
import os

from ..environment.ui import say
from . import run_tests


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev fuzz")
    parser.add_argument("--steps", type=int, default=2000, help="events in all (2000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other events (1)")
    parser.add_argument("--shrink", action="store_true", help="look for the shortest way to a violation (long)")
    options = parser.parse_args(arguments)
    os.environ["DUNNING_FUZZ_STEPS"] = str(options.steps)
    os.environ["DUNNING_FUZZ_SEED"] = str(options.seed)
    if options.shrink:
        os.environ["DUNNING_FUZZ_SHRINK"] = "1"
    arguments = ["--no-lint", "--no-http", "-q", "tests/test_fuzz.py"]
    report = env.out / "fuzz.txt"
    report.unlink(missing_ok=True)
    os.environ["DUNNING_FUZZ_REPORT"] = str(report)
    failed = run_tests.main(env, arguments)
    if report.exists():
        say(report.read_text().strip())
    return failed
