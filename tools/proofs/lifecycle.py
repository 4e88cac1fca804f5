"""lifecycle           wheel, install into a plain Odoo, update, uninstall without leftovers, install again
"""
import argparse
import ast
import json
import re
import shutil
import zipfile
from collections import Counter

from ..environment import database
from ..environment.env import ADDON, ROOT
from ..environment.ui import Failure, run_logged, say
from . import bench, bench_data

# What may stand in the wheel besides what the manifest names.
FOLDERS = {
    "controllers", "data", "demo", "i18n", "models", "readme", "report", "security", "static", "tests", "views",
    "wizard",
}  # fmt: skip
FILES = {
    "__init__.py", "__manifest__.py", "CHANGELOG.md", "LICENSE", "README.md", "README.rst", "hooks.py",
    "pyproject.toml",
}  # fmt: skip

# What an addon can leave behind, as rows that can be compared.
SCHEMA = """
SELECT 'column', table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename || '.' || indexname FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace AND conrelid != 0
UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'sequence', relname FROM pg_class WHERE relkind = 'S'
"""
ROWS = {
    "ir_model": "model",
    "ir_model_fields": "model || '.' || name",
    "ir_model_fields_selection":
        "(SELECT model || '.' || name FROM ir_model_fields f WHERE f.id = field_id) || '=' || value",
    "ir_model_data": "module || '.' || name",
    "ir_model_constraint": "name",
    "ir_model_relation": "name",
    "ir_ui_view": "COALESCE(key, name)",
    "ir_ui_menu": "name ->> 'en_US'",
    "ir_act_window": "name ->> 'en_US'",
    "ir_act_server": "name ->> 'en_US'",
    "ir_act_report_xml": "report_name",
    "ir_act_client": "tag",
    "ir_cron": "cron_name",
    "ir_cron_trigger": "id",
    "ir_rule": "name",
    "ir_model_access": "name",
    "ir_sequence": "code",
    "ir_config_parameter": "key",
    "ir_default": "(SELECT model || '.' || name FROM ir_model_fields f WHERE f.id = field_id)",
    "ir_asset": "name",
    "ir_filters": "name",
    "res_groups": "name ->> 'en_US'",
    "res_groups_privilege": "name ->> 'en_US'",
    "mail_template": "name ->> 'en_US'",
    "sms_template": "name ->> 'en_US'",
    "mail_message_subtype": "name ->> 'en_US'",
    "mail_activity_type": "name ->> 'en_US'",
    "mail_activity": "res_model",
    "mail_followers": "res_model",
    "mail_alias": "alias_name",
    "report_paperformat": "name",
    "product_template": "name ->> 'en_US'",
    "decimal_precision": "name",
}
ATTACHMENTS = "SELECT 'ir_attachment', res_model FROM ir_attachment WHERE res_model LIKE 'account.dunning%%'"
MESSAGES = "SELECT 'mail_message', model FROM mail_message WHERE model LIKE 'account.dunning%%'"

USE = """
import json
run = env["account.dunning.run"].create({"date": %(day)r})
run.action_prepare()
notices = run.notice_ids.filtered(lambda notice: notice.state == "draft")
level = notices.level_id[:1]
level.write({"send_email": False, "print_letter": False, "create_activity": True})
notices[:20].level_id.write({"send_email": False, "create_activity": True})
notices[:20]._queue()
env["account.dunning.notice"]._cron_send()
env.cr.commit()
print("COUNT " + json.dumps([len(notices), len(notices.filtered(lambda notice: notice.state == "sent"))]))
"""
UNINSTALL = f"""
env["ir.module.module"].search([("name", "=", "{ADDON}")]).button_immediate_uninstall()
"""
FIGURES = """
SELECT (SELECT COUNT(*) FROM account_dunning_notice), (SELECT COUNT(*) FROM account_dunning_notice_line),
       (SELECT COUNT(*) FROM account_dunning_notice WHERE state = 'sent'),
       (SELECT COUNT(*) FROM account_move_line WHERE dunning_level_id IS NOT NULL)
"""


def main(env, arguments):
    argparse.ArgumentParser(prog="./dev lifecycle").parse_args(arguments)
    faults = []
    wheel = build(env)
    faults += check_wheel(wheel)
    addons = install_wheel(env, wheel)
    source = bench_data.make(env, 200, 10)
    name = "lifecycle"
    database.copy(env, source, name)
    # No symlink to this checkout: the wheel's files alone.
    odoo = [f"--addons-path={','.join(str(path) for path in [*env.addons_path[:-1], addons])}"]
    before = snapshot(name)
    database.install(env, name, [ADDON], *odoo)
    bench_probe = bench.probe(env, "set_up", name, odoo=odoo)
    say(f"  set up: {bench_probe}")
    use(env, name, odoo)
    figures = ask(name, FIGURES)
    arguments = ["-d", name, "-u", ADDON, "--stop-after-init", "--no-http", *odoo]
    database.odoo(env, f"Updating {ADDON} in {name}", arguments, "The update fails.")
    if ask(name, FIGURES) != figures:
        faults.append(f"The update changed data: {figures} before, {ask(name, FIGURES)} after.")
    faults += uninstall(env, name, odoo, before)
    database.install(env, name, [ADDON], *odoo)
    bench.probe(env, "set_up", name, odoo=odoo)
    use(env, name, odoo)
    faults += uninstall(env, name, odoo, before)
    database.drop(env, name)
    for fault in faults:
        say(f"  {fault}")
    say("\nThere are faults, listed above." if faults else "\nWheel, install, update, uninstall, install again: clean.")
    return int(bool(faults))


# === WHEEL === #


def build(env):
    folder = env.out / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    command = [env.python, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps", "-w", folder, ROOT]
    run_logged("Building the wheel", command, env.logs / "wheel.log", "The wheel cannot be built.")
    return next(folder.glob("*.whl"))


def check_wheel(wheel):
    """What the manifest and the code need must be in it, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        prefix = f"odoo/addons/{ADDON}/"
        inside = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        faults = [f"Not the addon's: {name}" for name in names if not name.startswith(prefix)]
        manifest = ast.literal_eval(archive.read(f"{prefix}__manifest__.py").decode())
    needed = {*manifest.get("data", ()), *manifest.get("demo", ()), "static/description/icon.png"}
    for assets in manifest.get("assets", {}).values():
        needed |= {
            asset.removeprefix(f"{ADDON}/") for asset in assets
            if isinstance(asset, str) and asset.startswith(f"{ADDON}/") and "*" not in asset
        }  # fmt: skip
    faults += [f"Missing in the wheel: {name}" for name in sorted(needed - inside)]
    for name in sorted(inside):
        first = name.split("/")[0]
        if not (first in FOLDERS if "/" in name else name in FILES):
            faults.append(f"Needless in the wheel: {name}")
    size = wheel.stat().st_size
    say(f"  {wheel.name}: {len(inside)} files, {size // 1024} kB")
    return faults


def install_wheel(env, wheel):
    """As pip does for anyone, into an empty folder; Odoo finds it as a folder of addons."""
    folder = env.out / "wheel" / "site"
    pip = [env.python, "-m", "pip", "install", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--target", folder, wheel]
    run_logged("Installing the wheel", command, env.logs / "wheel.log", "The wheel cannot be installed.")
    return folder / "odoo" / "addons"


# === DATABASE === #


def ask(name, query):
    with database.cursor(name) as cr:
        cr.execute(query)
        return cr.fetchall()


def snapshot(name):
    """All that an addon could leave behind, with how often."""
    found = ask(name, SCHEMA)
    with database.cursor(name) as cr:
        for table, expression in ROWS.items():
            cr.execute("SELECT to_regclass(%s)", [table])
            if cr.fetchone()[0]:
                cr.execute(f"SELECT '{table}', ({expression})::text FROM {table}")
                found += cr.fetchall()
    return Counter(found)


def use(env, name, odoo):
    with database.cursor(name) as cr:
        _partner, _move, _line, day = bench_data.template(cr)
    output = database.run_script(env, name, USE % {"day": day}, *odoo)
    notices, sent = json.loads(re.search(r"COUNT (.*)", output)[1])
    say(f"  in use: {notices} notices prepared, {sent} of them sent")
    if not notices or not sent:
        raise Failure("The installed addon does not work: nothing was prepared or sent.")


def is_bookkeeping(kind, value):
    """Whether Odoo itself leaves the entry: it forgets to take foreign keys of fields off its list of constraints, and
    external ids that belong to the modules whose models the addon inherits from."""
    return (
        kind == "ir_model_constraint" and value.endswith("_fkey")
        or kind == "ir_model_data" and not value.startswith(f"{ADDON}.")
        and value.split(".", 1)[1].startswith(("selection__", "model_inherit__"))
    )  # fmt: skip


def uninstall(env, name, odoo, before):
    say("· Uninstalling")
    database.run_script(env, name, UNINSTALL, *odoo)
    after = snapshot(name)
    left = [
        (kind, value, number) for (kind, value), number in sorted(after.items(), key=str)
        if number > before.get((kind, value), 0) and kind not in ("ir_cron_trigger",)
    ]
    bookkeeping = [entry for entry in left if is_bookkeeping(*entry[:2])]
    say(f"  {len(bookkeeping)} entries of Odoo's own bookkeeping name what is gone, as after any addon: "
        "foreign keys, and models and values that other modules have listed as theirs.")  # fmt: skip
    faults = [
        f"Left behind by uninstalling: {kind} {value} ({number})"
        for kind, value, number in left if not is_bookkeeping(kind, value)
    ]
    faults += [
        f"Taken along by uninstalling: {kind} {value}"
        for (kind, value), number in sorted(before.items(), key=str)
        if number > after.get((kind, value), 0) and kind not in ("ir_cron_trigger",)
    ]
    for query in (ATTACHMENTS, MESSAGES):
        rows = ask(name, query.replace("%%", "%"))
        if rows:
            faults.append(f"Left behind by uninstalling: {len(rows)} × {rows[0]}")
    return faults
