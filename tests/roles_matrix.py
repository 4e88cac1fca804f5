"""What each standard role can do in each form that the addon extends or that lies on its way.

`./dev odoo-tests --roles` runs this in a database without the addon and in one with it, and compares; the tests compare
with what came out without it (`roles_expected.txt`). Nothing here may need the addon.
"""
import logging

import psycopg2
from lxml import etree

from odoo import Command
from odoo.exceptions import AccessError, MissingError, UserError, ValidationError
from odoo.tests import Form

_logger = logging.getLogger(__name__)

ROLES = {
    'internal user': 'base.group_user',
    'contact creation': 'base.group_user,base.group_partner_manager',
    'salesperson': 'sales_team.group_sale_salesman,base.group_partner_manager',
    'salesperson of all': 'sales_team.group_sale_salesman_all_leads,base.group_partner_manager',
    'sales manager': 'sales_team.group_sale_manager,base.group_partner_manager',
    'invoicing': 'account.group_account_invoice,base.group_partner_manager',
    'accountant': 'account.group_account_user,base.group_partner_manager',
    'accounting administrator': 'account.group_account_manager,base.group_partner_manager',
    'auditor': 'account.group_account_readonly',
    'settings': 'base.group_system',
    'stock user': 'stock.group_stock_user,base.group_partner_manager',
    'till': 'point_of_sale.group_pos_user,base.group_partner_manager',
    'portal': 'base.group_portal',
}
# Errors that Odoo shows to a user; anything else is a fault, and named by its class too
SHOWN = (AccessError, MissingError, ValidationError, UserError)


class Matrix:
    """The forms, with a record of each kind, and what is done with them.

    :param odoo.api.Environment env: of the superuser; everything is made in it and may be rolled back
    """

    def __init__(self, env):
        self.env = env
        company = env.company
        if not env['account.journal'].search_count([('company_id', '=', company.id)], limit=1):
            env['account.chart.template'].try_loading('generic_coa', company, install_demo=False)
        self.users = {
            role: env['res.users'].with_context(no_reset_password=True).create({
                'name': role, 'login': f"matrix {role}", 'email': f"{number}@example.com",
                'company_id': company.id, 'company_ids': [Command.set(company.ids)],
                'group_ids': [Command.set([env.ref(group).id for group in groups.split(',')])],
            })
            for number, (role, groups) in enumerate(ROLES.items())
            if all(env.ref(group, raise_if_not_found=False) for group in groups.split(','))
        }
        self.customer = env['res.partner'].create({'name': "Customer", 'is_company': True, 'email': 'c@example.com'})
        self.product = env['product.product'].create({'name': "Product", 'list_price': 100.0, 'type': 'service'})
        self.invoice = env['account.move'].create({
            'move_type': 'out_invoice', 'partner_id': self.customer.id, 'invoice_date': '2024-01-01',
            'invoice_line_ids': [Command.create({'product_id': self.product.id, 'price_unit': 100.0, 'tax_ids': []})],
        })
        self.posted = self.invoice.copy({'invoice_date': '2024-01-01'})
        self.posted.action_post()
        self.item = self.posted.line_ids.filtered(lambda line: line.account_id.account_type == 'asset_receivable')
        # A salesperson may do with their own orders what they may not with those of others.
        self.own_orders = {role: self.make_order(user) for role, user in self.users.items()}

    def make_order(self, user):
        return self.env['sale.order'].create({
            'partner_id': self.customer.id, 'user_id': user.id,
            'order_line': [Command.create({'product_id': self.product.id})]})

    #=== THE FORMS ===#

    def fill_contact(self, form):
        form.name = "New customer"

    def fill_invoice(self, form):
        form.partner_id = self.customer.with_env(form._env)
        with form.invoice_line_ids.new() as line:
            line.product_id = self.product.with_env(form._env)
            line.price_unit = 50.0

    def fill_payment(self, form):
        form.partner_id = self.customer.with_env(form._env)
        form.amount = 10.0

    def fill_order(self, form):
        form.partner_id = self.customer.with_env(form._env)
        with form.order_line.new() as line:
            line.product_id = self.product.with_env(form._env)

    def fill_product(self, form):
        form.name = "New product"

    def fill_company(self, form):
        form.name = "New company"

    def get_forms(self):
        """Of each form: the model, the context it opens in, how it is filled, what is edited, and a record, or one for
        each role."""
        env = self.env
        return {
            'contact': ('res.partner', {}, self.fill_contact, {'phone': "+32 9 123 45 67"}, self.customer.copy()),
            'invoice': ('account.move', {'default_move_type': 'out_invoice'}, self.fill_invoice, {'ref': "Reference"},
                        self.invoice),
            'posted invoice': ('account.move', {'default_move_type': 'out_invoice'}, None, {'ref': "Reference"},
                               self.posted),
            'credit note': ('account.move', {'default_move_type': 'out_refund'}, self.fill_invoice,
                            {'ref': "Reference"}, self.invoice.copy({'move_type': 'out_refund'})),
            'payment': ('account.payment', {'default_payment_type': 'inbound', 'default_partner_type': 'customer'},
                        self.fill_payment, {'memo': "Memo"},
                        env['account.payment'].create({
                            'payment_type': 'inbound', 'partner_type': 'customer', 'partner_id': self.customer.id,
                            'amount': 10.0})),
            'order': ('sale.order', {}, self.fill_order, {'client_order_ref': "Reference"},
                      self.make_order(env.user)),
            'own order': ('sale.order', {}, None, {'client_order_ref': "Reference"}, self.own_orders),
            'product': ('product.template', {}, self.fill_product, {'list_price': 7.0},
                        env['product.template'].create({'name': "Another product"})),
            'company': ('res.company', {}, self.fill_company, {'phone': "+32 9 123 45 67"},
                        env['res.company'].create({'name': "Another company"})),
            'journal item': ('account.move.line', {}, None, {'name': "Label"}, self.item),
            'settings': ('res.config.settings', {}, lambda form: None, None, None),
        }

    #=== WHAT IS DONE ===#

    def run(self):
        """Do everything; each thing is taken back at once.

        :return: what came of it by form, what was done and role: ``ok`` or the class of the error
        :rtype: dict[tuple[str, str, str], str]
        """
        outcomes = {}
        forms = self.get_forms()
        self.env.flush_all()  # else the first rollback takes back what was made here
        for form, (model, context, fill, changes, record) in forms.items():
            for role, user in self.users.items():
                env_model = self.env[model].with_user(user).with_context(**context)
                mine = record[role] if isinstance(record, dict) else record
                mine = mine and mine.with_user(user).with_context(**context)
                for name, do in self.get_actions(env_model, fill, changes, mine):
                    outcomes[form, name, role] = self.attempt(do)
        return outcomes

    def get_actions(self, model, fill, changes, record):
        yield 'list', lambda: self.open_list(model)
        if fill:
            yield 'create', lambda: self.make(model, fill)
            yield 'create by web_save', lambda: self.make(model, fill, self.web_save)
        if record:
            yield 'open', lambda: self.open_form(record)
            yield 'edit', lambda: self.edit(record, changes)
            yield 'edit by web_save', lambda: self.edit(record, changes, self.web_save)
            yield 'duplicate', lambda: record.copy()
            yield 'delete', lambda: record.unlink()
            if 'active' in record._fields:
                yield 'archive', lambda: record.action_archive()
        if model._name == 'account.move.line':
            yield 'edit as a journal item', lambda: record.web_save({'name': "Label"}, {'display_name': {}})
        if model._name == 'sale.order':
            yield 'more lines', lambda: self.add_line(record)
            yield 'confirm', lambda: record.action_confirm()
            yield 'grow', lambda: (record.action_confirm(), self.add_line(record))
            yield 'cancel', lambda: (record.action_confirm(), record._action_cancel())
            yield 'invoice', lambda: (record.action_confirm(), record._create_invoices())
        if model._name in ('account.move', 'account.payment'):
            yield 'post', lambda: record.action_post()
        if model._name == 'res.config.settings':
            yield 'execute', lambda: self.make(model, fill).execute()

    def attempt(self, do):
        savepoint = self.env.cr.savepoint(flush=False)
        self.env.invalidate_all()
        try:
            do()
            self.env.flush_all()
            return 'ok'
        except SHOWN as error:
            return type(error).__name__
        except AssertionError as error:
            # `Form` refuses what the browser would not let the user do: a field that is read-only or not shown
            _logger.debug("Refused by the form: %s", error)
            return 'not in the form'
        except psycopg2.IntegrityError:
            return 'IntegrityError'  # Odoo says which other record is in the way
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is named
            _logger.warning("%s: %s", type(error).__name__, error, exc_info=True)
            return type(error).__name__
        finally:
            self.env.clear()
            savepoint.rollback()
            savepoint.close(rollback=False)
            self.env.clear()

    @staticmethod
    def make(model, fill, save=Form.save):
        form = Form(model)
        fill(form)
        return save(form)

    @staticmethod
    def edit(record, changes, save=Form.save):
        form = Form(record)
        for name, value in changes.items():
            form[name] = value
        return save(form)

    def add_line(self, order):
        form = Form(order)
        with form.order_line.new() as line:
            line.product_id = self.product.with_env(order.env)
        return self.web_save(form)

    @staticmethod
    def web_save(form):
        """As the browser does: the values of the view, and all of the view is read again."""
        record = object.__getattribute__(form, '_record')
        return record.web_save(form._get_save_values(), get_shown(record, 'form'))

    @staticmethod
    def open_form(record):
        record.web_read(get_shown(record, 'form'))

    @staticmethod
    def open_list(model):
        if not model._transient:
            model.web_search_read([], get_shown(model, 'list'), limit=5)


def get_shown(model, kind):
    """The fields that a view shows, as the browser asks for them.

    :param str kind: 'form' or 'list'
    :rtype: dict[str, dict]
    """
    arch = etree.fromstring(model.get_views([(False, kind)])['views'][kind]['arch'])
    return {node.get('name'): {} for node in arch.xpath('//field[not(ancestor::field or ancestor::groupby)]')}


def to_lines(outcomes):
    """One line for each form and thing done: the roles by what came of it.

    :rtype: list[str]
    """
    table = {}
    for (form, name, role), outcome in outcomes.items():
        table.setdefault((form, name), {}).setdefault(outcome, []).append(role)
    return [
        f"{form} | {name} | " + "; ".join(f"{outcome}: {', '.join(roles)}" for outcome, roles in sorted(row.items()))
        for (form, name), row in table.items()
    ]
