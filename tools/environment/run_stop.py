"""stop                stops the PostgreSQL server that ./dev left running
"""
from . import postgres
from .ui import say


def main(env, arguments):
    stopped = [server for server in postgres.servers(env) if server.stop()]
    say("PostgreSQL has stopped." if stopped else "Nothing was running.")
