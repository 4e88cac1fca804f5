"""setup               only prepares: Python packages, Odoo 19, PostgreSQL
"""
from . import postgres
from .ui import say


def main(env, arguments):
    env.setup()
    postgres.connect(env)
    say(f"Ready. Odoo {env.odoo_path}\n       all in {env.home}")
