"""Databases: a base with Odoo's own modules to copy from, copies with the addon, and scripts run inside them.

Runs in the venv (see `cli`): Odoo and psycopg2 are importable and PGHOST and its like name the server.
"""
import ast
import contextlib
import hashlib
import os
import re
import shutil
import subprocess

from . import postgres
from .env import ADDON, ROOT
from .ui import Failure, run_logged, say

BASE_MODULES = ("account", "sale_management", "sms", "payment_demo")
# Beside those that the bridges depend on: what their tests need
BRIDGE_APPS = ("sale_mrp", "stock_delivery", "stock_dropshipping", "stock_picking_batch")
BASE_REVISION = "1"  # raise it when the base is made in another way
# What Odoo does not read at installation; a change there needs no update of the database.
IGNORED = {"tests", "tools", "doc", "docs", "readme", "static", "__pycache__"}
NAME = re.compile(r"[A-Za-z0-9_.-]{1,50}")
PREPARE_BASE = """
env['ir.config_parameter'].set_param('ir_attachment.location', 'db')
env['ir.attachment'].force_storage()
env.cr.commit()
"""
# By the dialog, as a user does it: the option --load-language would make it the only language.
PREPARE_FRENCH = """
french = env['res.lang'].with_context(active_test=False).search([('code', '=', 'fr_FR')])
env['base.language.install'].create({'lang_ids': french.ids}).lang_install()
env.cr.commit()
"""


@contextlib.contextmanager
def cursor(name="postgres"):
    """A cursor that commits each statement, on a database of the server in use."""
    import psycopg2

    try:
        connection = psycopg2.connect(dbname=name)
    except psycopg2.OperationalError as error:
        raise Failure(f"The database {name} cannot be opened ({str(error).strip()}).") from error
    connection.autocommit = True
    try:
        with connection.cursor() as cr:
            yield cr
    except psycopg2.Error as error:
        raise Failure(f"PostgreSQL refuses: {str(error).strip()}") from error
    finally:
        connection.close()


def exists(name):
    with cursor() as cr:
        cr.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return bool(cr.fetchone())


def check_name(name):
    """The name, when it can be one of a database here.

    :raises Failure: it cannot
    """
    if not NAME.fullmatch(name) or name in ("postgres", "template0", "template1"):
        raise Failure(f"“{name}” is no name for a database: letters, digits, _ . - only, 50 at most.")
    return name


def drop(env, name):
    """Remove a database with its files; those who are connected to it are cut off."""
    from psycopg2 import sql

    with cursor() as cr:
        cr.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    shutil.rmtree(env.data / "filestore" / name, ignore_errors=True)


def copy(env, source, target):
    """Copy a database, its files too; an existing target is replaced. The source must not be in use."""
    from psycopg2 import sql

    drop(env, target)
    with cursor() as cr:
        query = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(target), sql.Identifier(source))
        cr.execute(query)
    files = env.data / "filestore" / source
    if files.is_dir():
        shutil.copytree(files, env.data / "filestore" / target, copy_function=os.link)


def rename(env, source, target):
    from psycopg2 import sql

    drop(env, target)
    with cursor() as cr:
        cr.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(source), sql.Identifier(target)))
    files = env.data / "filestore" / source
    if files.is_dir():
        files.rename(env.data / "filestore" / target)


# === ODOO === #


def odoo(env, title, arguments, failure, log=None):
    """Run an Odoo command to its end, with progress; what it writes goes to a log.

    :raises Failure: with the sentence ``failure``, when it ends with an error
    """
    command = [*env.odoo_command, *arguments]
    run_logged(title, command, log or env.odoo_log, failure, cwd=env.home)


def install(env, name, modules, *extra):
    """Install modules in a database, which is made when it is missing."""
    arguments = ["-d", name, "-i", ",".join(modules), "--stop-after-init", "--no-http", *extra]
    odoo(env, f"Installing {', '.join(modules)} in {name}", arguments, f"{', '.join(modules)} cannot be installed.")


def update(env, name, modules=(ADDON,)):
    """Update modules in a database."""
    arguments = ["-d", name, "-u", ",".join(modules), "--stop-after-init", "--no-http"]
    odoo(env, f"Updating {', '.join(modules)} in {name}", arguments, f"{', '.join(modules)} cannot be updated.")


def run_script(env, name, script, *options):
    """Run Python code in `odoo shell` on a database, where ``env`` is Odoo's environment of the superuser.

    :param str script: the code; it commits itself (``env.cr.commit()``)
    :param options: further options of Odoo's command line
    :return: what it printed
    """
    command = [*env.odoo_command, "shell", "-d", name, "--no-http", "--log-level=warn", *options]
    done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=env.home)
    if done.returncode or "Traceback (most recent call last)" in done.stderr:
        raise Failure(f"A script failed in the database {name}:\n{done.stderr.strip()[-3000:]}")
    return done.stdout


@contextlib.contextmanager
def environment(env, name, *options):
    """Odoo's environment of the superuser on a database, in this very process; committed at the end.

    :param options: options of Odoo's command line, such as ``--log-level=warn``
    """
    import odoo.tools
    from odoo.api import SUPERUSER_ID, Environment
    from odoo.modules.registry import Registry

    odoo.tools.config.parse_config(["-c", str(env.config), "-d", name, *options])
    with Registry(name).cursor() as cr:
        yield Environment(cr, SUPERUSER_ID, {})


# === BASE AND TEST DATABASES === #


def digest(*parts):
    return hashlib.sha1(" ".join(map(str, parts)).encode()).hexdigest()[:8]


def base(env, demo=False):
    """Name of the database with Odoo's own modules, to copy from; made once.

    Its attachments lie in the database, so that a plain `createdb -T` copies everything.

    :param bool demo: with Odoo's demo data and French
    """
    extra = ("--with-demo",) if demo else ()
    name = f"base_{digest(BASE_REVISION, BASE_MODULES, env.odoo_path, env.stamp('odoo'), *extra)}"
    with env.lock(f"database-{name}"):
        if not exists(name):
            draft = f"{name}_draft"
            drop(env, draft)
            copy_empty(draft)
            install(env, draft, BASE_MODULES, *extra)
            run_script(env, draft, PREPARE_BASE)
            if demo:
                run_script(env, draft, PREPARE_FRENCH)
            rename(env, draft, name)
    return name


def with_bridges(env, name):
    """A database with the addon, the apps that its bridges lead to, and the bridges, which install themselves."""
    apps = sorted({
        app for path in env.bridges
        for app in ast.literal_eval((path / "__manifest__.py").read_text())["depends"] if app != ADDON
    } | set(BRIDGE_APPS))
    source = base(env)
    with_apps = f"{source}_{digest(apps)}"
    with env.lock(f"database-{with_apps}"):
        if not exists(with_apps):
            draft = f"{with_apps}_draft"
            with env.lock(f"database-{source}"):
                copy(env, source, draft)
            install(env, draft, apps)
            rename(env, draft, with_apps)
        stamp, now = f"database-{name}", f"{with_apps} {signature()}"
        if not exists(name) or env.stamp(stamp) != now:
            env.clear_stamp(stamp)
            copy(env, with_apps, name)
            install(env, name, [ADDON])
            leave_statistics_alone(name)
            env.set_stamp(stamp, now)


def leave_statistics_alone(name):
    """Tests take back all that they do: tables that PostgreSQL has looked at in between count as empty from then on.
    Some of Odoo's queries take a quarter of a minute then, and one over 20,000 rows of a test was seen to go on for a
    quarter of an hour, as if it hung."""
    with cursor(name) as cr:
        cr.execute(
            """
            DO $$
            DECLARE name regclass;
            BEGIN
                FOR name IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
                    EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', name);
                END LOOP;
            END $$
            """
        )


def check_demo(env, name):
    """Odoo only logs that demo data cannot be loaded, and goes on without.

    :raises Failure: the addon's is missing
    """
    with cursor(name) as cr:
        cr.execute("SELECT demo FROM ir_module_module WHERE name = %s", [ADDON])
        if not cr.fetchone()[0]:
            raise Failure(f"The addon's demo data cannot be loaded into {name}: {env.odoo_log} says why.")


def copy_empty(name):
    """Make an empty database with what Odoo wants in it."""
    from psycopg2 import sql

    with cursor() as cr:
        cr.execute(
            sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE {} TEMPLATE template0").format(
                sql.Identifier(name), sql.Literal(collation(cr))
            )
            if not own_server()
            else sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        )


def own_server():
    """Whether the server in use is the one that ./dev started."""
    return os.environ.get("PGUSER") == postgres.ROLE and os.environ.get("PGHOST", "").startswith("/")


def collation(cr):
    cr.execute("SELECT datctype FROM pg_database WHERE datname = 'template0'")
    return cr.fetchone()[0]


def signature():
    """A digest of the addon's files that Odoo reads into the database."""
    state = hashlib.sha1()
    for folder, folders, files in os.walk(ROOT):
        if folder == str(ROOT):
            folders[:] = [name for name in folders if name not in IGNORED]
        folders[:] = sorted(
            name for name in folders if name not in ("__pycache__", "tests") and not name.startswith("."))
        for name in sorted(files):
            if name.endswith((".py", ".xml", ".csv", ".po", ".pot", ".sql", ".html")):
                path = os.path.join(folder, name)
                state.update(os.path.relpath(path, ROOT).encode())
                with open(path, "rb") as content:
                    state.update(content.read())
    return state.hexdigest()


def with_addon(env, name, fresh=False, demo=False):
    """Bring a database with the addon up to the state of this checkout: copied, updated or left as it is.

    :param bool fresh: make it from scratch in any case
    :param bool demo: with demo data
    :return: whether it was made from scratch
    """
    source, now = base(env, demo), signature()
    stamp = f"database-{name}"
    if exists(name) and not fresh and (made := env.stamp(stamp)):
        made_from, made_as = made.split()
        if made_from == source:
            if made_as == now:
                return False
            env.clear_stamp(stamp)
            try:
                update(env, name)
            except Failure as failure:
                say(f"  {failure} Making the database {name} again.")
            else:
                env.set_stamp(stamp, f"{source} {now}")
                return False
    env.clear_stamp(stamp)
    with env.lock(f"database-{source}"):
        copy(env, source, name)
    install(env, name, [ADDON], *(["--with-demo"] if demo else []))
    if demo:
        check_demo(env, name)
    env.set_stamp(stamp, f"{source} {now}")
    return True
