"""serve               the database of ./dev demo in the browser (--db NAME, --port N)
"""
import argparse

from . import database
from .server import Server, is_free
from .smtp_sink import SmtpSink
from .ui import Failure, say

PORT = 8069


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev serve")
    parser.add_argument("--db", default="demo", help="the database (demo)")
    parser.add_argument("--port", type=int, help=f"the port ({PORT}, or the next free one)")
    options = parser.parse_args(arguments)
    if not database.exists(options.db):
        raise Failure(f"There is no database {options.db}: ./dev demo makes the demo, --db names another one.")
    port = options.port or next((port for port in range(PORT, PORT + 100) if is_free(port)), 0)
    mails = env.out / options.db / "mails"
    with SmtpSink(mails) as sink, Server(env, options.db, port, sink.odoo_options, cron_threads=1) as server:
        say(f"\n  {server.url.replace('127.0.0.1', 'localhost')}/odoo    login admin, password admin")
        say(f"  Mails that it sends: {mails}\n  Its log: {server.log}\n  Ctrl+C ends it.")
        try:
            code = server.process.wait()
        except KeyboardInterrupt:
            say("")
            return 0
        raise Failure(f"Odoo has ended by itself (code {code}): {server.log} says why.")
