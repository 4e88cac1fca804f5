import socket
from datetime import timedelta
from email import message_from_bytes, policy
from io import BytesIO

from aiosmtpd.controller import Controller
from pypdf import PdfReader

from odoo import fields
from odoo.tests import tagged

from odoo.addons.account.tests.common import AccountTestInvoicingCommon


@tagged('post_install', '-at_install')
class DunningCommon(AccountTestInvoicingCommon):
    """A company with one procedure: +3, +10 and +20 days, a week between reminders."""

    @classmethod
    def default_env_context(cls):
        # OVERRIDE: mail and chatter are under test
        return {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.company_data['company']
        cls.company.sudo().email = 'accounts@company.example'
        cls.company.sudo().partner_id.tz = 'UTC'
        cls.Engine = cls.env['account.dunning.engine']
        cls.Run = cls.env['account.dunning.run']
        cls.Notice = cls.env['account.dunning.notice']
        cls.procedure = cls._create_procedure([3, 10, 20])
        cls.level_1, cls.level_2, cls.level_3 = cls.procedure.level_ids
        cls.company.sudo().dunning_procedure_id = cls.procedure
        cls.partner_a.write({'email': 'a@example.com', 'street': "Main street 1", 'zip': '1000', 'city': "Brussels"})
        cls.partner_b.write({'email': 'b@example.com'})

    @classmethod
    def _create_procedure(cls, delays, company=None, level_values=None, **values):
        """A procedure with a level for each delay (days), called "Level 1", "Level 2", …"""
        return cls.env['account.dunning.procedure'].sudo().create({
            'name': "Test",
            'company_id': (company or cls.company_data['company']).id,
            'min_wait_days': 7,
            'mode': 'automatic',
            'level_ids': [
                fields.Command.create({
                    'name': f"Level {position}", 'sequence': position, 'delay_days': delay, **(level_values or {}),
                })
                for position, delay in enumerate(delays, start=1)
            ],
            **values,
        })

    @classmethod
    def _create_due_invoice(cls, date_maturity, amount=100.0, partner=None, **values):
        """A posted invoice of one line without tax, to be paid on that day; returns its receivable line(s)."""
        date_maturity = fields.Date.to_date(date_maturity)
        invoice = cls.env['account.move'].create({
            'move_type': values.pop('move_type', 'out_invoice'),
            'partner_id': (partner or cls.partner_a).id,
            'invoice_date': values.pop('invoice_date', date_maturity - timedelta(days=30)),
            'invoice_date_due': date_maturity,
            'invoice_payment_term_id': False,
            'invoice_line_ids': [fields.Command.create({
                'name': "Goods", 'quantity': 1.0, 'price_unit': amount, 'tax_ids': [],
            })],
            **values,
        })
        invoice.action_post()
        return cls._get_receivable_lines(invoice)

    @classmethod
    def _get_receivable_lines(cls, move):
        return move.line_ids.filtered(
            lambda line: line.account_id.account_type == 'asset_receivable').sorted('date_maturity')

    @classmethod
    def _pay(cls, lines, date, amount=None):
        """Book a payment in the bank journal and match it with the lines."""
        payment = cls._create_unmatched_payment(date, amount or sum(lines.mapped('amount_residual')), lines.partner_id)
        (lines + payment).reconcile()
        return payment

    @classmethod
    def _create_unmatched_payment(cls, date, amount, partner, currency=None):
        """Money that has come in and is not matched with any invoice; returns its receivable line."""
        currency = currency or cls.company_data['currency']
        date = fields.Date.to_date(date)
        company = cls.company_data['company']
        balance = currency._convert(amount, company.currency_id, company, date)
        receivable = partner.with_company(company).property_account_receivable_id
        move = cls.env['account.move'].create({
            'move_type': 'entry',
            'journal_id': cls.company_data['default_journal_bank'].id,
            'date': date,
            'line_ids': [
                fields.Command.create({
                    'name': "Payment", 'partner_id': partner.id, 'currency_id': currency.id,
                    'account_id': receivable.id,
                    'balance': -balance, 'amount_currency': -amount,
                }),
                fields.Command.create({
                    'name': "Payment", 'partner_id': partner.id, 'currency_id': currency.id,
                    'account_id': cls.company_data['default_journal_bank'].default_account_id.id,
                    'balance': balance, 'amount_currency': amount,
                }),
            ],
        })
        move.action_post()
        return cls._get_receivable_lines(move)

    @classmethod
    def _create_online_payment(cls, line, state='done'):
        """The customer has paid online what is open on the line; nothing of it is booked yet."""
        provider = cls.env['payment.provider'].sudo().create({'name': "Test", 'company_id': line.company_id.id})
        return cls.env['payment.transaction'].sudo().create({
            'provider_id': provider.id,
            'payment_method_id': cls.env.ref('payment.payment_method_unknown').id,
            'reference': f'Online {line.id}',
            'amount': line.amount_residual_currency,
            'currency_id': line.currency_id.id,
            'partner_id': line.partner_id.id,
            'operation': 'online_direct',
            'invoice_ids': [fields.Command.set(line.move_id.ids)],
            'state': state,
        })

    @classmethod
    def _explain(cls, lines, date):
        return cls.Engine._explain(lines, fields.Date.to_date(date))

    @classmethod
    def _due(cls, date, company=None):
        """Due lines with the name of their level."""
        due = cls.Engine._due_lines(company or cls.company_data['company'], fields.Date.to_date(date))
        return {line: row.level.name for line, row in due.items()}

    def _prepare(self, date, company=None):
        run = self.Run.create({'company_id': (company or self.company).id, 'date': date})
        run.action_prepare()
        return run

    def _run_crons(self):
        """The scheduled actions, as Odoo calls them."""
        for cron in ('ir_cron_dunning_run', 'ir_cron_dunning_send'):
            self._run_cron(cron)

    def _run_cron(self, name):
        self.env.flush_all()
        # Odoo logs what fails in a scheduled action, and goes on
        with self.enter_registry_test_mode(), self.assertNoLogs('odoo.addons.base.models.ir_cron', 'ERROR'):
            result = self.env.ref(f'account_dunning.{name}').sudo().method_direct_trigger()
        self.assertIs(result, True, result)
        self.env.invalidate_all()


def find_free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


class MailSink:
    """A real SMTP server on this machine that keeps what it takes, and can be told to misbehave."""

    def __init__(self):
        self.mails = []
        self.sources = []  # the same, as they came in
        self.refused = set()
        self.hang_up = False
        self.port = find_free_port()
        self.controller = Controller(self, hostname='127.0.0.1', port=self.port)
        self.controller.start()

    def stop(self):
        self.controller.stop()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refused:
            return '550 No such user here'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        self.sources.append(envelope.original_content)
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        if self.hang_up:
            server.transport.close()
            return '421 Closing'
        return '250 Accepted'


class DunningMailCommon(DunningCommon):
    """With a real mail server: what counts as sent has been accepted by it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sink = MailSink()
        cls.addClassCleanup(cls.sink.stop)
        cls.env['ir.mail_server'].sudo().search([('active', '=', True)]).active = False
        cls.mail_server = cls.env['ir.mail_server'].sudo().create({
            'name': "Sink", 'smtp_host': '127.0.0.1', 'smtp_port': cls.sink.port, 'smtp_encryption': 'none',
        })
        # Odoo lets no mail out of a test, unless
        cls.classPatch(cls.env.registry['ir.mail_server'], '_disable_send', lambda self: False)

    def setUp(self):
        super().setUp()
        self.sink.mails.clear()
        self.sink.refused.clear()
        self.sink.hang_up = False

    def _read_pdf(self, content):
        return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)

    def _get_recipients(self):
        return sorted(recipient for recipients, _mail in self.sink.mails for recipient in recipients)
