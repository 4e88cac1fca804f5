from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Command


class AccountPaymentPlanPrepare(models.TransientModel):
    """Make a payment plan; the schedule shows at once what each choice leads to."""

    _name = 'account.payment.plan.prepare'
    _description = "Make a payment plan"
    _check_company_auto = True

    plan_id = fields.Many2one(
        comodel_name='account.payment.plan',
        string="Replaces",
        readonly=True,
        help="A draft gets the new schedule; a running plan goes on until the new one is offered.",
    )
    partner_id = fields.Many2one(comodel_name='res.partner', string="Customer", required=True)
    contact_id = fields.Many2one(comodel_name='res.partner', domain="[('commercial_partner_id', '=', partner_id)]")
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, default=lambda self: self.env.company)
    currency_id = fields.Many2one(
        comodel_name='res.currency',
        compute='_compute_currency_id',
    )
    open_line_ids = fields.Many2many(
        comodel_name='account.move.line',
        relation='account_payment_plan_prepare_open_line_rel',
        compute='_compute_open_line_ids',
    )
    move_line_ids = fields.Many2many(
        comodel_name='account.move.line',
        relation='account_payment_plan_prepare_move_line_rel',
        string="Invoices",
        compute='_compute_move_line_ids',
        compute_sudo=False,
        store=True,
        readonly=False,
        domain="[('id', 'in', open_line_ids)]",
    )
    amount_total = fields.Monetary(string="Open amount", compute='_compute_amount_total')

    # The schedule
    down_payment = fields.Monetary(string="Down payment")
    date_down_payment = fields.Date(
        string="Down payment due", default=lambda self: self._default_date_down_payment())
    split = fields.Selection(
        selection=[('number', "Number of installments"), ('amount', "Amount of each installment")],
        string="By",
        required=True,
        default='number',
    )
    number = fields.Integer(string="Installments", default=6)
    installment_amount = fields.Monetary(string="Each")
    rhythm = fields.Selection(
        selection=[('week', "Weekly"), ('month', "Monthly"), ('quarter', "Quarterly"), ('free', "Free dates")],
        required=True,
        default='month',
    )
    date_first = fields.Date(
        string="First installment", required=True, default=lambda self: self._default_date_first())
    end_of_month = fields.Boolean(string="End of month")
    tax_first = fields.Boolean(
        string="Tax first", help="The first installment is the tax that is open on the invoices.")
    line_ids = fields.One2many(
        comodel_name='account.payment.plan.prepare.line',
        inverse_name='prepare_id',
        string="Schedule",
        compute='_compute_line_ids',
        compute_sudo=False,
        store=True,
        readonly=False,
    )
    warning = fields.Char(compute='_compute_warning')
    date_validity = fields.Date(
        string="Offer valid until", default=lambda self: self._default_date_validity())
    terms = fields.Text()

    #=== DEFAULT METHODS ===#

    @api.model
    def default_get(self, fields_list):
        """From the invoices or the customer that the dialog is opened on."""
        values = super().default_get(fields_list)
        context = self.env.context
        if context.get('active_model') == 'account.move' and not context.get('default_partner_id'):
            moves = self.env['account.move'].browse(context.get('active_ids', []))
            if len(moves.commercial_partner_id) > 1:
                raise UserError(self.env._("Choose invoices of one customer: a payment plan is for one customer."))
            values['partner_id'] = moves.commercial_partner_id.id
            values['company_id'] = moves.company_id[:1].id
            values['move_line_ids'] = [Command.set(moves.line_ids._filter_open_receivables().ids)]
        elif context.get('active_model') == 'res.partner' and not values.get('partner_id'):
            values['partner_id'] = context.get('active_id')
        if values.get('partner_id'):
            partner = self.env['res.partner'].browse(values['partner_id'])
            values['partner_id'] = partner.commercial_partner_id.id
        return values

    def _default_date_down_payment(self):
        return self.env.company._get_dunning_today() + relativedelta(days=7)

    def _default_date_first(self):
        return self.env.company._get_dunning_today() + relativedelta(months=1)

    def _default_date_validity(self):
        return self.env.company._get_dunning_today() + relativedelta(days=14)

    #=== COMPUTE METHODS ===#

    @api.depends('move_line_ids', 'company_id')
    def _compute_currency_id(self):
        for prepare in self:
            prepare.currency_id = prepare.move_line_ids[:1].currency_id or prepare.company_id.currency_id

    @api.depends('partner_id', 'company_id', 'plan_id')
    def _compute_open_line_ids(self):
        for prepare in self:
            lines = self.env['account.dunning.ledger']._find_open_lines(
                prepare.partner_id, prepare.company_id) if prepare.partner_id else self.env['account.move.line']
            prepare.open_line_ids = lines.filtered(
                lambda line, plan=prepare.plan_id: line.payment_plan_id in (plan, plan.browse()))

    @api.depends('partner_id', 'company_id')
    def _compute_move_line_ids(self):
        for prepare in self:
            today = (prepare.company_id or self.env.company)._get_dunning_today()
            if prepare.move_line_ids:
                continue
            lines = prepare.open_line_ids.filtered(
                lambda line, company=prepare.company_id: line.currency_id == company.currency_id
            ) or prepare.open_line_ids.filtered(
                lambda line, found=prepare.open_line_ids: line.currency_id == found[0].currency_id)
            overdue = lines.filtered(lambda line, today=today: (line.date_maturity or line.date) < today)
            prepare.move_line_ids = overdue or lines

    @api.depends('move_line_ids')
    def _compute_amount_total(self):
        for prepare in self:
            prepare.amount_total = sum(prepare.move_line_ids.mapped('amount_residual_currency'))

    @api.depends(
        'move_line_ids', 'down_payment', 'date_down_payment', 'split', 'number', 'installment_amount', 'rhythm',
        'date_first', 'end_of_month', 'tax_first',
    )
    def _compute_line_ids(self):
        for prepare in self:
            try:
                schedule = prepare._get_schedule()
            except UserError:
                # Said by `warning`, while the user is still typing
                schedule = []
            prepare.line_ids = [Command.clear()] + [Command.create(values) for values in schedule]

    @api.depends('line_ids.amount', 'line_ids.date', 'amount_total')
    def _compute_warning(self):
        for prepare in self:
            prepare.warning = prepare._get_warning()

    def _get_warning(self):
        self.ensure_one()
        if len(self.move_line_ids.currency_id) > 1:
            return self.env._("A payment plan is for one currency only.")
        try:
            self._get_schedule()
        except UserError as error:
            return str(error)
        missing = self.amount_total - sum(self.line_ids.mapped('amount'))
        if self.currency_id.compare_amounts(missing, 0.0):
            return self.env._(
                "%s of the open amount is not in the schedule yet.", self.currency_id.format(missing))
        return False

    #=== ACTION METHODS ===#

    def action_make(self):
        """Make the plan as a draft, and open it.

        :return: window action of the plan
        :raise UserError: when the schedule does not add up
        """
        self.ensure_one()
        if not self.move_line_ids:
            raise UserError(self.env._("Choose the invoices that the payment plan is for."))
        if warning := self._get_warning():
            raise UserError(warning)
        plan = self._make_plan()
        return {
            'type': 'ir.actions.act_window',
            'res_model': 'account.payment.plan',
            'res_id': plan.id,
            'view_mode': 'form',
        }

    #=== BUSINESS METHODS ===#

    def _get_schedule(self):
        """:return: list of dict (date, amount, is_down_payment)"""
        self.ensure_one()
        if not self.date_first:
            return []
        return self.env['account.payment.plan']._prepare_schedule(
            self.amount_total,
            self.currency_id,
            self.date_first,
            number=self.number if self.split == 'number' else 0,
            installment_amount=self.installment_amount if self.split == 'amount' else 0.0,
            rhythm=self.rhythm,
            end_of_month=self.end_of_month,
            down_payment=self.down_payment,
            date_down_payment=self.date_down_payment or self.company_id._get_dunning_today(),
            tax_amount=self.env['account.payment.plan']._get_tax_amount(
                self.move_line_ids) if self.tax_first else 0.0,
        )

    def _prepare_plan_values(self):
        self.ensure_one()
        values = {
            'partner_id': self.partner_id.id,
            'company_id': self.company_id.id,
            'currency_id': self.currency_id.id,
            'move_line_ids': [Command.set(self.move_line_ids.ids)],
            'down_payment': self.down_payment,
            'date_validity': self.date_validity,
            'terms': self.terms,
            'installment_ids': [Command.clear()] + [
                Command.create({
                    'date': line.date, 'amount': line.amount, 'is_down_payment': line.is_down_payment,
                }) for line in self.line_ids
            ],
        }
        if self.contact_id:
            values['contact_id'] = self.contact_id.id
        return values

    def _make_plan(self):
        """The draft plan: a new one, or the draft that the dialog was opened on.

        :return: account.payment.plan
        """
        old = self.plan_id
        if old.state == 'draft':
            old.write(self._prepare_plan_values())
            return old
        Plan = self.env['account.payment.plan']
        Plan.check_access('create')
        # As superuser, because nobody else says which plan it replaces
        plan = Plan.sudo().create(dict(self._prepare_plan_values(), previous_plan_id=old.id)).sudo(False)
        plan.check_access('write')
        return plan


class AccountPaymentPlanPrepareLine(models.TransientModel):
    _name = 'account.payment.plan.prepare.line'
    _description = "Installment in preparation"
    _order = 'date, id'

    prepare_id = fields.Many2one(
        comodel_name='account.payment.plan.prepare', required=True, ondelete='cascade', index=True)
    currency_id = fields.Many2one(related='prepare_id.currency_id')
    date = fields.Date(string="Due on", required=True)
    amount = fields.Monetary(required=True)
    is_down_payment = fields.Boolean(string="Down payment", readonly=True)
