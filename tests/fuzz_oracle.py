"""What must be true of the books and the letters at any moment: worked out in plain Python from plain rows.

Nothing here asks the addon: what is open, what has come in and what an order adds is summed anew from documents.
"""
from collections import defaultdict
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

DIGITS = 2
CENT = Decimal('0.01')
INTEREST_RATE = Decimal(10)  # percent a year of 365 days, of the rule that the customers of the machine have
STATEMENT_DAYS = 14


def exact(amount):
    """An amount as the database has it, which Odoo reads as a float."""
    return Decimal(str(amount or 0))


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
        self.count_charges = 0  # lines of letters whose interest was worked out anew
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
            self.check_charges(notice, day)

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

    # === WHY, AND WHY NOT === #

    def check_verdicts(self, reasons, day):
        """Who is to be reminded today, worked out anew bill by bill, for customers with nothing special.

        :param dict reasons: the explanation's reason by journal item id, right after the run
        :return: how many bills were compared
        :rtype: int
        """
        expected = {}
        for customer in {row['customer'] for row in self.open_items()}:
            expected.update(self.expect(customer, day))
        for line, is_due in expected.items():
            if line in reasons:
                require(
                    (reasons[line] in ('due', 'pending')) == is_due,
                    "item %s: the explanation says “%s”, by the calendar it is %s", line, reasons[line],
                    "due" if is_due else "not due")
        return len(expected)

    def open_items(self, customer=None):
        return self.rows(
            """SELECT aml.id, aml.move_id, aml.currency_id, partner.commercial_partner_id AS customer,
                      COALESCE(aml.date_maturity, aml.date) AS due, aml.amount_residual_currency AS open,
                      aml.no_followup, move.dunning_procedure_id AS own_procedure,
                      customer.dunning_procedure_id ->> %s AS procedure
                 FROM account_move_line aml
                 JOIN account_account account ON account.id = aml.account_id
                 JOIN account_move move ON move.id = aml.move_id
                 JOIN res_partner partner ON partner.id = aml.partner_id
                 JOIN res_partner customer ON customer.id = partner.commercial_partner_id
                WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                  AND aml.company_id = %s AND aml.amount_residual_currency > 0
                  AND (%s OR customer.id = %s)
             ORDER BY due, aml.id""",
            str(self.company.id), self.company.id, customer is None, customer or 0)

    def is_special(self, customer, items):
        """Pauses, money on its way, levels given by hand, customers that were two: left to the other checks."""
        if customer in self.merged or any(item['id'] in self.by_hand for item in items):
            return True
        [row] = self.rows(
            """SELECT EXISTS (SELECT FROM account_dunning_block block
                                JOIN res_partner partner ON partner.id = block.partner_id
                               WHERE partner.commercial_partner_id = %s AND (block.state = 'active' OR block.broken))
                   OR EXISTS (SELECT FROM account_dunning_notice
                               WHERE partner_id = %s AND state IN ('queued', 'failed'))
                   OR EXISTS (SELECT FROM payment_transaction tx
                                JOIN account_invoice_transaction_rel rel ON rel.transaction_id = tx.id
                               WHERE rel.invoice_id = ANY(%s) AND tx.state != 'draft') AS special""",
            customer, customer, [item['move_id'] for item in items])
        return row['special']

    def expect(self, customer, day):
        """For each open item of a customer, whether a reminder of it is due.

        :rtype: dict[int, bool]
        """
        items = self.open_items(customer)
        if self.is_special(customer, items):
            return {}
        # Money without an invoice pays the oldest bills first.
        left = {
            currency: sum(exact(item['open']) for item in items if item['currency_id'] == currency)
            - exact(self.owed(customer, currency, day)).quantize(CENT)
            for currency in {item['currency_id'] for item in items}}
        sent = self.rows(
            """SELECT line.move_line_id, line.level_id, line.advances, notice.level_id AS notice_level,
                      notice.sent_date, notice.procedure_id, notice.dropped_date, notice.state
                 FROM account_dunning_notice notice
                 JOIN res_partner partner ON partner.id = notice.partner_id
            LEFT JOIN account_dunning_notice_line line ON line.notice_id = notice.id
                WHERE notice.state IN ('sent', 'cancelled') AND partner.commercial_partner_id = %s""", customer)
        default = self.company.dunning_procedure_id.id
        due, repeated = {}, {}
        for item in items:
            procedure = item['own_procedure'] or int(item['procedure'] or 0) or default
            due[item['id']] = False
            if item['no_followup']:
                continue
            set_off = min(exact(item['open']), max(left[item['currency_id']], 0))
            left[item['currency_id']] -= set_off
            levels = self.rows(
                """SELECT level.id, level.delay_days, level.repeat_days,
                          GREATEST(procedure.min_wait_days, level.min_wait_days) AS wait
                     FROM account_dunning_level level
                     JOIN account_dunning_procedure procedure ON procedure.id = level.procedure_id
                    WHERE level.procedure_id = %s AND level.active ORDER BY level.sequence, level.id""", procedure)
            reached = {row['level_id'] for row in sent
                       if row['state'] == 'sent' and row['move_line_id'] == item['id'] and row['advances']}
            if not reached <= {level['id'] for level in levels}:
                return {}  # reminded under another procedure
            behind = max((place for place, level in enumerate(levels, 1) if level['id'] in reached), default=0)
            late = (day - item['due']).days
            ahead = [level for level in levels[behind:] if level['delay_days'] >= 0 or late < 0]
            if not ahead or late < ahead[0]['delay_days'] or exact(item['open']) <= set_off:
                continue
            level = ahead[0]
            last = [row['sent_date'] for row in sent if row['state'] == 'sent' and row['procedure_id'] == procedure]
            dropped = [row['dropped_date'] for row in sent if row['dropped_date'] and row['procedure_id'] == procedure]
            if last and day < max(last) + timedelta(days=level['wait']) or dropped and day <= max(dropped):
                continue
            same = [row['sent_date'] for row in sent if row['state'] == 'sent' and row['notice_level'] == level['id']]
            if level['repeat_days'] and same and day < max(same) + timedelta(days=level['repeat_days']):
                repeated[item['id']] = True  # it goes with the next notice that goes anyway
            else:
                due[item['id']] = True
        return {**due, **(repeated if any(due.values()) else {})}

    # === CHARGES === #

    def check_charges(self, notice, day):
        """The interest claimed up to this letter is that of the true balance of each day; none on what is set off."""
        charged = self.rows(
            """SELECT line.move_line_id, line.amount_set_off, line.amount_blocked, level.charge,
                      (SELECT json_agg(json_build_array(charge.amount, charge.state))
                         FROM account_late_charge charge
                        WHERE charge.move_line_id = line.move_line_id AND charge.kind = 'interest'
                          AND charge.state IN ('claimed', 'invoiced', 'waived')) AS charges
                 FROM account_dunning_notice_line line
                 JOIN account_dunning_level level ON level.id = line.level_id
                 JOIN account_move_line item ON item.id = line.move_line_id
                 JOIN account_move move ON move.id = item.move_id
                 JOIN account_dunning_notice notice ON notice.id = line.notice_id
                 JOIN account_dunning_level own ON own.id = notice.level_id AND own.charge = 'print'
                WHERE line.notice_id = %s AND level.charge = 'print' AND line.is_coming_due IS NOT TRUE
                  AND move.is_late_charge IS NOT TRUE""", notice['id'])
        for line in charged:
            charges = line['charges'] or []
            if any(state != 'claimed' for _amount, state in charges):
                continue  # see `check_invoiced_charges`
            claimed = sum((exact(amount) for amount, _state in charges), Decimal(0))
            true = self.interest(line['move_line_id'], day)
            require(
                claimed <= true, "notice %s: interest of %s on item %s, of the true balance it is %s", notice['id'],
                claimed, line['move_line_id'], true)
            if not line['amount_set_off'] and not line['amount_blocked']:
                require(
                    claimed == true, "notice %s: interest of %s on item %s, it should be %s", notice['id'], claimed,
                    line['move_line_id'], true)
        self.count_charges += len(charged)
        [row] = self.rows(
            """SELECT notice.amount_charges AS stated, COALESCE(SUM(charge.amount), 0) AS amount,
                      COUNT(DISTINCT charge.currency_id) AS currencies, MIN(charge.currency_id) AS currency
                 FROM account_dunning_notice notice
            LEFT JOIN account_late_charge_notice_rel rel ON rel.notice_id = notice.id
            LEFT JOIN account_late_charge charge ON charge.id = rel.charge_id
                WHERE notice.id = %s GROUP BY notice.id""", notice['id'])
        if row['currencies'] <= 1 and row['currency'] in (None, self.company.currency_id.id):
            require(
                round((row['stated'] or 0) - row['amount'], DIGITS) == 0, "notice %s states %s of charges, they are %s",
                notice['id'], row['stated'], row['amount'])

    def interest(self, item_id, until, days=None):
        """Simple interest of the balance that was open on each day after the due date, to the cent.

        :param set days: only of these
        :rtype: Decimal
        """
        [item] = self.rows(
            "SELECT amount_currency, COALESCE(date_maturity, date) AS due FROM account_move_line WHERE id = %s",
            item_id)
        paid = self.rows(
            """SELECT partial.debit_amount_currency AS amount,
                      CASE WHEN move.move_type != 'out_refund' THEN GREATEST(debit.date, credit.date) END AS date
                 FROM account_partial_reconcile partial
                 JOIN account_move_line debit ON debit.id = partial.debit_move_id
                 JOIN account_move_line credit ON credit.id = partial.credit_move_id
                 JOIN account_move move ON move.id = credit.move_id
                WHERE partial.debit_move_id = %s""", item_id)
        total, day = Decimal(0), item['due'] + timedelta(days=1)
        while day <= until:
            if days is None or day in days:
                total += max(exact(item['amount_currency']) - sum(
                    exact(row['amount']) for row in paid if row['date'] is None or row['date'] <= day), Decimal(0))
            day += timedelta(days=1)
        return (total * INTEREST_RATE / 36500).quantize(CENT, ROUND_HALF_UP)

    def check_invoiced_charges(self):
        """After a night: what was invoiced and is not true any more is proposed as a credit note."""
        invoices = defaultdict(list)
        for row in self.rows(
            """SELECT charge.charge_move_id AS move, charge.move_line_id AS item, SUM(charge.amount) AS amount,
                      MAX(charge.date_to) AS until,
                      json_agg(json_build_array(charge.date_from, charge.date_to)) AS days
                 FROM account_late_charge charge
                 JOIN account_move move ON move.id = charge.charge_move_id AND move.state = 'posted'
                WHERE charge.state = 'invoiced' AND charge.kind = 'interest' AND charge.company_id = %s
             GROUP BY 1, 2""", self.company.id):
            invoices[row['move']].append(row)
        for move, rows in invoices.items():
            excess = Decimal(0)
            for row in rows:
                days = set()
                for first, last in row['days']:
                    first, last = (type(row['until']).fromisoformat(text) for text in (first, last))
                    days |= {first + timedelta(days=number) for number in range((last - first).days + 1)}
                true = self.interest(row['item'], row['until'], days)
                excess += max(exact(row['amount']) - true - 2 * CENT, Decimal(0))
            [row] = self.rows(
                """SELECT COALESCE(SUM(amount_untaxed), 0) AS amount FROM account_move
                    WHERE reversed_entry_id = %s AND state != 'cancel'""", move)
            require(
                exact(row['amount']) >= excess, "charge invoice %s: %s is not owed, %s is proposed to be credited",
                move, excess, row['amount'])

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

    def check_money_in_agreements(self, promises=False):
        """Agreements can't have got more money than has come in: no euro fills two of them.

        :param bool promises: those kept, too; their verdicts are as of the last night
        """
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
        if promises:
            for row in self.rows(
                """SELECT partner.commercial_partner_id AS customer, promise.currency_id, SUM(promise.amount) AS amount
                     FROM account_payment_promise promise
                     JOIN res_partner partner ON partner.id = promise.partner_id
                    WHERE promise.company_id = %s AND promise.state = 'kept'
                      AND EXISTS (SELECT FROM account_move_line aml
                                    JOIN account_payment_promise_move_line_rel rel ON rel.move_line_id = aml.id
                                   WHERE rel.promise_id = promise.id AND aml.amount_residual_currency > 0)
                      AND NOT EXISTS (SELECT FROM account_move_line aml
                                        JOIN account_payment_promise_move_line_rel rel ON rel.move_line_id = aml.id
                                       WHERE rel.promise_id = promise.id AND aml.parent_state = 'draft')
                 GROUP BY 1, 2""", self.company.id):
                filled[row['customer'], row['currency_id']] += float(row['amount'])
        for key, amount in filled.items():
            received = self.received(*key) + (self.on_its_way(*key) if promises else 0.0)
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

    def on_its_way(self, customer, currency):
        """What the bank or a payment provider says has come, and is not booked as the customer's yet."""
        [row] = self.rows(
            """SELECT (SELECT COALESCE(SUM(received.amount), 0)
                         FROM account_bank_statement_line received
                         JOIN res_partner partner ON partner.id = received.partner_id
                        WHERE received.is_reconciled IS NOT TRUE AND received.amount > 0
                          AND partner.commercial_partner_id = %s AND received.currency_id = %s)
                    + (SELECT COALESCE(SUM(payment.amount), 0)
                         FROM account_payment payment
                         JOIN res_partner partner ON partner.id = payment.partner_id
                        WHERE payment.state = 'in_process' AND payment.move_id IS NULL
                          AND partner.commercial_partner_id = %s AND payment.currency_id = %s) AS amount""",
            customer, currency, customer, currency)
        return float(row['amount'])

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
