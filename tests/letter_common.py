from datetime import timedelta

from lxml import html

from odoo import fields
from odoo.fields import Command
from odoo.tests import freeze_time, tagged

from odoo.addons.account.tests.common import AccountTestInvoicingCommon

REPORT = 'account_dunning.action_report_dunning_notice'


@freeze_time('2024-05-01')
@tagged('post_install', '-at_install')
class LetterCommon(AccountTestInvoicingCommon):
    """A brewery's customer, whose letters are read."""

    @classmethod
    def default_env_context(cls):
        # OVERRIDE: mails are under test
        return {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.today = fields.Date.to_date('2024-05-01')
        cls.company = cls.company_data['company']
        cls.company.write({'name': "Kroon Brewery", 'email': 'office@kroon.example', 'phone': '+32 9 123 45 67'})
        cls.company.partner_id.bank_ids.unlink()
        cls.company.partner_id.tz = 'UTC'
        cls.bank = cls.env['res.partner.bank'].sudo().create({
            'partner_id': cls.company.partner_id.id,
            'acc_number': 'BE68539007547034',
            'allow_out_payment': True,
        })
        cls.collector = cls.env.user
        cls.collector.sudo().write({
            'name': "Lotte Vermeulen", 'email': 'lotte@kroon.example', 'phone': '+32 9 123 45 68'})
        cls.currency = cls.company.currency_id
        cls.foreign_currency = cls.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        cls.customer = cls.env['res.partner'].create({
            'name': "Azure Interior", 'is_company': True, 'street': "De Silva St 4557", 'city': "Brussels",
            'ref': 'C-1024', 'lang': 'en_US',
        })
        cls.contact = cls.env['res.partner'].create({
            'name': "Brandon Freeman", 'parent_id': cls.customer.id, 'type': 'invoice', 'street': "Rue de la Loi 16",
            'city': "Brussels", 'email': 'brandon@azure.example', 'lang': 'en_US',
        })
        cls.friendly, cls.reminder, cls.formal = (
            cls.env.ref(f'account_dunning.account_dunning_level_standard_{name}').sudo()
            for name in ('friendly', 'reminder', 'formal')
        )

    @classmethod
    def _create_invoice(cls, amount, days_overdue=30, partner=None, **values):
        due = cls.today - timedelta(days=days_overdue)
        invoice = cls.env['account.move'].create({
            'move_type': 'out_invoice',
            'partner_id': (partner or cls.customer).id,
            'invoice_date': due - timedelta(days=30),
            'invoice_date_due': due,
            'invoice_payment_term_id': False,
            'invoice_line_ids': [Command.create({'name': "Beer", 'quantity': 1, 'price_unit': amount, 'tax_ids': []})],
            **values,
        })
        invoice.action_post()
        return invoice

    @classmethod
    def _line(cls, invoice, level, paid=0.0, set_off=0.0, blocked=0.0, coming_due=False):
        line = invoice.line_ids.filtered(lambda line: line.account_id.account_type == 'asset_receivable')
        residual = invoice.amount_total - paid
        return {
            'move_line_id': line.id,
            'move_id': invoice.id,
            'move_name': invoice.name,
            'invoice_date': invoice.invoice_date,
            'level_id': level.id,
            'is_coming_due': coming_due,
            'date_maturity': invoice.invoice_date_due,
            'days_overdue': (cls.today - invoice.invoice_date_due).days,
            'currency_id': invoice.currency_id.id,
            'amount_total': invoice.amount_total,
            'amount_residual': residual,
            'amount_set_off': set_off,
            'amount_blocked': blocked,
            'amount_due': 0.0 if coming_due else residual - set_off - blocked,
        }

    @classmethod
    def _create_notice(cls, level, line_values, partner=None, **values):
        partner = partner or cls.customer
        return cls.env['account.dunning.notice'].sudo().create({
            'name': 'DUN/2024/00017',
            'company_id': cls.company.id,
            'partner_id': partner.id,
            'contact_id': (cls.contact if partner == cls.customer else partner).id,
            'user_id': cls.collector.id,
            'procedure_id': level.procedure_id.id,
            'level_id': level.id,
            'date': cls.today,
            'deadline': cls.today + timedelta(days=level.deadline_days) if level.deadline_days else False,
            'line_ids': [Command.create(line) for line in line_values],
            **values,
        })

    def _render(self, notice):
        """The HTML of the letter."""
        content, _type = self.env['ir.actions.report'].sudo()._render_qweb_html(REPORT, notice.ids)
        return html.fromstring(content)

    def _text(self, node, name=None):
        if name:
            [node] = node.xpath(f'.//*[@name="{name}"]')
        return ' '.join(node.text_content().split()).replace('\N{ZERO WIDTH NO-BREAK SPACE}', '')

    def _rows(self, table):
        return [[self._text(cell) for cell in row.xpath('./td')] for row in table.xpath('./tbody/tr')]
