"""What must be true of the books and the letters at any moment: worked out in plain Python from plain rows.

Nothing here asks the addon: what is open, what has come in and what an order adds is summed anew from documents.
"""
from collections import defaultdict

DIGITS = 2
STATEMENT_DAYS = 14


class Violation(AssertionError):
    """Something that must never happen has happened."""


def require(condition, sentence, *details):
    if not condition:
        raise Violation(sentence % details)


class Oracle:
    """Looks at the database after each step.

    :param odoo.api.Environment env: of the superuser, for plain SQL
    :param res.company company:
    """

    def __init__(self, env, company, sink):
        self.env, self.company, self.sink = env, company, sink
        self.evidence = {}  # by model and id
        self.seen_sent = set()
        self.reminded_on = defaultdict(set)  # customers by day
        self.merged = set()  # customers who took over another one's history
        self.is_reordered = False  # levels have changed since the last run
        self.by_hand = {}  # level that an administrator has given to a bill

    def rows(self, query, *parameters):
        self.env.cr.execute(query, parameters)
        return self.env.cr.dictfetchall()

    # === AFTER EACH STEP === #

    def check(self, day):
        """:raises Violation: when anything is wrong"""
        self.env.flush_all()
        self.check_evidence()
        self.check_sent(day)
        self.check_mails()
        self.check_money_in_agreements()
        self.check_exposure()
        self.check_one_notice()

    def check_evidence(self):
        """What has gone out, or was signed, stays as it is."""
        now = {}
        for row in self.rows(
            """SELECT notice.id, notice.name, notice.sent_date, notice.amount_due, notice.level_id, notice.email_to,
                      attachment.checksum,
                      (SELECT json_agg(json_build_array(line.move_name, line.level_id, line.advances, line.amount_due,
                                                        line.amount_residual) ORDER BY line.id)
                         FROM account_dunning_notice_line line WHERE line.notice_id = notice.id) AS lines
                 FROM account_dunning_notice notice
            LEFT JOIN ir_attachment attachment ON attachment.id = notice.attachment_id
                WHERE notice.state = 'sent' AND notice.company_id = %s""", self.company.id):
            now['notice', row.pop('id')] = str(row)
        for row in self.rows(
            """SELECT plan.id, plan.agreement_sha256, plan.signed_by, plan.terms, plan.amount_total, attachment.checksum
                 FROM account_payment_plan plan
            LEFT JOIN ir_attachment attachment ON attachment.id = plan.agreement_id
                WHERE plan.signed_on IS NOT NULL AND plan.company_id = %s""", self.company.id):
            require(row['agreement_sha256'], "plan %s is signed and has no frozen agreement", row['id'])
            now['plan', row.pop('id')] = str(row)
        for key, value in self.evidence.items():
            require(key in now, "evidence is gone: %s %s", *key)
            require(now[key] == value, "evidence has changed: %s\nfrom %s\nto   %s", key, value, now[key])
        self.evidence = now

    def check_mails(self):
        """The mail server has accepted at most one mail for each notice."""
        count = defaultdict(int)
        for _recipients, mail in self.sink.mails:
            for item in (mail['X-Odoo-Objects'] or '').split(','):
                if item.startswith('account.dunning.notice-'):
                    count[item] += 1
        twice = [item for item, number in count.items() if number > 1]
        require(not twice, "the mail server has accepted more than one mail for %s", twice)

    def check_one_notice(self):
        for row in self.rows(
            """SELECT partner_id, COUNT(*) AS number FROM account_dunning_notice
                WHERE company_id = %s AND state IN ('draft', 'queued', 'failed')
             GROUP BY partner_id HAVING COUNT(*) > 1""", self.company.id):
            require(False, "customer %s has %s notices on their way", row['partner_id'], row['number'])

    # === WHAT WAS SENT === #

    def check_sent(self, day):
        notices = self.rows(
            """SELECT notice.id, notice.sent_date, partner.commercial_partner_id AS customer, notice.procedure_id
                 FROM account_dunning_notice notice
                 JOIN res_partner partner ON partner.id = notice.partner_id
                WHERE notice.state = 'sent' AND notice.company_id = %s ORDER BY notice.id""", self.company.id)
        for notice in notices:
            if notice['id'] in self.seen_sent:
                continue
            self.seen_sent.add(notice['id'])
            customer = notice['customer']
            require(notice['sent_date'] == day, "notice %s bears the day %s", notice['id'], notice['sent_date'])
            require(
                customer not in self.reminded_on[day] or customer in self.merged,
                "customer %s is reminded twice on %s", customer, day)
            self.reminded_on[day].add(customer)
            self.check_sum(notice, day)
            self.check_levels(notice)

    def check_sum(self, notice, day):
        """The letter's lines are the ledger's, and it asks for no more than what the customer owes on balance."""
        asked = defaultdict(float)
        for line in self.rows(
            """SELECT line.*, aml.amount_residual_currency AS open, aml.currency_id AS currency, aml.parent_state,
                      move.payment_state, aml.no_followup
                 FROM account_dunning_notice_line line
            LEFT JOIN account_move_line aml ON aml.id = line.move_line_id
            LEFT JOIN account_move move ON move.id = aml.move_id
                WHERE line.notice_id = %s""", notice['id']):
            name = line['move_name']
            require(line['parent_state'] == 'posted', "notice %s reminds of %s, not posted", notice['id'], name)
            require(
                round(line['open'] - line['amount_residual'], DIGITS) == 0,
                "notice %s says %s is open on %s, the ledger says %s", notice['id'], line['amount_residual'], name,
                line['open'])
            require(not line['no_followup'], "notice %s reminds of %s, excluded", notice['id'], name)
            require(
                line['amount_due'] <= line['open'] - self.disputed(line['move_line_id']) + 0.005,
                "notice %s asks for what is disputed of %s", notice['id'], name)
            asked[line['currency']] += line['amount_due']
        for currency, amount in asked.items():
            owed = self.owed(notice['customer'], currency, day)
            require(owed > 0.005, "notice %s: customer %s owes nothing on balance", notice['id'], notice['customer'])
            require(
                amount <= owed + 0.005, "notice %s asks for %s, customer %s owes %s on balance", notice['id'], amount,
                notice['customer'], owed)

    def disputed(self, line_id):
        """At least so much of an installment is disputed: all of it, when the dispute is about all that is open."""
        [row] = self.rows(
            """SELECT COALESCE(SUM(LEAST(dispute.amount, open.amount)), 0) AS amount, MIN(open.lines) AS lines
                 FROM account_move_line aml
                 JOIN account_dispute dispute ON dispute.move_id = aml.move_id AND dispute.state = 'open'
                 JOIN LATERAL (SELECT SUM(amount_residual_currency) AS amount, COUNT(*) AS lines
                                 FROM account_move_line own
                                WHERE own.move_id = aml.move_id AND own.amount_residual_currency > 0
                                  AND own.account_id = aml.account_id) open ON TRUE
                WHERE aml.id = %s AND NOT EXISTS (SELECT FROM account_dispute_move_line_rel rel
                                                   WHERE rel.dispute_id = dispute.id)""", line_id)
        return row['amount'] if row['lines'] == 1 else 0.0

    def owed(self, customer, currency, day):
        """Everything open in one currency, less all that has come in and is not booked or not matched yet."""
        [row] = self.rows(
            """
            SELECT (SELECT COALESCE(SUM(aml.amount_residual_currency), 0)
                      FROM account_move_line aml
                      JOIN account_account account ON account.id = aml.account_id
                      JOIN res_partner partner ON partner.id = aml.partner_id
                     WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                       AND aml.company_id = %(company)s AND aml.currency_id = %(currency)s
                       AND partner.commercial_partner_id = %(customer)s)
                 - (SELECT COALESCE(SUM(received.amount), 0)
                      FROM account_bank_statement_line received
                      JOIN account_move move ON move.id = received.move_id AND move.state = 'posted'
                      JOIN res_partner partner ON partner.id = received.partner_id
                     WHERE received.is_reconciled IS NOT TRUE AND received.amount > 0
                       AND received.foreign_currency_id IS NULL AND received.currency_id = %(currency)s
                       AND received.company_id = %(company)s AND move.date >= %(day)s::date - %(days)s
                       AND partner.commercial_partner_id = %(customer)s)
                 - (SELECT COALESCE(SUM(payment.amount), 0)
                      FROM account_payment payment
                      JOIN res_partner partner ON partner.id = payment.partner_id
                     WHERE payment.state = 'in_process' AND payment.move_id IS NULL
                       AND payment.payment_type = 'inbound' AND payment.currency_id = %(currency)s
                       AND payment.company_id = %(company)s AND partner.commercial_partner_id = %(customer)s)
                 - (SELECT COALESCE(SUM(LEAST(tx.amount, invoice.open)), 0)
                      FROM payment_transaction tx
                      JOIN account_invoice_transaction_rel rel ON rel.transaction_id = tx.id
                      JOIN LATERAL (SELECT SUM(aml.amount_residual_currency) AS open, MIN(aml.partner_id) AS partner_id
                                      FROM account_move_line aml
                                      JOIN account_account account ON account.id = aml.account_id
                                     WHERE aml.move_id = rel.invoice_id AND aml.parent_state = 'posted'
                                       AND account.account_type = 'asset_receivable') invoice ON TRUE
                      JOIN res_partner partner ON partner.id = invoice.partner_id
                     WHERE tx.state = 'done' AND tx.payment_id IS NULL AND tx.currency_id = %(currency)s
                       AND partner.commercial_partner_id = %(customer)s) AS amount
            """.replace('%(company)s', str(int(self.company.id))).replace('%(currency)s', str(int(currency)))
            .replace('%(customer)s', str(int(customer))).replace('%(day)s', f"'{day}'")
            .replace('%(days)s', str(STATEMENT_DAYS)))
        return float(row['amount'])

    def check_levels(self, notice):
        """No level of a bill is repeated, and none of its procedure is skipped."""
        order = [
            (row['id'], row['delay_days'])
            for row in self.rows(
                """SELECT id, delay_days FROM account_dunning_level
                    WHERE procedure_id = %s AND active ORDER BY sequence, id""", notice['procedure_id'])
        ]
        place = {level: number for number, (level, _delay) in enumerate(order)}
        for line in self.rows(
            """SELECT move_line_id, level_id, move_name FROM account_dunning_notice_line
                WHERE notice_id = %s AND advances""", notice['id']):
            before = {row['level_id'] for row in self.rows(
                """SELECT line.level_id
                     FROM account_dunning_notice_line line
                     JOIN account_dunning_notice other ON other.id = line.notice_id AND other.state = 'sent'
                    WHERE line.move_line_id = %s AND line.advances AND other.id != %s""",
                line['move_line_id'], notice['id'])}
            require(
                line['level_id'] not in before, "notice %s repeats level %s of %s", notice['id'], line['level_id'],
                line['move_name'])
            before |= {self.by_hand[line['move_line_id']]} if self.by_hand.get(line['move_line_id']) else set()
            if self.is_reordered or line['level_id'] not in place or not before <= place.keys():
                continue
            furthest = max((place[level] for level in before), default=-1)
            skipped = [
                level for level, delay in order[furthest + 1:place[line['level_id']]] if delay >= 0]
            require(not skipped, "notice %s skips %s of %s", notice['id'], skipped, line['move_name'])

    def check_run(self, reasons):
        """The run has proposed what the explanation says, bill by bill.

        :param dict reasons: the explanation's reason by journal item id, right after the run
        """
        proposed = {row['move_line_id'] for row in self.rows(
            """SELECT line.move_line_id FROM account_dunning_notice_line line
                 JOIN account_dunning_notice notice ON notice.id = line.notice_id
                WHERE notice.company_id = %s AND notice.state = 'draft' AND line.advances
                  AND notice.level_forced IS NOT TRUE""", self.company.id)}
        explained = {line for line, reason in reasons.items() if reason == 'pending'} & (
            proposed | {line for line in reasons if line not in self.waiting_lines()})
        require(proposed == explained, "run and explanation differ on %s", proposed ^ explained)
        due = [line for line, reason in reasons.items() if reason == 'due']
        require(not due, "after the run the explanation still says that these are due: %s", due)

    def waiting_lines(self):
        """Bills of customers whose notice is past proposing."""
        return {row['id'] for row in self.rows(
            """SELECT aml.id
                 FROM account_move_line aml
                 JOIN res_partner partner ON partner.id = aml.partner_id
                 JOIN account_dunning_notice notice ON notice.partner_id = partner.commercial_partner_id
                WHERE notice.state IN ('queued', 'failed') AND notice.company_id = %s""", self.company.id)}

    # === AGREEMENTS === #

    def check_money_in_agreements(self):
        """Agreements can't have got more money than has come in."""
        filled = defaultdict(float)
        for row in self.rows(
            """SELECT partner.commercial_partner_id AS customer, plan.currency_id,
                      SUM(installment.amount_paid) AS amount,
                      BOOL_OR(installment.amount_paid > installment.amount) AS over
                 FROM account_payment_plan_installment installment
                 JOIN account_payment_plan plan ON plan.id = installment.plan_id
                 JOIN res_partner partner ON partner.id = plan.partner_id
                WHERE plan.company_id = %s AND plan.state != 'draft'
             GROUP BY 1, 2""", self.company.id):
            require(not row['over'], "an installment of customer %s is paid more than once", row['customer'])
            filled[row['customer'], row['currency_id']] += float(row['amount'] or 0)
        for key, amount in filled.items():
            received = self.received(*key)
            require(
                amount <= received + 0.005, "customer %s: agreements have got %s, and only %s has come in", key[0],
                amount, received)

    def received(self, customer, currency):
        """All that has ever lowered the customer's debt in a currency."""
        [row] = self.rows(
            """SELECT COALESCE(SUM(-aml.amount_currency), 0) AS amount
                 FROM account_move_line aml
                 JOIN account_account account ON account.id = aml.account_id
                 JOIN res_partner partner ON partner.id = aml.partner_id
                WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                  AND aml.company_id = %s AND aml.currency_id = %s AND partner.commercial_partner_id = %s
                  AND aml.amount_currency < 0""", self.company.id, currency, customer)
        [cancelled] = self.rows(
            """SELECT COALESCE(SUM(aml.amount_currency), 0) AS amount
                 FROM account_move_line aml
                 JOIN res_partner partner ON partner.id = aml.partner_id
                 JOIN account_account account ON account.id = aml.account_id
                WHERE aml.parent_state = 'cancel' AND account.account_type = 'asset_receivable'
                  AND aml.company_id = %s AND aml.currency_id = %s AND partner.commercial_partner_id = %s
                  AND aml.amount_currency > 0""", self.company.id, currency, customer)
        return float(row['amount'] + cancelled['amount'])

    # === CREDIT === #

    def check_exposure(self):
        """The exposure is the sum of the documents."""
        for exposure in self.env['account.credit.exposure'].search([('company_id', '=', self.company.id)]):
            if exposure.partner_id.commercial_partner_id != exposure.partner_id:
                continue
            exposure.invalidate_recordset()
            expected = self.exposure(exposure.partner_id.id)
            require(
                round(exposure.amount_total - expected, DIGITS) == 0, "exposure of customer %s is %s, the documents "
                "say %s", exposure.partner_id.id, exposure.amount_total, expected)

    def exposure(self, customer):
        """Open items, draft invoices, and what is not invoiced of confirmed orders, in company currency."""
        [ledger] = self.rows(
            """SELECT COALESCE(SUM(aml.amount_residual), 0) AS amount
                 FROM account_move_line aml
                 JOIN account_account account ON account.id = aml.account_id
                 JOIN res_partner partner ON partner.id = aml.partner_id
                WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                  AND aml.company_id = %s AND partner.commercial_partner_id = %s""", self.company.id, customer)
        [drafts] = self.rows(
            """SELECT COALESCE(SUM(move.amount_total_signed), 0) AS amount
                 FROM account_move move
                 JOIN res_partner partner ON partner.id = move.partner_id
                WHERE move.state = 'draft' AND move.move_type IN ('out_invoice', 'out_receipt', 'out_refund')
                  AND move.company_id = %s AND partner.commercial_partner_id = %s
                  AND move.move_type != 'out_refund'""", self.company.id, customer)
        orders = self.rows(
            """SELECT line.price_unit, line.product_uom_qty - line.qty_invoiced AS quantity
                 FROM sale_order_line line
                 JOIN sale_order ON sale_order.id = line.order_id
                 JOIN res_partner partner ON partner.id = sale_order.partner_invoice_id
                WHERE sale_order.state = 'sale' AND sale_order.company_id = %s
                  AND partner.commercial_partner_id = %s""", self.company.id, customer)
        [online] = self.rows(
            """SELECT COALESCE(SUM(ROUND(
                          tx.amount / COALESCE(NULLIF(move.invoice_currency_rate, 0), 1), 2)), 0) AS amount
                 FROM payment_transaction tx
                 JOIN account_invoice_transaction_rel rel ON rel.transaction_id = tx.id
                 JOIN account_move move ON move.id = rel.invoice_id
                 JOIN res_partner partner ON partner.id = move.partner_id
                WHERE tx.state IN ('authorized', 'done') AND tx.payment_id IS NULL
                  AND move.payment_state NOT IN ('paid', 'reversed')
                  AND partner.commercial_partner_id = %s""", customer)
        return float(ledger['amount'] + drafts['amount'] - online['amount']) + sum(
            row['price_unit'] * row['quantity'] for row in orders)
