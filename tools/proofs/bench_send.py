"""What sending costs: `./dev bench send [--customers N] [--mails M] [--workers 1,2]`.

M reminders with their letters go through the queue to a real mail server, by one process and then by two. CPU time of
each part (Python, wkhtmltopdf, PostgreSQL), queries, and the wall clock; then the letters alone.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from ..environment import database
from ..environment.env import ADDON, ROOT
from ..environment.smtp_sink import SmtpSink
from ..environment.ui import Failure, Step, say
from . import bench_data, bench_probe


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev bench send")
    parser.add_argument("--customers", type=int, default=2000, help="how many customers there are (2000)")
    parser.add_argument("--invoices", type=int, default=3, help="open invoices of each (3)")
    parser.add_argument("--mails", type=int, default=400, help="how many reminders each round sends (400)")
    parser.add_argument("--workers", default="1,2", help="numbers of processes, a round each (1,2)")
    parser.add_argument("--statements", action="store_true", help="also tell which statements there are for each")
    options = parser.parse_args(arguments)
    rounds = [int(number) for number in options.workers.split(",")]
    if options.mails * (len(rounds) + 1) + 120 > options.customers:
        raise Failure(f"{len(rounds)} rounds and the letters need {options.mails * (len(rounds) + 1) + 120} customers.")
    with env.lock("bench"):
        source = bench_data.make(env, options.customers, options.invoices)
        name = f"{source}_send"
        with Step(f"Copying {source}"):
            database.copy(env, source, name)
        database.install(env, name, [ADDON])
        probe(env, name, "set_up")
        probe(env, name, "prepare")
        say("")
        with tempfile.TemporaryDirectory(dir=env.out) as folder, SmtpSink(folder) as sink:
            odoo = sink.odoo_options
            probe(env, name, "warm_up", limit=20, odoo=odoo)
            if options.statements:
                found = probe(env, name, "count_queries", limit=100, odoo=odoo)["statements"]
                say("\n".join(f"  {count / 100:6.2f} {statement}" for statement, count in found))
            for workers in rounds:
                before = len(sink.mails)
                probe(env, name, "queue", limit=options.mails, odoo=odoo)
                start = time.perf_counter()
                results = probes(env, name, workers, "work_off", odoo=odoo)
                wall = time.perf_counter() - start - max(result["start"] for result in results)
                tell(f"{workers} worker{'s' if workers > 1 else ''}", results, len(sink.mails) - before, wall)
            result = probe(env, name, "letters", limit=options.mails, odoo=odoo)
            tell("letters alone", [result], result["letters"], result["seconds"])
        database.drop(env, name)


def tell(title, results, number, wall):
    """Figures for each notice."""
    def each(key):
        return sum(result[key] for result in results) / number

    cpu = {key: 1000 * each(f"cpu_{key}") for key in ("python", "wkhtmltopdf", "postgresql")}
    say(f"  {title}: {number} in {wall:.1f} s, {number / wall:.1f} a second; CPU {sum(cpu.values()):.1f} ms each ("
        + ", ".join(f"{key} {value:.1f}" for key, value in cpu.items()) + f"), {each('queries'):.1f} queries each")
    for result in results:
        if parts := result.get("parts"):
            say("    " + ", ".join(f"{key} {1000 * value / number:.1f} ms" for key, value in parts.items()))
        if result.get("failures"):
            raise Failure(f"Not everything was sent: {result['failures']}")


def probe(env, name, task, **options):
    return probes(env, name, 1, task, **options)[0]


def probes(env, name, number, task, **options):
    """Run a task of bench_probe in so many processes at the same time."""
    command = [sys.executable, "-m", "tools.proofs.bench_probe", task, name, json.dumps(options)]
    log = env.logs / f"bench-{name}.log"
    with Step(f"{name}: {task.replace('_', ' ')}", log), open(log, "a") as errors:
        running = [
            subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, "PYTHONPATH": f"{env.odoo_path}{os.pathsep}{ROOT}"},
            )
            for _number in range(number)
        ]  # fmt: skip
        outputs = [process.communicate()[0] for process in running]
    results = [
        json.loads(line[len(bench_probe.MARK):])
        for output in outputs for line in output.splitlines() if line.startswith(bench_probe.MARK)
    ]
    if len(results) != number:
        raise Failure(f"Measuring “{task}” failed: {log} says why.")
    return results
