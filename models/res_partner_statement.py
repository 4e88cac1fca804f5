from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL

from ..utils.days import format_day
from ..utils.isolate import isolate

# Statements that are rendered together and committed together
BATCH_SIZE = 20


class ResCompany(models.Model):
    _inherit = 'res.company'

    dunning_statement_monthly = fields.Boolean(
        string="Monthly statements", help="E-mail each customer who owes something a statement of account every month.")
    dunning_statement_day = fields.Integer(
        string="Day of the month", default=1, help="From 1 to 28; when it is missed, the next day.")

    _dunning_statement_day = models.Constraint(
        'CHECK(dunning_statement_day BETWEEN 1 AND 28)', "Statements go out on a day from 1 to 28.")


class ResPartner(models.Model):
    """The statement of account: what is open, what of it is disputed or agreed, and what has come in."""

    _inherit = 'res.partner'

    dunning_statement_date = fields.Date(
        string="Last statement", company_dependent=True, readonly=True, copy=False,
        groups='account.group_account_invoice,account.group_account_readonly')

    #=== WHAT IT SAYS ===#

    def _get_open_items(self, company):
        """What the statement of open items shows: open lines by currency, credits included, oldest due first.

        :param res.company company:
        :return: list of dicts, all amounts in the ``currency``: ``lines`` (account.move.line), ``notes`` (what is
            agreed about a line, by its id), ``received`` (has come in, and is not booked on the account or not matched
            yet), ``total`` and ``overdue`` (after that), ``buckets`` (what is open by age, credits included, as label
            and amount)
        :rtype: list[dict]
        """
        self.ensure_one()
        customer = self.commercial_partner_id
        Ledger = self.env['account.dunning.ledger']
        lines = self.env['account.move.line'].search(
            Ledger._get_open_domain(customer, company), order='date_maturity, date, id',
        ).filtered(lambda line: line.partner_id.commercial_partner_id == customer)  # not a subsidiary's
        today = company._get_dunning_today()
        receipts = Ledger._find_receipts(company, today, customer.ids, lines.ids)
        notes = self._get_statement_notes(company, lines, today)
        Aging = self.env['account.dunning.aging']
        labels = Aging._get_bucket_labels(company)
        items = []
        for currency, of_currency in lines.grouped('currency_id').items():
            buckets = [0.0] * len(labels)
            for line in of_currency:
                days = (today - (line.date_maturity or line.date)).days
                buckets[Aging._get_bucket(days, company.dunning_aging_days)] += line.amount_residual_currency
            # Credits on the account stand among the lines.
            listed = -sum(line.amount_residual_currency for line in of_currency if line.amount_residual_currency < 0)
            come_in = sum(
                receipt.amount for receipt in receipts
                if not receipt.is_matched and receipt.currency_id == currency.id)
            received = max(currency.round(come_in - listed), 0.0)
            # What has come in lowers what is overdue first, as everywhere.
            late = of_currency.filtered(lambda line: line.balance < 0 or (line.date_maturity or line.date) < today)
            overdue = sum(late.mapped('amount_residual_currency')) - received
            items.append({
                'currency': currency,
                'lines': of_currency,
                'notes': notes,
                'received': received,
                'total': currency.round(sum(of_currency.mapped('amount_residual_currency')) - received),
                'overdue': max(currency.round(overdue), 0.0),
                'buckets': [(label, currency.round(amount)) for label, amount in zip(labels, buckets, strict=True)],
            })
        return items

    def _get_statement_notes(self, company, lines, date):
        """What the customer and we know about a line: that it is disputed, promised, in a plan, or with an agency. Why
        else we wait is nobody's but ours.

        :rtype: dict[int, str]
        """
        Explanation = self.env['account.dunning.explanation']
        pauses = Explanation._find_pauses(company, self.commercial_partner_id, date)
        notes = {}
        for line in lines:
            texts = []
            for pause in Explanation._filter_pauses_of(line, pauses):
                if pause.reason == 'dispute':
                    texts.append(self.env._("in dispute"))
                elif pause.reason == 'promise' and pause.promise_ids:
                    texts.append(self.env._(
                        "promised for %s", format_day(self.env, pause.promise_ids[:1].date, short=True)))
                elif pause.reason == 'plan':
                    texts.append(self.env._("in the payment plan"))
                elif pause.case_ids.agency_id:
                    texts.append(self.env._("with %s", pause.case_ids.agency_id[:1].display_name))
            if texts:
                notes[line.id] = ", ".join(dict.fromkeys(texts))
        return notes

    def _get_dunning_address(self):
        """Who gets what is written about open bills: the follow-up address, else the invoice address.

        :rtype: res.partner
        """
        self.ensure_one()
        customer = self.commercial_partner_id
        addresses = customer.child_ids.filtered(lambda child: child.type == 'dunning')
        return addresses[:1] or self.browse(customer.address_get(['invoice'])['invoice'] if customer else False)

    def _get_statement_recipient(self):
        """Who gets the e-mail: the address for open bills, or the company where that has no e-mail address.

        :rtype: res.partner
        """
        address = self._get_dunning_address()
        return address if address.email_normalized else self.commercial_partner_id

    #=== SENDING ===#

    def _send_statements(self, company):
        """Queue an e-mail with the statement to each of the customers who has an address; each keeps it in the chatter.

        The e-mail is Odoo's own: its queue hands it over, and shows what failed.

        :param res.company company:
        :return: the customers who got one
        :rtype: res.partner
        :raise UserError: when the template has been deleted, or the company has no e-mail address
        """
        template = self.env.ref('account_dunning.mail_template_statement', raise_if_not_found=False)
        if not template:
            raise UserError(self.env._("The e-mail template of the statement has been deleted."))
        if not company.email:
            raise UserError(self.env._(
                "%(company)s has no e-mail address that its customers could answer to.", company=company.name))
        reachable = self.filtered(lambda partner: partner._get_statement_recipient().email_normalized)
        if reachable:
            template.sudo().with_company(company).send_mail_batch(
                reachable.ids, email_values={'auto_delete': False})
            reachable.sudo().with_company(company).dunning_statement_date = company._get_dunning_today()
        return reachable

    @api.model
    def _cron_send_statements(self):
        """Each month, one statement to each customer who owes something, in the companies that want it. A customer who
        has had one this month gets none, whoever sent it; a company's day that was missed is made up for."""
        commit = self.env['ir.cron']._commit_progress
        for company in self.env['res.company'].search([('dunning_statement_monthly', '=', True)]):
            today = company._get_dunning_today()
            if today.day < company.dunning_statement_day:
                continue
            partners = self.with_company(company)._find_for_statement(company, today.replace(day=1))
            commit(remaining=len(partners))
            for start in range(0, len(partners), BATCH_SIZE):
                batch = partners[start:start + BATCH_SIZE]
                isolate(batch, lambda part, company=company: part._send_statements(company))
                if not commit(len(batch)):
                    return

    @api.model
    def _find_for_statement(self, company, since):
        """Customers with an e-mail address who owe something on balance and have had no statement since a day.

        :param res.company company:
        :param datetime.date since: first day of the month
        :rtype: res.partner
        """
        Ledger = self.env['account.dunning.ledger']
        self.env.flush_all()
        ids = [partner_id for [partner_id] in self.env.execute_query(SQL(
            """
            SELECT partner.commercial_partner_id
              FROM account_move_line aml
              JOIN res_partner partner ON partner.id = aml.partner_id
             WHERE aml.company_id = %s AND aml.account_id IN %s
               AND aml.parent_state = 'posted' AND aml.reconciled IS NOT TRUE
          GROUP BY partner.commercial_partner_id
            HAVING SUM(aml.amount_residual) > 0
            """,
            company.id, tuple(Ledger._get_receivable_account_ids(company)) or (0,)))]
        return self.search(
            Domain('id', 'in', ids)
            & (Domain('dunning_statement_date', '=', False) | Domain('dunning_statement_date', '<', since)),
            order='id',
        ).filtered(lambda partner: partner._get_statement_recipient().email_normalized)
