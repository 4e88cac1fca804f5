"""odoo ARGUMENTS      any Odoo command in this environment, e.g. ./dev odoo shell -d demo
"""
import os


def main(env, arguments):
    # ODOO_RC names our configuration; PGHOST and its like name the server.
    os.execv(env.python, [str(env.python), "-m", "odoo", *arguments])
