from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.fields import Domain
from odoo.tools import SQL, format_amount

from .account_dunning_ledger import UNMATCHED_STATEMENT_DAYS
from .account_payer_curve import LAST_DAY

# Of the ageing bar: not due, then later and later
BUCKET_COLORS = ('#7fb685', '#f2cc8f', '#f4a259', '#e76f51', '#b23a48')

# Rows that are older by so many days are made anew, all of them.
LONGEST_GAP = 31

# Key of the transaction's notes: which journal items, entries and customers it has touched
CHANGED = 'account.dunning.followup.changed'


class AccountDunningFollowup(models.Model):
    """One row per customer and company: what is overdue today, and what happens next.

    The figures of a hundred thousand customers can't be summed up while a list opens, so they are kept in columns to
    filter and sort by. One set-based statement over the engine's own query brings them up to date: for everybody once
    a day, and for the customers that something has happened to just before the rows are searched. The events
    themselves only append to a queue, when their transaction commits: two payments of one customer never wait for each
    other.
    """

    _name = 'account.dunning.followup'
    _description = "Dunning follow-up"
    _order = 'is_urgent desc, priority desc, amount_overdue desc, id'
    _rec_name = 'partner_id'

    company_id = fields.Many2one(
        comodel_name='res.company', required=True, readonly=True, index=True, ondelete='cascade')
    currency_id = fields.Many2one(related='company_id.currency_id')
    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, readonly=True, index=True, ondelete='cascade')
    user_id = fields.Many2one(comodel_name='res.users', string="Collector", readonly=True, ondelete='set null')
    is_mine = fields.Boolean(
        string="Mine", compute='_compute_is_mine', search='_search_is_mine',
        help="Yours, or of somebody who is away and whom you stand in for.")
    date = fields.Date(string="As of", readonly=True)
    amount_overdue = fields.Monetary(
        string="Overdue",
        readonly=True,
        help="Past its due date, after unmatched payments and credit notes, in company currency.",
    )
    amount_total = fields.Monetary(
        string="Total open", readonly=True, help="All that the customer owes, due or not, less unmatched payments.")
    date_oldest = fields.Date(string="Oldest due date", readonly=True)
    level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        readonly=True,
        index='btree_not_null',
        ondelete='set null',
    )
    last_date = fields.Date(string="Last reminder", readonly=True)
    reason = fields.Selection(selection='_get_reasons', string="Situation", readonly=True)
    next_level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="Next level",
        readonly=True,
        index='btree_not_null',
        ondelete='set null',
    )
    next_date = fields.Date(string="Next step on", readonly=True)
    is_paused = fields.Boolean(string="Paused", readonly=True, help="Some of what is overdue is paused.")

    # The collector's work
    todo = fields.Selection(
        string="To do",
        selection=[
            ('call', "Call"),
            ('promise', "Promise due"),
            ('broken', "Broken agreement"),
            ('failed', "Reminder failed"),
            ('bounced', "Reminder came back"),
            ('post', "Letter to post"),
            ('review', "Proposal to review"),
            ('none', "Nothing"),
        ],
        readonly=True,
        default='none',
        help="The most urgent of what is to be done; it goes away when it is done.",
    )
    todo_date = fields.Date(string="To do on", readonly=True)
    priority = fields.Float(
        readonly=True, digits=(16, 2), aggregator=False,
        help="Who is called first: what a call is worth, in company currency. The open amounts × the days by which it "
             "shortens the waiting × what money costs, less what the call costs (see the settings).")
    is_urgent = fields.Boolean(
        string="Urgent", readonly=True, help="A broken agreement, or a call that was put off to today.")
    last_contact_date = fields.Date(string="Last contact", readonly=True)
    # Copied from `account.payer.score`, to be sorted and grouped by
    score = fields.Integer(
        string="Payer score", readonly=True, aggregator='avg',
        help="How late the customer is expected to pay: 1 (on time) to 5 (very late). 0: no score.")
    expected_late_days = fields.Float(
        string="Expected days late", digits=(16, 1), readonly=True, aggregator='avg')

    payer_score_id = fields.Many2one(
        comodel_name='account.payer.score', string="Score record", compute='_compute_payer_score')
    payer_reasons = fields.Text(string="Reasons of the score", compute='_compute_payer_score')
    next_step = fields.Char(string="Next step", compute='_compute_next_step')
    days_overdue = fields.Integer(string="Days late", compute='_compute_days_overdue')
    phone = fields.Char(related='partner_id.phone')
    email = fields.Char(related='partner_id.email')
    notice_ids = fields.Many2many(
        comodel_name='account.dunning.notice', string="Notices", compute='_compute_notice_ids')
    move_line_ids = fields.Many2many(
        comodel_name='account.move.line', string="Open items", compute='_compute_move_line_ids')
    history_ids = fields.Many2many(
        comodel_name='account.dunning.history', string="Life of the account", compute='_compute_history_ids')
    contact_person_ids = fields.Many2many(
        comodel_name='res.partner', string="Contacts", compute='_compute_contact_person_ids')
    aging_bar = fields.Html(string="By age", compute='_compute_aging_bar', sanitize=False)
    credit_limit_text = fields.Char(string="Credit limit", compute='_compute_credit_limit_text')
    held_order_count = fields.Integer(string="Held orders", compute='_compute_held_order_count')

    _customer_unique = models.UniqueIndex('(company_id, partner_id)', "A customer has one follow-up in each company.")
    _priority_idx = models.Index('(is_urgent DESC, priority DESC, amount_overdue DESC, id) WHERE amount_overdue > 0')
    _todo_idx = models.Index("(company_id, todo, todo_date) WHERE todo != 'none'")
    _overdue_idx = models.Index('(amount_overdue DESC, id) WHERE amount_overdue > 0')

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id')
    def _compute_display_name(self):
        for followup in self:
            followup.display_name = followup.partner_id.display_name

    @api.depends('date_oldest')
    def _compute_days_overdue(self):
        for followup in self:
            today = followup.company_id._get_dunning_today()
            followup.days_overdue = (today - followup.date_oldest).days if followup.date_oldest else 0

    @api.depends('user_id')
    @api.depends_context('uid')
    def _compute_is_mine(self):
        mine = self._get_represented()
        for followup in self:
            followup.is_mine = followup.user_id in mine

    def _search_is_mine(self, operator, value):
        if operator != 'in':
            return NotImplemented
        domain = Domain('user_id', 'in', self._get_represented().ids)
        return domain if True in value else ~domain

    @api.model
    def _get_represented(self):
        return self.env['account.dunning.absence']._get_represented(
            self.env.user, self.env.company._get_dunning_today())

    @api.depends_context('lang')
    @api.depends('partner_id', 'company_id', 'score')
    def _compute_payer_score(self):
        scores = {
            (payer.company_id, payer.partner_id): payer
            for payer in self.env['account.payer.score'].search([
                ('company_id', 'in', self.company_id.ids), ('partner_id', 'in', self.partner_id.ids)])
        }
        for followup in self:
            payer = scores.get((followup.company_id, followup.partner_id), self.env['account.payer.score'])
            followup.payer_score_id, followup.payer_reasons = payer, payer.reasons

    @api.depends('reason', 'next_level_id', 'next_date', 'is_paused', 'amount_overdue')
    @api.depends_context('lang')
    def _compute_next_step(self):
        explanation = self.env['account.dunning.explanation']
        for company, followups in self.grouped('company_id').items():
            paused = followups.filtered('is_paused')
            pauses = explanation._find_pauses(company, paused.partner_id, company._get_dunning_today())
            pauses = pauses.grouped(lambda block: block.partner_id.commercial_partner_id)
            for followup in followups:
                followup.next_step = followup.reason and explanation._describe_step(
                    followup.reason, followup.next_level_id, followup.next_date, pauses.get(followup.partner_id))

    def _compute_notice_ids(self):
        notices = self.env['account.dunning.notice'].search([
            ('company_id', 'in', self.company_id.ids),
            ('partner_id', 'in', self.partner_id.ids),
        ]).grouped(lambda notice: (notice.company_id, notice.partner_id))
        for followup in self:
            followup.notice_ids = notices.get((followup.company_id, followup.partner_id))

    def _compute_move_line_ids(self):
        for followup in self:
            followup.move_line_ids = self.env['account.move.line'].search(
                followup._get_open_lines_domain(), order='date_maturity, id', limit=500)

    def _compute_history_ids(self):
        for followup in self:
            followup.history_ids = self.env['account.dunning.history']._get_history(
                followup.company_id, followup.partner_id)

    def _compute_contact_person_ids(self):
        for followup in self:
            followup.contact_person_ids = followup.partner_id | followup.partner_id.child_ids

    @api.depends('amount_total')
    @api.depends_context('lang')
    def _compute_aging_bar(self):
        """What is open by age, as a bar: not due, then later and later."""
        Aging = self.env['account.dunning.aging'].sudo()
        for company, followups in self.grouped('company_id').items():
            buckets = Aging._get_buckets(company, company._get_dunning_today(), followups.partner_id.ids)
            labels = Aging._get_bucket_labels(company)
            for followup in followups:
                # A negative bucket (money that is not matched) has no width.
                amounts = [max(amount, 0.0) for amount in buckets.get(followup.partner_id.id, [])]
                total = sum(amounts)
                if not total:
                    followup.aging_bar = False
                    continue
                followup.aging_bar = self.env['ir.qweb']._render('account_dunning.followup_aging_bar', {
                    'parts': [
                        (f"{label}: {format_amount(self.env, amount, company.currency_id)}", color,
                         round(100 * amount / total, 1))
                        for label, amount, color in zip(labels, amounts, BUCKET_COLORS, strict=True) if amount
                    ],
                })

    def _compute_credit_limit_text(self):
        """How much of the customer's limit is used: "8,200 of 10,000"."""
        for company, followups in self.grouped('company_id').items():
            customers = followups.partner_id.sudo().with_company(company)
            date = company._get_dunning_today()
            terms = customers._get_credit_terms(company, date)
            Exposure, root = self.env['account.credit.exposure'].sudo(), company.sudo().root_id
            customers = customers.filtered(lambda customer, terms=terms: (
                terms[customer].policy != 'off' and terms[customer].limit))
            amounts = Exposure._get_amounts({root: customers}, date)
            for followup in followups:
                owed = amounts.get((followup.partner_id.id, root.id))
                followup.credit_limit_text = owed and self.env._(
                    "%(used)s of %(limit)s",
                    used=format_amount(
                        self.env, Exposure._get_amount_compared(company, owed, owed.total), company.currency_id),
                    limit=format_amount(self.env, terms[followup.partner_id].limit, company.currency_id))

    def _compute_held_order_count(self):
        # Who looks after debts must know that orders wait, without being allowed to read orders.
        counts = {
            (company.id, partner.id): count
            for company, partner, count in self.env['sale.order'].sudo()._read_group(
                [('company_id', 'in', self.company_id.ids), ('credit_state', '=', 'hold'),
                 ('partner_invoice_id.commercial_partner_id', 'in', self.partner_id.ids)],
                ['company_id', 'partner_invoice_id'], ['__count'])
        }
        totals = {}
        for (company_id, partner_id), count in counts.items():
            key = company_id, self.env['res.partner'].sudo().browse(partner_id).commercial_partner_id.id
            totals[key] = totals.get(key, 0) + count
        for followup in self:
            followup.held_order_count = totals.get((followup.company_id.id, followup.partner_id.id), 0)

    #=== CRUD METHODS ===#

    @api.model
    def _search(self, domain, *args, **kwargs):
        # Whoever looks must not see a customer owing what was paid a moment ago.
        if self.has_access('read'):
            self._bring_up_to_date(self.env.companies)
        return super()._search(domain, *args, **kwargs)

    #=== SELECTION METHODS ===#

    @api.model
    def _get_reasons(self):
        return self.env['account.dunning.explanation']._get_reasons()

    #=== ACTION METHODS ===#

    def action_remind(self):
        """Open the customers' reminders: those on their way, or proposals made now.

        :rtype: dict
        :raise UserError: when none of the customers is to be reminded today.
        """
        Notice = self.env['account.dunning.notice']
        Notice.check_access('write')
        notices = self._find_live_notices()
        for company, followups in self.grouped('company_id').items():
            served = notices.filtered_domain([('company_id', '=', company.id)]).partner_id
            if partners := followups.partner_id - served:
                self.env['account.dunning.run'].with_company(company)._propose(company, partners)
        notices = self._find_live_notices()
        if not notices:
            raise UserError(self.env._(
                "There is no reminder to send today:\n%(reasons)s",
                reasons="\n".join(
                    f"{followup.partner_id.display_name}: {followup.next_step or ''}" for followup in self[:20]),
            ))
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_notice_action')
        if len(notices) == 1:
            return {**action, 'views': [(False, 'form')], 'res_id': notices.id}
        return {**action, 'domain': [('id', 'in', notices.ids)], 'context': {}}

    def action_log_call(self):
        """Note what the customer said on the phone.

        :rtype: dict
        """
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Log a call"),
            'res_model': 'account.dunning.call',
            'view_mode': 'form',
            'target': 'new',
            'context': {'default_partner_id': self.partner_id.id, 'default_company_id': self.company_id.id},
        }

    def action_do(self):
        """Open what is to be done: the promise, the agreement, the reminder, the letter or the proposal.

        :rtype: dict
        """
        self.ensure_one()
        of_customer = [('company_id', '=', self.company_id.id), ('partner_id', '=', self.partner_id.id)]
        notices = {
            'failed': [('state', '=', 'failed')],
            'bounced': [('state', '=', 'sent'), ('is_bounced', '=', True)],
            'post': [('state', '=', 'sent'), ('is_letter_to_print', '=', True)],
            'review': [('state', '=', 'draft')],
        }
        if self.todo in notices:
            found = self.env['account.dunning.notice'].search(of_customer + notices[self.todo])
            action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_notice_action')
            if len(found) == 1:
                return {**action, 'views': [(False, 'form')], 'res_id': found.id}
            return {**action, 'domain': [('id', 'in', found.ids)], 'context': {}}
        state = 'open' if self.todo == 'promise' else 'broken'
        for model in ('account.payment.promise', 'account.payment.plan'):
            found = self.env[model].search(of_customer + [('state', '=', state)], order='id desc', limit=1)
            if found:
                return found._get_records_action()
        return self.action_log_call()

    def action_pause(self):
        """Open a new pause of the customer's reminders.

        :rtype: dict
        """
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Pause the reminders"),
            'res_model': 'account.dunning.block',
            'view_mode': 'form',
            'target': 'new',
            'context': {'default_partner_id': self.partner_id.id, 'default_company_id': self.company_id.id,
                        'default_reason': 'manual'},
        }

    def action_promise(self):
        """Open a new promise of the customer, for one that has not come by telephone.

        :rtype: dict
        """
        self.ensure_one()
        lines = self.move_line_ids
        # What is overdue is known in the company's currency only.
        is_of_company = lines.currency_id == self.currency_id
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Promise to pay"),
            'res_model': 'account.payment.promise',
            'view_mode': 'form',
            'target': 'new',
            'context': {
                'default_partner_id': self.partner_id.id, 'default_company_id': self.company_id.id,
                **({'default_amount': self.amount_overdue} if is_of_company and self.amount_overdue else {}),
            },
        }

    def action_dispute(self):
        """Open a new dispute of one of the customer's open invoices.

        :rtype: dict
        :raise UserError: when no invoice is open
        """
        self.ensure_one()
        moves = self.move_line_ids.move_id.filtered(lambda move: move.move_type in ('out_invoice', 'out_receipt'))
        if not moves:
            raise UserError(self.env._("No invoice is open."))
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Open a dispute"),
            'res_model': 'account.dispute',
            'views': [(self.env.ref('account_dunning.account_dispute_view_form_followup').id, 'form')],
            'view_mode': 'form',
            'target': 'new',
            'context': {'dunning_customer_id': self.partner_id.id, 'dunning_company_id': self.company_id.id,
                        'default_move_id': moves.id if len(moves) == 1 else False},
        }

    def action_late_charges(self):
        """Open the charges for late payment on the customer's invoices.

        :rtype: dict
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_late_charge_action')
        return {
            **action,
            'name': self.env._("Late charges of %(customer)s", customer=self.partner_id.display_name),
            'domain': [('partner_id', '=', self.partner_id.id), ('company_id', '=', self.company_id.id)],
            'context': {},
        }

    def action_case(self):
        """Prepare the hand-over of what is overdue to an agency.

        :rtype: dict
        """
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Hand over to an agency"),
            'res_model': 'account.collection.case',
            'view_mode': 'form',
            'context': {'default_partner_id': self.partner_id.id, 'default_company_id': self.company_id.id,
                        'default_currency_id': self.currency_id.id},
        }

    def action_plan(self):
        """Open the dialog that prepares a payment plan.

        :rtype: dict
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_payment_plan_prepare_action')
        return {**action, 'context': {
            'default_partner_id': self.partner_id.id, 'default_company_id': self.company_id.id}}

    def action_register_payment(self):
        """Open Odoo's dialog for a payment of what is overdue, or of all that is open when nothing is.

        :rtype: dict
        :raise UserError: when nothing is open
        """
        self.ensure_one()
        lines = self.move_line_ids.filtered(lambda line: line.amount_residual > 0)
        today = self.company_id._get_dunning_today()
        overdue = lines.filtered(lambda line: (line.date_maturity or line.date) < today)
        if not lines:
            raise UserError(self.env._("Nothing is open."))
        return (overdue or lines).action_register_payment()

    def action_open_history(self):
        """Open the life of the account as a list of its own, to filter, print and export.

        :rtype: dict
        """
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Life of the account of %(customer)s", customer=self.partner_id.display_name),
            'res_model': 'account.dunning.history',
            'view_mode': 'list',
            'domain': [('partner_id', '=', self.partner_id.id), ('company_id', '=', self.company_id.id)],
        }

    def action_assign(self):
        """Ask who is to look after the customers.

        :rtype: dict
        """
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Assign a collector"),
            'res_model': 'account.dunning.assign',
            'view_mode': 'form',
            'target': 'new',
            'context': {'default_followup_ids': self.ids},
        }

    def action_print_statements(self):
        """The customers' statements of open items, as one PDF.

        :rtype: dict
        :raise UserError: for customers of another company than the current one, which the statement is from
        """
        if foreign := self.company_id - self.env.company:
            raise UserError(self.env._(
                "A statement is from the company that you work in: change to %(company)s first.",
                company=foreign[0].name))
        return self.env.ref('account_dunning.action_report_statement').report_action(self.partner_id)

    def action_send_statements(self):
        """E-mail each customer their statement of account.

        :return: a notification that says how many
        :rtype: dict
        :raise UserError: for customers of another company than the current one, or when nobody has an e-mail address
        :raise AccessError: for users who may not send
        """
        if not self.env.user.has_group('account.group_account_invoice'):
            raise AccessError(self.env._("Only people who may create invoices can send statements."))
        self.check_access('read')
        if foreign := self.company_id - self.env.company:
            raise UserError(self.env._(
                "A statement is from the company that you work in: change to %(company)s first.",
                company=foreign[0].name))
        sent = self.partner_id._send_statements(self.env.company)
        if not sent:
            raise UserError(self.env._("None of these customers has an e-mail address: print the statements instead."))
        left_out = self.partner_id - sent
        message = self.env._("%(number)s statements are on their way.", number=len(sent))
        if left_out:
            message += " " + self.env._(
                "Without an e-mail address: %(customers)s.", customers=", ".join(left_out.mapped('display_name')))
        return {
            'type': 'ir.actions.client', 'tag': 'display_notification',
            'params': {'message': message, 'type': 'warning' if left_out else 'success'},
        }

    def _find_live_notices(self):
        """The customers' notices that are not out yet.

        :rtype: account.dunning.notice
        """
        return self.env['account.dunning.notice'].search([
            ('company_id', 'in', self.company_id.ids),
            ('partner_id', 'in', self.partner_id.ids),
            ('state', 'in', ('draft', 'queued', 'failed')),
        ]).filtered(lambda notice: self.filtered(
            lambda followup: followup.company_id == notice.company_id and followup.partner_id == notice.partner_id))

    def action_open_customer(self):
        """Open the customer's form.

        :rtype: dict
        """
        self.ensure_one()
        return self.partner_id._get_records_action(context={'allowed_company_ids': self._get_allowed_company_ids()})

    def action_open_items(self):
        """Open the customer's open journal items.

        :rtype: dict
        """
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Open items of %(customer)s", customer=self.partner_id.display_name),
            'res_model': 'account.move.line',
            'view_mode': 'list,form',
            'views': [
                (self.env.ref('account_dunning.account_move_line_view_list_followup').id, 'list'),
                (False, 'form'),
            ],
            'domain': self._get_open_lines_domain(),
            'context': {'create': False},
        }

    def action_open_notices(self):
        """Open the customer's dunning notices.

        :rtype: dict
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_notice_action')
        return {
            **action,
            'domain': [('partner_id', '=', self.partner_id.id), ('company_id', '=', self.company_id.id)],
            'context': {},
        }

    #=== BUSINESS METHODS ===#

    def _get_open_lines_domain(self):
        self.ensure_one()
        return [
            ('company_id', '=', self.company_id.id),
            ('partner_id.commercial_partner_id', '=', self.partner_id.id),
            ('account_type', '=', 'asset_receivable'),
            ('account_id.non_trade', '=', False),
            ('parent_state', '=', 'posted'),
            ('reconciled', '=', False),
        ]

    def _get_allowed_company_ids(self):
        """The user's companies with the row's own in front: fields per company are shown as it sees them."""
        self.ensure_one()
        return [self.company_id.id, *(self.env.companies - self.company_id).ids]

    #=== BUSINESS METHODS - THE FIGURES ===#

    @api.model
    def _get_query(self, company, date, partner_ids=None):
        """What each customer owes and what comes next: the engine's query, summed up.

        :param res.company company:
        :param date date: the day that is asked about.
        :param partner_ids: ids of commercial partners; None: all of them.
        :return: a `WITH` clause whose last table, `figures`, has a row for each commercial partner with open
            receivable lines: partner_id, amount_overdue (net of unmatched credits of the same currency), amount_total,
            both in company currency, date_oldest, level_id, last_date, reason, next_level_id, next_date, is_paused.
        :rtype: SQL
        """
        if partner_ids is not None:
            partner_ids = list(partner_ids)
        return SQL(
            """
            %(engine)s,
            ladder AS (
                SELECT level.id, ROW_NUMBER() OVER (ORDER BY level.sequence, level.id) AS height
                  FROM account_dunning_level level
            ),
            balance AS (
                SELECT partner_id, SUM(residual_company) AS total
                  FROM line
              GROUP BY partner_id
            ),
            owed AS (
                SELECT partner_id,
                       currency_id,
                       SUM(residual) AS overdue,
                       SUM(residual_company) AS overdue_company,
                       MIN(date_maturity) FILTER (WHERE set_off < residual) AS date_oldest
                  FROM verdict
                 WHERE days > 0 AND no_followup IS NOT TRUE AND unbooked < residual
              GROUP BY partner_id, currency_id
            ),
            net_owed AS (
                SELECT owed.partner_id,
                       SUM(ROUND(
                           owed.overdue_company * GREATEST(owed.overdue - COALESCE(credit.amount, 0), 0) / owed.overdue,
                           %(decimals)s
                       )) AS overdue,
                       MIN(owed.date_oldest) AS date_oldest
                  FROM owed
             LEFT JOIN credit ON credit.partner_id = owed.partner_id AND credit.currency_id = owed.currency_id
              GROUP BY owed.partner_id
            ),
            reached AS (
                SELECT verdict.partner_id,
                       MAX(ladder.height) AS height,
                       MAX(verdict.current_level_date) AS last_date,
                       BOOL_OR(verdict.reason = 'blocked') AS is_paused
                  FROM verdict
             LEFT JOIN ladder ON ladder.id = verdict.current_level_id
              GROUP BY verdict.partner_id
            ),
            -- Of a customer's lines the one that happens first speaks for them; one without a date, only for want of
            -- another.
            next_step AS (
                SELECT DISTINCT ON (partner_id) partner_id, reason, level_id, next_date
                  FROM verdict
              ORDER BY partner_id,
                       reason NOT IN ('due', 'pending'),
                       next_date NULLS LAST,
                       rank DESC,
                       ARRAY_POSITION(
                           ARRAY[
                               'blocked', 'below_minimum', 'last_level', 'not_delivered', 'no_procedure', 'covered',
                               'no_followup'
                           ],
                           reason
                       ),
                       id
            ),
            figures AS MATERIALIZED (
                SELECT balance.partner_id,
                       COALESCE(net_owed.overdue, 0) AS amount_overdue,
                       balance.total AS amount_total,
                       CASE WHEN net_owed.overdue > 0 THEN net_owed.date_oldest END AS date_oldest,
                       ladder.id AS level_id,
                       reached.last_date,
                       next_step.reason,
                       next_step.level_id AS next_level_id,
                       next_step.next_date,
                       COALESCE(reached.is_paused, FALSE) AS is_paused
                  FROM balance
             LEFT JOIN net_owed ON net_owed.partner_id = balance.partner_id
             LEFT JOIN reached ON reached.partner_id = balance.partner_id
             LEFT JOIN ladder ON ladder.height = reached.height
             LEFT JOIN next_step ON next_step.partner_id = balance.partner_id
            )
            """,
            engine=self.env['account.dunning.engine']._get_query(company, date, partner_ids),
            decimals=company.currency_id.decimal_places,
        )

    @api.model
    def _get_figures(self, company, date, partners):
        """The figures of some customers, as they are at this moment.

        :param res.company company:
        :param date date:
        :param res.partner partners: commercial partners.
        :return: the columns of `_get_query` by customer; customers without open lines are left out.
        :rtype: dict[res.partner, dict]
        """
        if not partners.ids:
            return {}
        rows = self.env.execute_query_dict(
            SQL("%s SELECT * FROM figures", self._get_query(company, date, partners.ids)))
        return {partners.browse(row['partner_id']): row for row in rows}

    @api.model
    def _refresh(self, company, date, partner_ids=None):
        """Bring the company's rows up to date, in one statement: those of all customers, or of some.

        :param res.company company:
        :param date date: the day that the figures are for.
        :param partner_ids: ids of commercial partners; None: all of them.
        """
        self.flush_model()
        self.env['account.payer.score'].flush_model()
        of_partners = SQL()
        if partner_ids is not None:
            of_partners = SQL("AND followup.partner_id = ANY(%s)", list(partner_ids))
        self.env.cr.execute(SQL(
            """
            %(query)s,
            %(work)s,
            %(worth)s,
            cleared AS (
                UPDATE account_dunning_followup followup
                   SET amount_overdue = 0, amount_total = 0, date_oldest = NULL, level_id = NULL, last_date = NULL,
                       reason = NULL, next_level_id = NULL, next_date = NULL, is_paused = FALSE, date = %(date)s,
                       todo = 'none', todo_date = NULL, priority = 0, is_urgent = FALSE
                 WHERE followup.company_id = %(company)s
                   AND (followup.reason IS NOT NULL OR followup.todo != 'none')
                   %(of_partners)s
                   AND NOT EXISTS (SELECT FROM figures WHERE figures.partner_id = followup.partner_id)
            )
            INSERT INTO account_dunning_followup AS followup (
                company_id, partner_id, user_id, date, amount_overdue, amount_total, date_oldest, level_id, last_date,
                reason, next_level_id, next_date, is_paused, todo, todo_date, priority, last_contact_date, score,
                expected_late_days, is_urgent
            )
            SELECT %(company)s,
                   figures.partner_id,
                   collector.id,
                   %(date)s,
                   figures.amount_overdue,
                   figures.amount_total,
                   figures.date_oldest,
                   figures.level_id,
                   figures.last_date,
                   figures.reason,
                   figures.next_level_id,
                   figures.next_date,
                   figures.is_paused,
                   COALESCE(work.todo, 'none'),
                   work.todo_date,
                   %(priority)s,
                   last_contact.date,
                   COALESCE(payer.score, 0),
                   COALESCE(payer.expected_late_days, 0),
                   COALESCE(%(is_urgent)s, FALSE)
              FROM figures
              JOIN res_partner customer ON customer.id = figures.partner_id
         LEFT JOIN work ON work.partner_id = figures.partner_id
         LEFT JOIN last_contact ON last_contact.partner_id = figures.partner_id
         LEFT JOIN worth ON worth.partner_id = figures.partner_id
         LEFT JOIN account_payer_score payer
                ON payer.partner_id = figures.partner_id AND payer.company_id = %(company)s
         LEFT JOIN res_users collector ON collector.id = %(collector)s
             WHERE figures.amount_overdue > 0
                OR figures.level_id IS NOT NULL
                OR work.todo IS NOT NULL
                OR EXISTS (
                       SELECT
                         FROM account_dunning_followup known
                        WHERE known.company_id = %(company)s AND known.partner_id = figures.partner_id
                   )
       ON CONFLICT (company_id, partner_id) DO UPDATE
               SET user_id = EXCLUDED.user_id,
                   date = EXCLUDED.date,
                   amount_overdue = EXCLUDED.amount_overdue,
                   amount_total = EXCLUDED.amount_total,
                   date_oldest = EXCLUDED.date_oldest,
                   level_id = EXCLUDED.level_id,
                   last_date = EXCLUDED.last_date,
                   reason = EXCLUDED.reason,
                   next_level_id = EXCLUDED.next_level_id,
                   next_date = EXCLUDED.next_date,
                   is_paused = EXCLUDED.is_paused,
                   todo = EXCLUDED.todo,
                   todo_date = EXCLUDED.todo_date,
                   priority = EXCLUDED.priority,
                   last_contact_date = EXCLUDED.last_contact_date,
                   score = EXCLUDED.score,
                   expected_late_days = EXCLUDED.expected_late_days,
                   is_urgent = EXCLUDED.is_urgent
            """,
            query=self._get_query(company, date, partner_ids),
            work=self._get_work_tables(company, date, partner_ids),
            worth=self._get_worth_table(company),
            priority=self._get_priority(company),
            is_urgent=self._get_urgency(date),
            collector=self.env['account.dunning.collector.rule'].sudo()._get_collector_expression(
                company, 'customer', SQL("figures.amount_overdue")),
            company=company.id,
            date=date,
            of_partners=of_partners,
        ))
        if partner_ids is None:
            self._set_date(company, date)
            self._take_changes(company)
        self.invalidate_model()

    @api.model
    def _get_priority(self, company):
        """Who is called first: what a call is worth, its cost taken off (SCORE: open amount × the days by which a call
        shortens the waiting × what money costs).

        :param res.company company:
        :return: in company currency, over the columns of `worth`
        :rtype: SQL
        """
        return SQL(
            "COALESCE(worth.euro_days, 0) * %s - %s",
            company.payer_call_effect * company.payer_call_rate / 100 / 365, company.payer_call_cost)

    @api.model
    def _get_urgency(self, date):
        """What comes before all numbers: a broken agreement, and a call that was put off to that day.

        :param datetime.date date: the company's today
        :return: a condition over `work` and `last_contact`
        :rtype: SQL
        """
        return SQL(
            """
            work.todo = 'broken'
            OR work.todo = 'call' AND last_contact.next_date <= %s
            """,
            date)

    @api.model
    def _get_worth_table(self, company):
        """How long what is overdue is going to be owed: a table of a `WITH` clause, `worth` (partner_id, euro_days in
        company currency × days), over `verdict`. By how the customer pays, see `account.payer.curve`; where too little
        is known, as long again as it has been.

        :param res.company company:
        :rtype: SQL
        """
        self.env['account.payer.curve'].flush_model()
        return SQL(
            """
            worth AS MATERIALIZED (
                SELECT verdict.partner_id,
                       SUM(verdict.amount_net_company * COALESCE(
                           (COALESCE(payer.days_left, curve.days_left))[LEAST(verdict.days, %(last)s)],
                           LEAST(verdict.days, %(last)s))) AS euro_days
                  FROM verdict
             LEFT JOIN account_payer_curve curve ON curve.company_id = %(company)s
             LEFT JOIN account_payer_score payer
                    ON payer.company_id = %(company)s AND payer.partner_id = verdict.partner_id
                 WHERE verdict.days > 0 AND verdict.amount_net > 0
              GROUP BY verdict.partner_id
            )
            """,
            company=company.id, last=LAST_DAY)

    @api.model
    def _get_work_tables(self, company, date, partner_ids=None):
        """What a collector has to do about each customer on a day, from what has happened: nothing of it is ticked off.

        :param res.company company:
        :param datetime.date date:
        :param partner_ids: commercial partners; None: all
        :return: two tables of a `WITH` clause: `last_contact` (partner_id, date, next_date) and `work` (partner_id,
            todo, todo_date): the most urgent that is due on the day, else what comes first
        :rtype: SQL
        """
        for model in ('account.dunning.contact', 'account.dunning.notice', 'account.payment.promise',
                      'account.payment.plan', 'mail.activity'):
            self.env[model].flush_model()
        only = SQL() if partner_ids is None else SQL("AND customer.id = ANY(%s)", list(partner_ids))
        return SQL(
            """
            last_contact AS MATERIALIZED (
                SELECT DISTINCT ON (contact.partner_id) contact.partner_id, contact.date, contact.next_date
                  FROM account_dunning_contact contact
                  JOIN res_partner customer ON customer.id = contact.partner_id
                 WHERE contact.company_id = %(company)s %(only)s
              ORDER BY contact.partner_id, contact.date DESC, contact.id DESC
            ),
            reminder AS MATERIALIZED (
                SELECT notice.id, notice.partner_id, notice.state, notice.date, notice.sent_date, notice.is_bounced,
                       notice.is_letter_to_print
                  FROM account_dunning_notice notice
                  JOIN res_partner customer ON customer.id = notice.partner_id
                 WHERE notice.company_id = %(company)s AND notice.state != 'cancelled' %(only)s
            ),
            last_reminder AS (
                SELECT partner_id, MAX(sent_date) AS sent_date FROM reminder WHERE state = 'sent' GROUP BY partner_id
            ),
            broken_agreement AS (
                SELECT customer.id AS partner_id, MIN(agreement.date_closed) AS date
                  FROM (
                        SELECT partner_id, company_id, state, date_closed FROM account_payment_promise
                     UNION ALL
                        SELECT partner_id, company_id, state, date_closed FROM account_payment_plan
                       ) agreement
                  JOIN res_partner holder ON holder.id = agreement.partner_id
                  JOIN res_partner customer ON customer.id = holder.commercial_partner_id
             LEFT JOIN last_contact ON last_contact.partner_id = customer.id
             LEFT JOIN last_reminder ON last_reminder.partner_id = customer.id
                 WHERE agreement.state = 'broken' AND agreement.company_id = %(company)s %(only)s
                   AND agreement.date_closed > COALESCE(
                           GREATEST(last_contact.date, last_reminder.sent_date), '-infinity')
              GROUP BY customer.id
            ),
            task AS (
                SELECT reminder.partner_id, 'call' AS todo, MIN(activity.date_deadline) AS todo_date
                  FROM mail_activity activity
                  JOIN reminder ON reminder.id = activity.res_id AND reminder.state = 'sent'
                  JOIN figures ON figures.partner_id = reminder.partner_id AND figures.reason != 'blocked'
                 WHERE activity.res_model = 'account.dunning.notice' AND activity.active
                   AND activity.activity_type_id != %(todo_type)s
              GROUP BY reminder.partner_id
             UNION ALL
                SELECT last_contact.partner_id, 'call', last_contact.next_date
                  FROM last_contact
                  JOIN figures ON figures.partner_id = last_contact.partner_id
                 WHERE last_contact.next_date IS NOT NULL AND figures.amount_overdue > 0 AND figures.reason != 'blocked'
             UNION ALL
                SELECT customer.id, 'promise', MIN(promise.date)
                  FROM account_payment_promise promise
                  JOIN res_partner holder ON holder.id = promise.partner_id
                  JOIN res_partner customer ON customer.id = holder.commercial_partner_id
             LEFT JOIN last_contact ON last_contact.partner_id = customer.id
                 WHERE promise.state = 'open' AND promise.company_id = %(company)s %(only)s
                   AND promise.date > COALESCE(last_contact.date, '-infinity')
              GROUP BY customer.id
             UNION ALL
                SELECT partner_id, 'broken', date FROM broken_agreement
             UNION ALL
                SELECT partner_id, 'failed', date FROM reminder WHERE state = 'failed'
             UNION ALL
                SELECT reminder.partner_id, 'bounced', reminder.sent_date
                  FROM reminder
                  JOIN last_reminder USING (partner_id)
             LEFT JOIN last_contact USING (partner_id)
                 WHERE reminder.is_bounced AND reminder.state = 'sent'
                   AND reminder.sent_date = last_reminder.sent_date
                   AND reminder.sent_date > COALESCE(last_contact.date, '-infinity')
             UNION ALL
                SELECT partner_id, 'post', sent_date FROM reminder WHERE state = 'sent' AND is_letter_to_print
             UNION ALL
                SELECT partner_id, 'review', date FROM reminder WHERE state = 'draft'
            ),
            work AS MATERIALIZED (
                SELECT DISTINCT ON (partner_id) partner_id, todo, todo_date
                  FROM task
              ORDER BY partner_id,
                       todo_date > %(date)s,
                       CASE WHEN todo_date > %(date)s THEN todo_date END,
                       ARRAY_POSITION(
                           ARRAY['call', 'promise', 'broken', 'failed', 'bounced', 'post', 'review'], todo),
                       todo_date
            )
            """,
            company=company.id, date=date, only=only, todo_type=self.env.ref('mail.mail_activity_data_todo').id,
        )

    @api.model
    def _set_date(self, company, date):
        """Remember the day that all of the company's rows are up to."""
        # Plain SQL: other users' changes of the company are not to be overwritten or waited for.
        self.env.cr.execute(SQL(
            """
            UPDATE res_company
               SET dunning_followup_date = %(date)s
             WHERE id = %(company)s AND dunning_followup_date IS DISTINCT FROM %(date)s
            """,
            date=date, company=company.id,
        ))
        company.invalidate_recordset(['dunning_followup_date'])

    #=== BUSINESS METHODS - WHAT HAS CHANGED SINCE ===#

    @api.model
    def _take_changes(self, companies):
        """Take what is noted as changed off the list, and hand it on to the payer scores; what another reader is
        refreshing at this moment is left to them.

        :return: list of (id of a company, id of a customer)
        """
        return self.env.execute_query(SQL(
            """
            WITH taken AS (
                DELETE FROM account_dunning_followup_change
                      WHERE id IN (
                                SELECT id
                                  FROM account_dunning_followup_change
                                 WHERE company_id = ANY(%s)
                                   FOR UPDATE SKIP LOCKED
                            )
                  RETURNING company_id, partner_id
            )
            INSERT INTO account_payer_change (company_id, partner_id)
            SELECT DISTINCT company_id, partner_id FROM taken
              RETURNING company_id, partner_id
            """,
            companies.ids,
        ))

    @api.model
    def _note_configuration_changed(self):
        """Levels, procedures or a company's choice of them have changed: whoever looks next sees all rows made anew."""
        # Plain SQL: see `_set_date()`.
        self.env.cr.execute(SQL(
            "UPDATE res_company SET dunning_followup_date = NULL WHERE dunning_followup_date IS NOT NULL"))
        self.env['res.company'].invalidate_model(['dunning_followup_date'])

    @api.model
    def _bring_up_to_date(self, companies):
        """Before somebody looks: refresh the customers that something has happened to, and those for whom a new day
        changes something. All rows are refreshed by the nightly run, and here only if it has never been, or if the
        configuration has changed since."""
        if CHANGED in self.env.cr.precommit.data:
            self.env.flush_all()
            self._queue_changed()
        for company in companies.sudo():
            today = company._get_dunning_today()
            if not company.dunning_followup_date:
                self._refresh(company, today)
            elif company.dunning_followup_date < today:
                self._queue_new_day(company, company.dunning_followup_date, today)
        if not self.env.execute_query(SQL("SELECT FROM account_dunning_followup_change LIMIT 1")):
            return
        changed = self._take_changes(companies)
        for company in companies.sudo():
            if partner_ids := {partner_id for company_id, partner_id in changed if company_id == company.id}:
                self._refresh(company, company._get_dunning_today(), partner_ids)

    @api.model
    def _queue_new_day(self, company, since, today):
        """Append to the queue the customers for whom time alone changes something: a bill has come due or has reached
        a level, a time of waiting is over, a pause begins or may have ended, something is to be done.

        Who was due for a reminder and had none is due still, and is left as they are: in a company whose proposals wait
        for somebody's review these are thousands.

        :param res.company company:
        :param date since: the day that the rows are up to.
        :param date today:
        """
        if (today - since).days > LONGEST_GAP:
            self._refresh(company, today)
            return
        for model, names in {
            'account.move.line': ['date', 'date_maturity', 'parent_state', 'partner_id', 'reconciled'],
            'account.dunning.block': ['date_from', 'partner_id', 'state'],
            'account.dunning.contact': ['next_date', 'partner_id'],
            'account.bank.statement.line': ['company_id', 'internal_index', 'is_reconciled', 'partner_id'],
            'mail.activity': ['active', 'date_deadline', 'res_id', 'res_model'],
        }.items():
            self.env[model].flush_model(names)
        procedures = self.env['account.dunning.engine']._get_procedures(company)
        levels = procedures.level_ids
        new_days = [since + timedelta(days=days) for days in range(1, (today - since).days + 1)]
        # Of bills that reach a level on one of the new days, and of reminders after which a time of waiting ends on one
        # of them: who is due already may be due for more. All others' next step says when it is.
        reach_days = {day - timedelta(days=delay) for delay in levels.mapped('delay_days') for day in new_days}
        waits = {*procedures.mapped('min_wait_days'), *levels.mapped('min_wait_days'), *levels.mapped('repeat_days')}
        self.env.cr.execute(SQL(
            """
            INSERT INTO account_dunning_followup_change (company_id, partner_id)
            SELECT %(company)s, partner.commercial_partner_id
              FROM account_move_line line
              JOIN res_partner partner ON partner.id = line.partner_id
             WHERE line.account_id IN %(accounts)s
               AND line.company_id = %(company)s
               AND line.reconciled IS NOT TRUE
               -- apart: there is an index for each
               AND (line.date_maturity >= %(since)s AND line.date_maturity < %(today)s
                    OR line.date_maturity IS NULL AND line.date >= %(since)s AND line.date < %(today)s)
             UNION
            SELECT followup.company_id, followup.partner_id
              FROM account_move_line line
              JOIN res_partner partner ON partner.id = line.partner_id
              JOIN account_dunning_followup followup ON followup.partner_id = partner.commercial_partner_id
                                                    AND followup.company_id = %(company)s
             WHERE line.account_id IN %(accounts)s
               AND line.company_id = %(company)s
               AND line.reconciled IS NOT TRUE
               AND line.date_maturity = ANY(%(reach_days)s)
               AND followup.reason IN ('due', 'pending')
             UNION
            SELECT followup.company_id, followup.partner_id
              FROM account_dunning_followup followup
             WHERE followup.company_id = %(company)s
               AND (followup.next_date = ANY(%(new_days)s) OR followup.todo_date = ANY(%(new_days)s)
                    OR followup.is_paused
                    OR followup.reason IN ('due', 'pending') AND followup.last_date = ANY(%(waited_days)s))
             UNION
            SELECT block.company_id, partner.commercial_partner_id
              FROM account_dunning_block block
              JOIN res_partner partner ON partner.id = block.partner_id
             WHERE block.company_id = %(company)s AND block.state = 'active' AND block.date_from = ANY(%(new_days)s)
             UNION
            SELECT contact.company_id, contact.partner_id
              FROM account_dunning_contact contact
             WHERE contact.company_id = %(company)s AND contact.next_date = ANY(%(new_days)s)
             UNION
            SELECT notice.company_id, notice.partner_id
              FROM mail_activity activity
              JOIN account_dunning_notice notice ON notice.id = activity.res_id
             WHERE activity.res_model = 'account.dunning.notice' AND activity.active
               AND activity.date_deadline = ANY(%(new_days)s) AND notice.company_id = %(company)s
             UNION
            -- money that nobody has matched counts for some days
            SELECT received.company_id, partner.commercial_partner_id
              FROM account_bank_statement_line received
              JOIN res_partner partner ON partner.id = received.partner_id
             WHERE received.company_id = %(company)s AND received.is_reconciled IS NOT TRUE
               AND received.internal_index >= to_char(%(since)s::date - %(counted)s, 'YYYYMMDD')
               AND received.internal_index < to_char(%(today)s::date - %(counted)s, 'YYYYMMDD')
            """,
            company=company.id, since=since, today=today, counted=UNMATCHED_STATEMENT_DAYS,
            accounts=tuple(self.env['account.dunning.ledger']._get_receivable_account_ids(company)) or (0,),
            new_days=new_days,
            reach_days=sorted(reach_days),
            waited_days=sorted({day - timedelta(days=wait) for wait in waits for day in new_days}),
        ))
        self._set_date(company, today)

    @api.model
    def _note_changed(self, records):
        """Remember, until the transaction commits, that something happened to records: their customers are refreshed
        before somebody looks at them. Costs no query.

        :param records: journal items, journal entries or partners.
        """
        changed = self.env.cr.precommit.data.get(CHANGED)
        if changed is None:
            changed = self.env.cr.precommit.data[CHANGED] = {}
            self.env.cr.precommit.add(self._queue_changed)
        changed.setdefault(records._name, set()).update(records.ids)
        self.env['res.partner'].invalidate_model(
            ['amount_overdue', 'dunning_last_date', 'dunning_level_id', 'dunning_next_step'], flush=False)

    @api.model
    def _queue_changed(self):
        """Append the customers of what the transaction has touched to the queue."""
        changed = self.env.cr.precommit.data.pop(CHANGED, {})
        sources = {
            'account.move.line': SQL("line.id"),
            'account.move': SQL("line.move_id"),
        }
        for model, column in sources.items():
            if ids := changed.get(model):
                self.env.cr.execute(SQL(
                    """
                    INSERT INTO account_dunning_followup_change (company_id, partner_id)
                    SELECT line.company_id, partner.commercial_partner_id
                      FROM account_move_line line
                      JOIN account_account account ON account.id = line.account_id
                      JOIN res_partner partner ON partner.id = line.partner_id
                     WHERE account.account_type = 'asset_receivable' AND %s = ANY(%s)
                  GROUP BY line.company_id, partner.commercial_partner_id
                    """,
                    column, list(ids),
                ))
        if ids := changed.get('res.partner'):
            self.env.cr.execute(SQL(
                """
                INSERT INTO account_dunning_followup_change (company_id, partner_id)
                SELECT followup.company_id, followup.partner_id
                  FROM account_dunning_followup followup
                  JOIN res_partner partner ON partner.commercial_partner_id = followup.partner_id
                 WHERE partner.id = ANY(%s)
              GROUP BY followup.company_id, followup.partner_id
                """,
                list(ids),
            ))


class AccountDunningFollowupChange(models.Model):
    """The queue of customers to refresh: rows are only appended, and removed by whoever refreshes them."""

    _name = 'account.dunning.followup.change'
    _description = "Customer to refresh in the follow-up"
    _log_access = False

    company_id = fields.Many2one(comodel_name='res.company', required=True, ondelete='cascade')
    partner_id = fields.Many2one(comodel_name='res.partner', required=True, ondelete='cascade')
