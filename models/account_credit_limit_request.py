from typing import NamedTuple

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tools import SQL, formatLang

from .res_partner_credit import CREDIT_KEEPERS

PENDING = ('requested', 'second')


class LimitProposal(NamedTuple):
    """What a customer's payments of the last twelve months suggest as a limit, in company currency."""

    turnover: float = 0.0  # invoiced in the last twelve months, credit notes deducted, taxes included
    days_to_pay: float = 0.0  # from the invoice to the last payment, by amount, of what is paid in full
    days_agreed: float = 0.0  # from the invoice to its due date, of the same invoices
    amount: float = 0.0


class AccountCreditLimitRequest(models.Model):
    """A salesperson asks for a credit limit, credit managers decide; above an amount two of them.

    Approving writes the limit, by `res.partner._set_credit_limit()`: what counts is what stands on the customer, this
    is how it came there.
    """

    _name = 'account.credit.limit.request'
    _description = "Request for a credit limit"
    _inherit = ['account.dunning.guarded', 'mail.thread', 'mail.activity.mixin']
    _order = 'id desc'
    _rec_name = 'partner_id'
    _mail_post_access = 'read'

    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, index=True, ondelete='cascade')
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, index=True, ondelete='cascade',
        default=lambda self: self.env.company)
    user_id = fields.Many2one(
        comodel_name='res.users', string="Requested by", readonly=True, index=True, ondelete='set null')
    amount = fields.Monetary(string="Limit wanted", required=True)
    currency_id = fields.Many2one(
        comodel_name='res.currency', required=True, default=lambda self: self.env.company.currency_id)
    date_until = fields.Date(
        string="Valid until",
        help="The last day of a limit that is wanted for some time only; empty: until it is changed.")
    reason = fields.Text(required=True)
    state = fields.Selection(
        selection=[
            ('requested', "Waits for approval"),
            ('second', "Waits for a second approval"),
            ('approved', "Approved"),
            ('refused', "Refused"),
            ('cancelled', "Withdrawn"),
        ],
        required=True,
        readonly=True,
        copy=False,
        default='requested',
        tracking=True,
    )
    amount_approved = fields.Monetary(
        string="Limit approved", copy=False, groups=CREDIT_KEEPERS, help="What is granted instead; 0: what is wanted.")
    decision_note = fields.Char(string="Reason of the decision", copy=False)
    first_user_id = fields.Many2one(
        comodel_name='res.users', string="Approved by", readonly=True, copy=False, ondelete='set null')
    second_user_id = fields.Many2one(
        comodel_name='res.users', string="Second approval by", readonly=True, copy=False, ondelete='set null')
    date_decided = fields.Date(string="Decided on", readonly=True, copy=False)

    # What the customer's payments suggest: not for salespeople, who see no ledger
    company_currency_id = fields.Many2one(related='company_id.currency_id', string="Company currency")
    amount_proposed = fields.Monetary(
        string="Proposed limit", readonly=True, copy=False, currency_field='company_currency_id',
        groups=CREDIT_KEEPERS)
    turnover = fields.Monetary(
        string="Invoiced in twelve months", readonly=True, copy=False, currency_field='company_currency_id',
        groups=CREDIT_KEEPERS)
    days_to_pay = fields.Float(
        string="Usual days to pay", readonly=True, copy=False, digits=(16, 0), groups=CREDIT_KEEPERS)
    days_agreed = fields.Float(
        string="Days agreed", readonly=True, copy=False, digits=(16, 0), groups=CREDIT_KEEPERS)
    proposal = fields.Text(string="How it is computed", compute='_compute_proposal', groups=CREDIT_KEEPERS)
    limit_text = fields.Char(string="Limit now", compute='_compute_limit_text', groups=CREDIT_KEEPERS)

    _amount_positive = models.Constraint(
        'CHECK(amount > 0)',
        "The limit that is wanted must be more than zero.",
    )
    _amount_approved_positive = models.Constraint(
        'CHECK(amount_approved >= 0)',
        "The limit that is approved can't be negative.",
    )

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id', 'amount', 'currency_id')
    def _compute_display_name(self):
        for request in self:
            request.display_name = " · ".join(filter(None, (
                request.partner_id.display_name,
                request.currency_id and formatLang(self.env, request.amount, currency_obj=request.currency_id))))

    @api.depends('turnover', 'days_to_pay', 'days_agreed', 'amount_proposed')
    @api.depends_context('lang')
    def _compute_proposal(self):
        for request in self:
            values = LimitProposal(
                request.turnover, request.days_to_pay, request.days_agreed, request.amount_proposed)
            request.proposal = self._explain_proposal(values, request.company_currency_id)

    @api.depends('partner_id', 'company_id')
    @api.depends_context('lang')
    def _compute_limit_text(self):
        Exposure = self.env['account.credit.exposure']
        for company, requests in self.grouped('company_id').items():
            customers = requests.sudo().partner_id.commercial_partner_id
            terms = customers._get_credit_terms(company, company._get_dunning_today()) if company else {}
            for request in requests:
                agreed = terms.get(request.sudo().partner_id.commercial_partner_id)
                request.limit_text = agreed and (
                    Exposure._explain_doubt(company, request.partner_id, agreed) if agreed.in_doubt
                    else Exposure._format_limit(company, agreed) if agreed.limit else self.env._("No limit"))

    #=== CONSTRAINT METHODS ===#

    @api.constrains('partner_id', 'date_until', 'company_id')
    def _check_request(self):
        for request in self:
            customer = request.partner_id.commercial_partner_id
            if customer != request.partner_id:
                raise ValidationError(self.env._(
                    "%(contact)s is a contact of %(customer)s: ask for a limit of that customer.",
                    contact=request.partner_id.display_name, customer=customer.display_name))
            if request.date_until and request.date_until < request.company_id._get_dunning_today():
                raise ValidationError(self.env._("The limit is wanted until a day that has passed."))
            root = request.company_id.sudo().root_id
            if request.date_until and request.sudo().partner_id.with_company(root).credit_group_id:
                raise ValidationError(self.env._(
                    "%(customer)s shares its limit with others: it can't be raised for some time only.",
                    customer=customer.display_name))

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        if not self.env.su and not self.env.user.has_group('account_dunning.group_credit_manager'):
            # whatever defaults the context has: what is granted is not for who asks
            vals_list = [{**vals, 'decision_note': False} for vals in vals_list]
            context = {key: value for key, value in self.env.context.items() if key != 'default_amount_approved'}
            self = self.with_env(self.env(context=context))
            if any(vals.get('amount_approved') for vals in vals_list):
                raise AccessError(self.env._("Only a credit manager can decide about a credit limit."))
        requests = super().create(vals_list)
        for request in requests.sudo():
            date = request.company_id._get_dunning_today()
            values = self._propose(request.partner_id, request.company_id, date)
            request.write({
                'user_id': self.env.uid,
                'turnover': values.turnover,
                'days_to_pay': values.days_to_pay,
                'days_agreed': values.days_agreed,
                'amount_proposed': values.amount,
            })
        requests.sudo()._ask_credit_managers(
            lambda request: self.env._("A credit limit for %(customer)s?", customer=request.partner_id.display_name))
        return requests

    def write(self, vals):
        if not self.env.su and self.filtered(lambda request: request.state != 'requested') and {
            'partner_id', 'company_id', 'amount', 'currency_id', 'date_until', 'amount_approved', 'reason',
            'decision_note',
        }.intersection(vals):
            raise AccessError(self.env._("A request that somebody has decided about stays as it is."))
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_decided(self):
        if self.filtered(lambda request: request.state != 'cancelled'):
            raise UserError(self.env._("Withdraw the request instead: what was asked and decided stays on record."))

    #=== ACTION METHODS ===#

    def action_approve(self):
        """Grant the limits; above the company's amount a second credit manager has to agree.

        :raise AccessError: when the user is no credit manager
        :raise UserError: when it is decided already, or by somebody who has approved it already
        """
        self._check_decider()
        for request in self.sudo():
            if request.state == 'second' and request.first_user_id == self.env.user:
                raise UserError(self.env._("You have approved it already: the second approval is another person's."))
            if request.state == 'requested' and request._needs_second_approval():
                others = request.company_id._get_credit_managers() - self.env.user
                if not others:
                    raise UserError(self.env._(
                        "Such a limit needs a second approval, and nobody else is a credit manager of %(company)s.",
                        company=request.company_id.name))
                request.write({'state': 'second', 'first_user_id': self.env.uid})
                request._ask_credit_managers(
                    lambda request: self.env._(
                        "Second approval of the limit of %(customer)s?", customer=request.partner_id.display_name))
                continue
            request._grant()
        return True

    def action_refuse(self):
        """Do not grant the limits; the reason stands on the request.

        :raise AccessError: when the user is no credit manager
        :raise UserError: without a reason, or when it is decided already
        """
        self._check_decider()
        for request in self.sudo():
            if not (request.decision_note or '').strip():
                raise UserError(self.env._("Give a reason for the decision."))
            request.write({
                'state': 'refused',
                'first_user_id': request.first_user_id.id or self.env.uid,
                'date_decided': request.company_id._get_dunning_today(),
            })
            request._tell_requester(self.env._(
                "Refused: a credit limit for %(customer)s", customer=request.partner_id.display_name))
        return True

    def action_cancel(self):
        """Withdraw the request: by who has asked, or a credit manager.

        :raise AccessError: when it is somebody else's
        :raise UserError: when it is decided already
        """
        self.check_access('read')
        is_manager = self.env.user.has_group('account_dunning.group_credit_manager')
        if not is_manager and self.sudo().user_id != self.env.user:
            raise AccessError(self.env._("Only who has asked, or a credit manager, can withdraw a request."))
        self._check_pending()
        self.sudo().write({'state': 'cancelled'})
        self.sudo().activity_unlink(['account_dunning.mail_activity_type_credit_review'])
        return True

    def action_view_exposure(self):
        """Show what the customer owes and is about to owe."""
        self.ensure_one()
        self.check_access('read')
        return self.env['account.credit.exposure']._open(self.partner_id, self.company_id)

    #=== BUSINESS METHODS ===#

    def _check_decider(self):
        if not self.env.user.has_group('account_dunning.group_credit_manager'):
            raise AccessError(self.env._("Only a credit manager can decide about a credit limit."))
        self.check_access('read')
        self._check_pending()

    def _check_pending(self):
        if self.filtered(lambda request: request.state not in PENDING):
            raise UserError(self.env._("This request is decided already."))

    def _get_amount_granted(self):
        return self.amount_approved or self.amount

    def _needs_second_approval(self):
        """Whether the limit is above the amount that one credit manager grants alone; in a currency without a rate
        nobody can say that it is not."""
        company = self.company_id.root_id
        most = company.credit_second_approval_amount
        if not most:
            return False
        rate = self.env['account.credit.exposure']._get_rates_of_day(
            self.currency_id, company, company._get_dunning_today())[self.currency_id]
        return rate is None or company.currency_id.compare_amounts(self._get_amount_granted() * rate, most) > 0

    def _grant(self):
        """The limit counts from now on."""
        reason = " · ".join(filter(None, (" ".join(self.reason.split()), (self.decision_note or '').strip())))
        self.partner_id._set_credit_limit(
            self.company_id, self._get_amount_granted(), self.currency_id, self.date_until, reason)
        self.write({
            'state': 'approved',
            'date_decided': self.company_id._get_dunning_today(),
            'second_user_id' if self.state == 'second' else 'first_user_id': self.env.uid,
        })
        self._tell_requester(self.env._(
            "Approved: a credit limit of %(amount)s for %(customer)s", customer=self.partner_id.display_name,
            amount=formatLang(self.env, self._get_amount_granted(), currency_obj=self.currency_id)))

    def _ask_credit_managers(self, get_summary):
        """Give the credit managers something to do, but not who acts just now.

        :param get_summary: function of a request, returning what the activity says
        """
        self.activity_unlink(['account_dunning.mail_activity_type_credit_review'])
        activity_type = self.env.ref('account_dunning.mail_activity_type_credit_review', raise_if_not_found=False)
        self.env['mail.activity'].sudo().create([
            {
                'res_model_id': self.env['ir.model']._get_id(self._name),
                'res_id': request.id,
                'activity_type_id': activity_type.id,
                'summary': get_summary(request),
                'note': request.reason,
                'date_deadline': request.company_id._get_dunning_today(),
                'user_id': manager.id,
                'automated': True,
            }
            for request in self if activity_type
            for manager in request.company_id._get_credit_managers() - self.env.user
        ])

    def _tell_requester(self, summary):
        self.activity_unlink(['account_dunning.mail_activity_type_credit_review'])
        todo = self.env.ref('mail.mail_activity_data_todo', raise_if_not_found=False)
        user = self.user_id - self.env.user
        if todo and user.active and not user.share:
            self.env['mail.activity'].sudo().create({
                'res_model_id': self.env['ir.model']._get_id(self._name),
                'res_id': self.id,
                'activity_type_id': todo.id,
                'summary': summary,
                'note': self.decision_note,
                'user_id': user.id,
                'automated': True,
            })

    #=== BUSINESS METHODS - PROPOSAL ===#

    @api.model
    def _propose(self, partner, company, date):
        """What the payments of the last twelve months suggest: the turnover of a month for as many months as the
        customer usually takes to pay. Paying late does not raise it: at most the agreed days count, at least thirty.

        :param res.partner partner: a commercial entity
        :param res.company company: with all of its branches
        :param date date: the twelve months end on that day
        :return: in company currency
        :rtype: LimitProposal
        """
        Exposure = self.env['account.credit.exposure']
        root = company.sudo().root_id
        self.env['account.move'].flush_model()
        self.env['account.move.line'].flush_model()
        self.env['account.partial.reconcile'].flush_model()
        [(turnover, days_to_pay, days_agreed)] = self.env.execute_query(SQL(
            """
            WITH bill AS (
                SELECT move.id, move.move_type, move.amount_total_signed AS amount, move.invoice_date,
                       move.payment_state, COALESCE(move.invoice_date_due, move.invoice_date) AS date_due
                  FROM account_move move
                 WHERE move.commercial_partner_id = %(partner_id)s
                   AND move.company_id IN %(branch_ids)s
                   AND move.state = 'posted'
                   AND move.move_type IN ('out_invoice', 'out_refund')
                   AND move.invoice_date > %(start)s
                   AND move.invoice_date <= %(date)s
            ), paid AS (
                SELECT bill.id, MIN(bill.amount) AS amount,
                       GREATEST(MAX(partial.max_date) - MIN(bill.invoice_date), 0) AS days_to_pay,
                       GREATEST(MIN(bill.date_due) - MIN(bill.invoice_date), 0) AS days_agreed
                  FROM bill
                  JOIN account_move_line line ON line.move_id = bill.id
                  JOIN account_partial_reconcile partial ON partial.debit_move_id = line.id
                 WHERE bill.move_type = 'out_invoice'
                   AND bill.payment_state IN ('paid', 'in_payment')
                   AND bill.amount > 0
              GROUP BY bill.id
            )
            SELECT COALESCE((SELECT SUM(amount) FROM bill), 0),
                   COALESCE(SUM(days_to_pay * amount) / SUM(amount), 0),
                   COALESCE(SUM(days_agreed * amount) / SUM(amount), 0)
              FROM paid
            """,
            partner_id=partner.id, branch_ids=Exposure._get_branch_ids(root), date=date,
            start=fields.Date.subtract(date, years=1)))
        turnover, days_to_pay, days_agreed = float(turnover), round(float(days_to_pay)), round(float(days_agreed))
        amount = max(turnover, 0.0) / 12 * self._get_days_counted(days_to_pay, days_agreed) / 30
        return LimitProposal(turnover, days_to_pay, days_agreed, float(round(amount)))

    @api.model
    def _get_days_counted(self, days_to_pay, days_agreed):
        return min(days_to_pay, max(days_agreed, 30))

    @api.model
    def _explain_proposal(self, values, currency):
        """The computation in words.

        :param LimitProposal values:
        :param res.currency currency: of the company
        :rtype: str
        """
        if not values.turnover:
            return self.env._("Nothing was invoiced in the last twelve months: there is nothing to go by.")
        turnover = self.env._(
            "Invoiced in the last twelve months: %(turnover)s, a month %(month)s.",
            turnover=formatLang(self.env, values.turnover, currency_obj=currency),
            month=formatLang(self.env, values.turnover / 12, currency_obj=currency))
        if not values.amount:
            return turnover + '\n' + self.env._("None of it has been paid after the day of the invoice.")
        return '\n'.join((
            turnover,
            self.env._(
                "Paid on average %(days)d days after the invoice; agreed are %(agreed)d days.",
                days=values.days_to_pay, agreed=values.days_agreed),
            self.env._(
                "%(month)s × %(days)d / 30 days = %(proposal)s. Paying late does not raise it: at most the agreed days "
                "count, at least 30.",
                month=formatLang(self.env, values.turnover / 12, currency_obj=currency),
                days=self._get_days_counted(values.days_to_pay, values.days_agreed),
                proposal=formatLang(self.env, values.amount, currency_obj=currency)),
        ))
