"""Databases of any size for `./dev bench` and `./dev crash`: one invoice posted by Odoo, cloned in SQL.

Made without the addon and kept, so that installing it on a database with data can be measured too.
"""
from ..environment import database
from ..environment.ui import Step, say

REVISION = "4"
OVERDUE_SHARE = 65  # percent of the invoices; the others fall due within the next weeks

# What Odoo makes itself: one customer, one posted invoice.
TEMPLATE = """
from datetime import timedelta
from odoo import fields
company = env.company
company.write({
    "name": "Bench Ltd", "street": "High Street 1", "zip": "1000", "city": "Brussels", "email": "books@bench.example",
    "country_id": env.ref("base.be").id, "phone": "+32 2 555 00 00",
})
env["ir.mail_server"].search([]).active = False
partner = env["res.partner"].create({
    "name": "Template", "is_company": True, "email": "template@customer.example", "street": "Long Street 1",
    "zip": "1000", "city": "Brussels", "country_id": env.ref("base.be").id, "lang": "en_US", "customer_rank": 1,
})
today = fields.Date.today()
move = env["account.move"].create({
    "move_type": "out_invoice", "partner_id": partner.id, "invoice_date": today, "invoice_date_due": today,
    "invoice_payment_term_id": False,
    "invoice_line_ids": [fields.Command.create({"name": "Goods", "quantity": 1, "price_unit": 100, "tax_ids": []})],
})
move.action_post()
receivable = move.line_ids.filtered(lambda line: line.account_id.account_type == "asset_receivable")
env["ir.config_parameter"].set_param("bench.template", f"{partner.id},{move.id},{receivable.id},{today}")
env.cr.commit()
"""

CUSTOMERS = {
    "name": "'Customer ' || s.n",
    "complete_name": "'Customer ' || s.n",
    "email": "'customer' || s.n || '@customer.example'",
    "email_normalized": "'customer' || s.n || '@customer.example'",
    "commercial_partner_id": "%(partner)s + s.n",
}
# s: one row for each invoice, with its number n, customer c, amount and due date
INVOICES = {
    "partner_id": "s.partner",
    "commercial_partner_id": "s.partner",
    "partner_shipping_id": "s.partner",
    "invoice_partner_display_name": "'Customer ' || s.c",
    "name": "'BENCH/' || LPAD(s.n::text, 7, '0')",
    "sequence_prefix": "'BENCH/'",
    "sequence_number": "s.n",
    "payment_reference": "'BENCH/' || LPAD(s.n::text, 7, '0')",
    "access_token": "NULL",
    "date": "s.due - 30",
    "invoice_date": "s.due - 30",
    "invoice_date_due": "s.due",
    **dict.fromkeys(
        (
            "amount_untaxed", "amount_total", "amount_residual", "amount_untaxed_signed", "amount_total_signed",
            "amount_untaxed_in_currency_signed", "amount_total_in_currency_signed", "amount_residual_signed",
        ), "s.amount"),
}  # fmt: skip
LINES = {
    "move_id": "s.move",
    "partner_id": "s.partner",
    "move_name": "'BENCH/' || LPAD(s.n::text, 7, '0')",
    "date": "s.due - 30",
    "invoice_date": "s.due - 30",
    "date_maturity": "CASE WHEN t.date_maturity IS NULL THEN NULL ELSE s.due END",
    **dict.fromkeys(
        ("balance", "amount_currency", "amount_residual", "amount_residual_currency", "debit", "credit",
         "price_unit", "price_subtotal", "price_total"),
        "SIGN(t.{column}) * s.amount"),
}  # fmt: skip


def name_of(customers, invoices):
    return f"bench_{customers}x{invoices}"


def make(env, customers, invoices):
    """A database with so many customers and, for each, so many open invoices; made once for each size.

    :return: its name
    """
    name = name_of(customers, invoices)
    stamp, wanted = f"database-{name}", f"{database.base(env)} {REVISION}"
    with env.lock(f"bench-{name}"):
        if database.exists(name) and env.stamp(stamp) == wanted:
            return name
        env.clear_stamp(stamp)
        source = database.base(env)
        with env.lock(f"database-{source}"):
            database.copy(env, source, name)
        with Step(f"Making {customers:,} customers with {invoices} open invoices each in {name}"):
            database.run_script(env, name, TEMPLATE)
            fill(name, customers, invoices)
        env.set_stamp(stamp, wanted)
    return name


def fill(name, customers, invoices):
    with database.cursor(name) as cr:
        trust(cr)
        partner, move, _receivable, day = template(cr)
        parameters = {"template": partner, "partner": top(cr, "res_partner"), "customers": customers}
        clone(cr, "res_partner", CUSTOMERS, "generate_series(1, %(customers)s) AS s (n)", parameters)
        parameters = {
            "template": move, "partner": parameters["partner"], "move": top(cr, "account_move"),
            "count": customers * invoices, "customers": customers, "day": day, "share": OVERDUE_SHARE,
        }  # fmt: skip
        source = """(
            SELECT n, c, %(partner)s + c AS partner, %(move)s + n AS move,
                   50 + chance %% 95000 / 100.0 AS amount,
                   CASE WHEN chance %% 100 < %(share)s
                        THEN %(day)s::date - 1 - chance / 100 %% 180
                        ELSE %(day)s::date + chance / 100 %% 45
                    END AS due
              FROM (
                    SELECT n, 1 + (n - 1) %% %(customers)s AS c, hashint4(n) & 2147483647 AS chance
                      FROM generate_series(1, %(count)s) AS n
                   ) numbers
        ) s"""
        clone(cr, "account_move", INVOICES, source, parameters)
        clone(cr, "account_move_line", LINES, source, parameters, key="t.move_id = %(template)s")
        # The template itself is no customer of the bench.
        cr.execute("UPDATE account_move_line SET no_followup = true WHERE move_id = %s", [move])
        for table in ("res_partner", "account_move", "account_move_line"):
            cr.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, top(cr, table)])
            cr.execute(f"VACUUM (ANALYZE) {table}")


def trust(cr):
    """Leave foreign keys unchecked while cloning, where the role may: the rows are right by construction."""
    import psycopg2

    try:
        cr.execute("SET session_replication_role = replica")
    except psycopg2.Error:
        say("  (this role may not leave foreign keys unchecked: it takes longer)")


def template(cr):
    """Ids of the customer, the invoice and its receivable line that Odoo made, and the day that dates count from."""
    cr.execute("SELECT value FROM ir_config_parameter WHERE key = 'bench.template'")
    partner, move, receivable, day = cr.fetchone()[0].split(",")
    return int(partner), int(move), int(receivable), day


def top(cr, table):
    cr.execute(f"SELECT MAX(id) FROM {table}")
    return cr.fetchone()[0]


def clone(cr, table, changes, source, parameters, key="t.id = %(template)s"):
    """Insert a copy of the template's row(s) for each row of the source.

    :param dict changes: SQL by column, over `s` (the source) and `t` (the template's row); other columns are copied
    """
    cr.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
        [table],
    )
    columns = [column for column, _kind in cr.fetchall()]
    number = "%(top)s + ROW_NUMBER() OVER (ORDER BY s.n, t.id)"
    values = [
        number if column == "id" else changes[column].format(column=column) if column in changes else f"t.{column}"
        for column in columns
    ]
    names = ", ".join(f'"{column}"' for column in columns)
    cr.execute(
        f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} FROM {table} t, {source} WHERE {key}",
        {**parameters, "top": top(cr, table)},
    )
