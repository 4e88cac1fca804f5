"""`./dev odoo-tests --roles`: what each standard role can do in each form, without and with the addon."""
import json
import time

from ..environment import database
from ..environment.env import ADDON, ROOT
from ..environment.ui import Step, say

# Beside those of the base: what a company of some size runs
APPS = (
    "calendar,contacts,crm,delivery,event_sale,fleet,hr,hr_attendance,hr_expense,hr_holidays,hr_recruitment,im_livechat,"
    "lunch,maintenance,mass_mailing,mrp,point_of_sale,pos_sale,project,project_todo,purchase,repair,sale_crm,"
    "sale_expense,sale_loyalty,sale_project,sale_purchase,sale_stock,sale_timesheet,stock,survey,website_event_sale,"
    "website_hr_recruitment,website_sale,website_slides"
)
EXPECTED = ROOT / "tests" / "roles_expected.txt"
SCRIPT = """
import importlib.util, json
spec = importlib.util.spec_from_file_location('roles_matrix', %r)
matrix = importlib.util.module_from_spec(spec)
spec.loader.exec_module(matrix)
outcomes = matrix.Matrix(env).run()
env.cr.rollback()
print('OUTCOMES ' + json.dumps([[*key, outcome] for key, outcome in outcomes.items()]))
print('LINES ' + json.dumps(matrix.to_lines(outcomes)))
"""


def main(env, modules, write):
    """Run the matrix on both sides and print what differs.

    :param list modules: beside those of the base
    :param bool write: keep what came out without the addon for the tests
    :return: 1 when anything differs, else 0
    """
    outcomes, lines = {}, {}
    for side in ("without", "with"):
        start = time.monotonic()
        outcomes[side], lines[side] = run(env, side, modules)
        say(f"{side.capitalize()} the addon: {len(outcomes[side]):,} attempts in {time.monotonic() - start:.0f} s.")
    if write:
        EXPECTED.write_text("\n".join(lines["without"]) + "\n")
    differences = [
        (key, outcome, outcomes["with"].get(key, "not tried"))
        for key, outcome in outcomes["without"].items() if outcomes["with"].get(key) != outcome
    ] + [
        (key, "not tried", outcome) for key, outcome in outcomes["with"].items() if key not in outcomes["without"]
    ]
    for (form, action, role), before, after in differences:
        say(f"  {form}, {action}, {role}: {before} without, {after} with the addon")
    say("\nThere are differences." if differences else "\nNo difference: every role can do what it could do before.")
    return int(bool(differences))


def run(env, side, modules):
    name = f"roles_{side}"
    source = database.base(env)
    with env.lock(f"database-{source}"):
        database.copy(env, source, name)
    if modules:
        database.install(env, name, modules)
    if side == "with":
        database.install(env, name, [ADDON])
    with Step(f"Each role, each form, {side} the addon", every=60):
        output = database.run_script(env, name, SCRIPT % str(ROOT / "tests" / "roles_matrix.py"))
    found = dict(line.split(" ", 1) for line in output.splitlines() if line.startswith(("OUTCOMES ", "LINES ")))
    database.drop(env, name)
    return (
        {(form, action, role): outcome for form, action, role, outcome in json.loads(found["OUTCOMES"])},
        json.loads(found["LINES"]),
    )
