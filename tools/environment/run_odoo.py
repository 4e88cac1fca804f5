"""odoo ARGUMENTS      any Odoo command in this environment, e.g. ./dev odoo shell -d demo
"""
import os


def main(env, arguments):
    # ODOO_RC names our configuration; PGHOST and its like name the server.
    limits = env.default_limits if any(argument.startswith("--workers") for argument in arguments) else []
    os.execv(env.python, [*env.odoo_command, *arguments[:1], *limits, *arguments[1:]])
