from odoo import Command, fields

from odoo.addons.account.tests.common import AccountTestInvoicingCommon


class LateChargeCommon(AccountTestInvoicingCommon):
    """A company that charges delays, customers of several countries, and notices made by hand."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.env.company
        cls.company.sudo().partner_id.tz = 'UTC'
        cls.eur = cls.setup_currency('EUR')
        cls.gbp = cls.setup_currency('GBP')
        cls.customer = cls._create_customer("Late Ltd", is_company=True)
        cls.consumer = cls._create_customer("Late Person", is_company=False)
        cls.bank_account = cls.company_data['default_journal_bank'].default_account_id

    @classmethod
    def setup_currency(cls, code):
        currency = cls.env['res.currency'].sudo().with_context(active_test=False).search([('name', '=', code)])
        currency.active = True
        return currency

    @classmethod
    def _create_customer(cls, name, is_company, country='be', **values):
        return cls.env['res.partner'].create({
            'name': name,
            'is_company': is_company,
            'country_id': cls.env.ref(f'base.{country}').id,
            **values,
        })

    @classmethod
    def _rule(cls, name):
        return cls.env.ref(f'account_dunning.late_charge_rule_{name}')

    @classmethod
    def _set_rule(cls, partner, rule):
        """Agree on a rule with the customer, whatever the country."""
        partner.with_company(cls.company).sudo().late_charge_rule_id = rule

    @classmethod
    def _invoice(cls, amount, due, partner=None, currency=None, date=None, **values):
        return cls._create_invoice(
            invoice_line_ids=[cls._prepare_invoice_line(price_unit=amount, product_id=cls.product_a, tax_ids=[])],
            partner_id=partner or cls.customer,
            currency_id=currency or cls.company.currency_id,
            invoice_date=date or fields.Date.subtract(fields.Date.to_date(due), days=30),
            invoice_date_due=due,
            invoice_payment_term_id=False,
            post=True,
            **values,
        )

    @classmethod
    def _line(cls, move):
        return move.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')

    @classmethod
    def _pay(cls, move, amount, date, currency=None, reconcile=True):
        """Money of the customer comes in; matched with the invoice at once, or not."""
        line = cls._line(move)
        currency = currency or move.currency_id
        balance = currency._convert(amount, cls.company.currency_id, cls.company, fields.Date.to_date(date))
        entry = cls.env['account.move'].create({
            'move_type': 'entry',
            'date': date,
            'journal_id': cls.company_data['default_journal_bank'].id,
            'line_ids': [
                Command.create({
                    'account_id': cls.bank_account.id, 'partner_id': move.partner_id.id, 'currency_id': currency.id,
                    'amount_currency': amount, 'balance': balance,
                }),
                Command.create({
                    'account_id': line[:1].account_id.id, 'partner_id': move.partner_id.id,
                    'currency_id': currency.id, 'amount_currency': -amount, 'balance': -balance,
                }),
            ],
        })
        entry.action_post()
        credit = cls._line(entry)
        if reconcile:
            (line.filtered(lambda line: not line.reconciled) + credit).reconcile()
        return credit

    @classmethod
    def _level(cls, charge='print', **values):
        procedure = cls.env['account.dunning.procedure'].sudo().create({
            'name': "Charges",
            'company_id': cls.company.id,
            'level_ids': [Command.create({'name': "Notice", 'delay_days': 1, 'charge': charge, **values})],
        })
        return procedure.level_ids

    @classmethod
    def _notice(cls, moves, date, level, **line_values):
        """A notice over the open installments of some invoices, as the run would propose it."""
        lines = cls._line(moves).filtered(lambda line: not line.reconciled)
        return cls.env['account.dunning.notice'].sudo().create({
            'company_id': cls.company.id,
            'partner_id': moves.commercial_partner_id.id,
            'procedure_id': level.procedure_id.id,
            'level_id': level.id,
            'date': date,
            'line_ids': [
                Command.create({
                    'move_line_id': line.id,
                    'move_id': line.move_id.id,
                    'move_name': line.move_id.name,
                    'level_id': level.id,
                    'advances': True,
                    'date_maturity': line.date_maturity,
                    'currency_id': line.currency_id.id,
                    'amount_residual': line.amount_residual_currency,
                    'amount_due': line.amount_residual_currency,
                    'amount_due_company': line.amount_residual,
                    **line_values,
                })
                for line in lines
            ],
        })

    @classmethod
    def _send(cls, notice, date, posted=True):
        """What the notice flow does around the sending; without an e-mail address the letter is posted that day."""
        date = fields.Date.to_date(date)
        notice._prepare_charges(date)
        notice.write({
            'state': 'sent', 'sent_date': date, 'posted_date': date if posted and not notice.email_to else False})
        notice._move_to_sent(date)
        notice._invoice_charges(date)
        notice.flush_recordset()
        return notice
