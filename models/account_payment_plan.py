from datetime import timedelta

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.fields import Command
from odoo.tools import SQL, float_round, format_date, formatLang
from odoo.tools.date_utils import end_of

MAX_INSTALLMENTS = 240


class AccountPaymentPlan(models.Model):
    """An agreed schedule for open lines of one customer and currency. While it is honoured nothing of it is dunned."""

    _name = 'account.payment.plan'
    _description = "Payment plan"
    _inherit = ['account.dunning.guarded', 'portal.mixin', 'mail.thread', 'mail.activity.mixin']
    _order = 'date desc, id desc'
    _check_company_auto = True

    name = fields.Char(string="Number", default='/', required=True, readonly=True, copy=False)
    company_id = fields.Many2one(
        comodel_name='res.company',
        required=True,
        default=lambda self: self.env.company,
        index=True,
    )
    partner_id = fields.Many2one(
        comodel_name='res.partner',
        string="Customer",
        required=True,
        index=True,
        ondelete='restrict',
        check_company=True,
    )
    contact_id = fields.Many2one(
        comodel_name='res.partner',
        compute='_compute_contact_id',
        store=True,
        readonly=False,
        precompute=True,
        domain="[('commercial_partner_id', '=', partner_id)]",
        help="Who gets the offer and the reminders, and signs.",
    )
    user_id = fields.Many2one(
        comodel_name='res.users', string="Responsible", default=lambda self: self.env.user, ondelete='set null')
    currency_id = fields.Many2one(
        comodel_name='res.currency',
        required=True,
        default=lambda self: self.env.company.currency_id,
    )
    move_line_ids = fields.Many2many(
        comodel_name='account.move.line',
        relation='account_payment_plan_move_line_rel',
        column1='plan_id',
        column2='move_line_id',
        string="Covered lines",
        check_company=True,
        copy=False,
    )
    move_ids = fields.Many2many(comodel_name='account.move', string="Invoices", compute='_compute_move_ids')
    amount_total = fields.Monetary(
        string="Covered amount",
        compute='_compute_amount_total',
        store=True,
        help="What was open on the lines when the plan was offered.",
    )
    down_payment = fields.Monetary(
        string="Down payment", help="Part of the covered amount; the plan is active once it is in.")
    installment_ids = fields.One2many(
        comodel_name='account.payment.plan.installment',
        inverse_name='plan_id',
        copy=False,
    )
    state = fields.Selection(
        string="Status",
        selection=[
            ('draft', "Draft"),
            ('offered', "Offered"),
            ('signed', "Signed"),
            ('active', "Active"),
            ('done', "Done"),
            ('broken', "Broken"),
            ('cancelled', "Cancelled"),
        ],
        required=True,
        default='draft',
        readonly=True,
        copy=False,
        index=True,
    )
    date = fields.Date(required=True, default=lambda self: self.env.company._get_dunning_today())
    date_validity = fields.Date(
        string="Offer valid until",
        compute='_compute_date_validity',
        store=True,
        readonly=False,
        precompute=True,
        help="An offer that is not signed by then is withdrawn. Its lines are not dunned until then.",
    )
    date_closed = fields.Date(string="Closed on", readonly=True, copy=False)
    terms = fields.Text(help="Printed on the agreement, below the schedule.")
    note = fields.Text(
        string="Internal note",
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    signature = fields.Image(copy=False, readonly=True, attachment=True, max_width=1024, max_height=1024)
    signed_by = fields.Char(string="Signed by", copy=False, readonly=True)
    signed_on = fields.Datetime(string="Signed on", copy=False, readonly=True)
    previous_plan_id = fields.Many2one(
        comodel_name='account.payment.plan',
        string="Replaces",
        readonly=True,
        copy=False,
        index='btree_not_null',
        ondelete='set null',
    )
    block_id = fields.Many2one(
        comodel_name='account.dunning.block',
        string="Pause",
        readonly=True,
        copy=False,
        index='btree_not_null',
        ondelete='set null',
        groups='account.group_account_invoice,account.group_account_readonly',
    )

    # Where it stands
    amount_paid = fields.Monetary(string="Paid", compute='_compute_progress')
    amount_open = fields.Monetary(string="Open", compute='_compute_progress')
    progress = fields.Float(compute='_compute_progress', help="Paid so far, in percent.")
    next_installment_id = fields.Many2one(
        comodel_name='account.payment.plan.installment', string="Next", compute='_compute_progress')
    next_date = fields.Date(string="Next due", compute='_compute_progress')
    next_amount = fields.Monetary(
        string="Next amount", compute='_compute_progress', help="What is open of the next installment.")

    _down_payment_positive = models.Constraint(
        'CHECK(down_payment >= 0)', "The down payment can't be negative.")
    _live_idx = models.Index("(company_id) WHERE state IN ('offered', 'signed', 'active')")

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id')
    def _compute_contact_id(self):
        for plan in self:
            commercial = plan.partner_id.commercial_partner_id
            if plan.contact_id.commercial_partner_id != commercial:
                addresses = commercial.child_ids.filtered(lambda child: child.type == 'dunning')
                invoice_address = commercial.address_get(['invoice'])['invoice'] if commercial else False
                plan.contact_id = addresses[:1] or self.env['res.partner'].browse(invoice_address)

    @api.depends('move_line_ids')
    def _compute_move_ids(self):
        for plan in self:
            plan.move_ids = plan.move_line_ids.move_id

    @api.depends('move_line_ids')
    def _compute_amount_total(self):
        for plan in self:
            if plan.state == 'draft':
                plan.amount_total = plan._get_open_amount()
            else:
                plan.amount_total = plan.amount_total

    @api.depends('date')
    def _compute_date_validity(self):
        for plan in self:
            if plan.date and not plan.date_validity:
                plan.date_validity = plan.date + timedelta(days=14)

    @api.depends('installment_ids.amount', 'installment_ids.amount_paid', 'installment_ids.date', 'amount_total')
    def _compute_progress(self):
        for plan in self:
            plan.amount_paid = sum(plan.installment_ids.mapped('amount_paid'))
            plan.amount_open = plan.amount_total - plan.amount_paid
            plan.progress = 100 * plan.amount_paid / plan.amount_total if plan.amount_total else 0.0
            plan.next_installment_id = plan.installment_ids.filtered(lambda line: line.state != 'paid').sorted(
                lambda line: (line.date, line._origin.id or 0))[:1]
            plan.next_date = plan.next_installment_id.date
            plan.next_amount = plan.next_installment_id.amount - plan.next_installment_id.amount_paid

    def _compute_access_url(self):
        result = super()._compute_access_url()
        for plan in self:
            plan.access_url = f'/my/payment_plans/{plan.id}'
        return result

    #=== CONSTRAINT METHODS ===#

    @api.constrains('move_line_ids', 'partner_id', 'currency_id', 'company_id')
    def _check_move_lines(self):
        for plan in self:
            for line in plan.move_line_ids:
                invoice = line.move_id.display_name
                if line.partner_id.commercial_partner_id != plan.partner_id.commercial_partner_id:
                    raise ValidationError(self.env._(
                        "%(invoice)s is not an invoice of %(customer)s.",
                        invoice=invoice, customer=plan.partner_id.display_name))
                if line.currency_id != plan.currency_id:
                    raise ValidationError(self.env._(
                        "%(invoice)s is in %(currency)s: a payment plan is for one currency only.",
                        invoice=invoice, currency=line.currency_id.name))
                if line.account_id.account_type != 'asset_receivable':
                    raise ValidationError(self.env._("%s is not what a customer owes.", line.display_name))
            if plan.state not in ('done', 'broken', 'cancelled'):
                plan._check_lines_free()

    def _check_lines_free(self):
        """A line may be in only one live plan.

        :raise UserError: naming the other plan
        """
        for plan in self:
            if taken := plan.move_line_ids.filtered(
                lambda line, plan=plan: line.payment_plan_id not in (plan, plan.previous_plan_id, plan.browse())
            )[:1]:
                raise UserError(self.env._(
                    "%(invoice)s is already in payment plan %(plan)s. Cancel that plan first, or leave the invoice "
                    "out of this one.",
                    invoice=taken.move_id.name, plan=taken.payment_plan_id.name))

    def _check_schedule(self):
        """The schedule of a plan that is about to be offered adds up, and its dates rise.

        :raise UserError: else, saying what is wrong
        """
        self.ensure_one()
        if not self.move_line_ids:
            raise UserError(self.env._("Choose the invoices that the payment plan is for."))
        if settled := self.move_line_ids.filtered(
            lambda line: line.parent_state != 'posted' or line.amount_residual_currency <= 0
        )[:1]:
            raise UserError(self.env._("Nothing is open on %s any more. Take it out of the plan.",
                                       settled.move_id.display_name))
        installments = self.installment_ids.sorted(lambda line: (line.date, line.id))
        if not installments:
            raise UserError(self.env._("The payment plan has no installments yet."))
        total = sum(installments.mapped('amount'))
        if self.currency_id.compare_amounts(total, self.amount_total):
            raise UserError(self.env._(
                "The installments add up to %(installments)s, but %(open)s is open on the invoices. Recompute the "
                "schedule.",
                installments=formatLang(self.env, total, currency_obj=self.currency_id),
                open=formatLang(self.env, self.amount_total, currency_obj=self.currency_id)))
        if installments.filtered(lambda line: line.currency_id.compare_amounts(line.amount, 0.0) <= 0):
            raise UserError(self.env._("Each installment must be more than zero."))
        dates = installments.mapped('date')
        if any(earlier >= later for earlier, later in zip(dates, dates[1:])):  # noqa: B905 - shifted by one
            raise UserError(self.env._("Two installments can't be due on the same day."))

    def _check_dates(self):
        """What is offered can still be signed and kept to.

        :raise UserError: when the offer or its first installment is over already
        """
        self.ensure_one()
        today = self.company_id._get_dunning_today()
        if self.date_validity and self.date_validity < today:
            raise UserError(self.env._(
                "The offer was valid until %s only. Give it a later date first.",
                format_date(self.env, self.date_validity)))
        first = min(self.installment_ids.mapped('date'))
        if first < today:
            raise UserError(self.env._(
                "The first installment was due on %s already. Recompute the schedule.", format_date(self.env, first)))

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            if vals.get('partner_id'):
                partner = self.env['res.partner'].browse(vals['partner_id'])
                vals['partner_id'] = partner.commercial_partner_id.id
                if partner != partner.commercial_partner_id:
                    vals.setdefault('contact_id', partner.id)
        plans = super().create(vals_list)
        for plan_sudo in plans.sudo():
            plan_sudo.name = self.env['ir.sequence'].with_company(plan_sudo.company_id).sudo().next_by_code(
                'account.payment.plan') or '/'
        return plans

    def write(self, vals):
        if vals.keys() & self._get_agreed_fields():
            if agreed := self.filtered(lambda plan: plan.state != 'draft')[:1]:
                raise UserError(self.env._(
                    "Payment plan %s is no draft any more. To agree on something else, make a new plan of it.",
                    agreed.name))
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_draft(self):
        if agreed := self.filtered(lambda plan: plan.state not in ('draft', 'cancelled'))[:1]:
            raise UserError(self.env._("Payment plan %s can't be deleted. Cancel it instead.", agreed.name))

    def _get_agreed_fields(self):
        """Fields that the customer has agreed on: they stay as they were offered."""
        return {'partner_id', 'company_id', 'currency_id', 'move_line_ids', 'down_payment', 'installment_ids'}

    #=== ACTION METHODS ===#

    def action_offer(self):
        """Offer the plan to the customer: it gets fixed, and dunning waits until the offer expires.

        :return: the action that opens the e-mail with the agreement
        :raise UserError: when the schedule does not add up, or a line is in another live plan
        """
        self.check_access('write')
        for plan in self:
            if plan.state != 'draft':
                raise UserError(self.env._("Payment plan %s has already been offered.", plan.name))
            plan.sudo()._compute_amount_total()
            plan._flag_down_payment()
            plan._check_schedule()
            plan._check_dates()
            plan._check_lines_free()
            plan.previous_plan_id.filtered(
                lambda previous: previous.state in previous._get_live_states()).action_cancel()
            plan.sudo().write({'state': 'offered', 'amount_total': plan.amount_total})
            plan.move_line_ids.write({'payment_plan_id': plan.id})
            plan._open_block(plan.date_validity)
        self._tell_all(lambda plan: self.env._(
            "Payment plan %(plan)s offered: %(amount)s until %(date)s, installments: %(count)s.",
            plan=plan.name, amount=plan._format(plan.amount_total), count=len(plan.installment_ids),
            date=format_date(self.env, plan.installment_ids[-1:].date)))
        return self.action_send() if len(self) == 1 else True

    def action_send(self):
        """Open the e-mail with the agreement that the plan's state calls for.

        :return: a window action
        """
        self.ensure_one()
        template = 'mail_template_payment_plan_broken' if self.state == 'broken' else 'mail_template_payment_plan_offer'
        template = self.env.ref(f'account_dunning.{template}', raise_if_not_found=False)
        return {
            'type': 'ir.actions.act_window',
            'res_model': 'mail.compose.message',
            'view_mode': 'form',
            'target': 'new',
            'context': {
                'default_model': self._name,
                'default_res_ids': self.ids,
                'default_template_id': template.id if template else False,
                'default_composition_mode': 'comment',
                'default_email_layout_xmlid': 'mail.mail_notification_layout_with_responsible_signature',
                'force_email': True,
            },
        }

    def action_sign(self):
        """Record that the customer has signed the agreement on paper.

        :raise UserError: when the plan is not on offer
        """
        self.check_access('write')
        for plan in self:
            plan._sign(plan.contact_id.name or plan.partner_id.name)

    def action_cancel(self):
        """Give the plan up without blaming the customer: dunning goes on at the old level, at its own pace.

        :raise UserError: when the plan is over
        """
        self.check_access('write')
        if over := self.filtered(lambda plan: plan.state in ('done', 'broken', 'cancelled'))[:1]:
            raise UserError(self.env._("Payment plan %s is already over.", over.name))
        offered = self.filtered(lambda plan: plan.state != 'draft')
        for company, plans in self.grouped('company_id').items():
            plans._close(company._get_dunning_today(), 'cancelled')
        offered._tell_all(lambda plan: self.env._("Payment plan %s cancelled.", plan.name))

    def action_break(self):
        """Declare the plan broken before the scheduled action does.

        :raise UserError: when it is not signed or active
        """
        self.check_access('write')
        if other := self.filtered(lambda plan: plan.state not in ('signed', 'active'))[:1]:
            raise UserError(self.env._("Only a signed payment plan can be broken; %s is not.", other.name))
        for company, plans in self.grouped('company_id').items():
            plans._break(company._get_dunning_today())

    def action_replan(self):
        """Prepare another plan for what is still open; this one goes on until the new one is offered.

        :return: the window action of the dialog
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_payment_plan_prepare_action')
        action['context'] = {
            'default_plan_id': self.id,
            'default_partner_id': self.partner_id.id,
            'default_company_id': self.company_id.id,
            'default_move_line_ids': self._get_open_lines().ids,
        }
        return action

    def action_view_invoices(self):
        """Open the invoices of the plan."""
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Invoices"),
            'res_model': 'account.move',
            'view_mode': 'list,form',
            'domain': [('id', 'in', self.move_line_ids.move_id.ids)],
            'context': {'create': False},
        }

    def action_preview(self):
        """Open the page that the customer sees."""
        self.ensure_one()
        return {'type': 'ir.actions.act_url', 'target': 'self', 'url': self.get_portal_url()}

    #=== BUSINESS METHODS: SCHEDULE ===#

    @api.model
    def _prepare_schedule(
        self, amount, currency, date_first, number=0, installment_amount=0.0, rhythm='month',
        end_of_month=False, down_payment=0.0, date_down_payment=None, tax_amount=0.0,
    ):
        """Installments that add up to the amount exactly: each is rounded down, the last takes the rest.

        :param float amount: what the plan covers, in `currency`
        :param currency: res.currency
        :param datetime.date date_first: date of the first installment after the down payment
        :param int number: how many installments after the down payment; 0: as many as `installment_amount` needs
        :param float installment_amount: amount of each, in `currency`, when `number` is 0
        :param str rhythm: 'week', 'month', 'quarter'; 'free' starts with months
        :param bool end_of_month: move each date to the end of its month
        :param float down_payment: due at once, in `currency`; part of `amount`
        :param datetime.date date_down_payment: needed when there is a down payment
        :param float tax_amount: if set the first installment, as far as it goes
        :return: list of dict (date, amount, is_down_payment), dates rising, amounts positive
        :raise UserError: when there is no such schedule
        """
        amount = currency.round(amount)
        down_payment = currency.round(down_payment)
        rest = currency.round(amount - down_payment)
        if currency.compare_amounts(amount, 0.0) <= 0:
            raise UserError(self.env._("There is nothing open to make a payment plan for."))
        if currency.compare_amounts(down_payment, 0.0) < 0 or currency.compare_amounts(rest, 0.0) <= 0:
            raise UserError(self.env._("The down payment must be less than the open amount."))
        schedule = []
        if not currency.is_zero(down_payment):
            if date_down_payment >= date_first:
                raise UserError(self.env._("The down payment must be due before the first installment."))
            schedule.append({'date': date_down_payment, 'amount': down_payment, 'is_down_payment': True})
        amounts = self._split_amount(rest, currency, number, installment_amount, tax_amount)
        try:
            dates = self._get_schedule_dates(date_first, len(amounts), rhythm, end_of_month)
        except (OverflowError, ValueError) as error:
            raise UserError(self.env._("The installments lead beyond the end of the calendar.")) from error
        schedule += [
            {'date': date, 'amount': share, 'is_down_payment': False}
            for date, share in zip(dates, amounts, strict=True)
        ]
        return schedule

    @api.model
    def _split_amount(self, amount, currency, number, installment_amount, tax_amount):
        """Split the amount, in `currency`, into installments; see `_prepare_schedule`.

        :return: list of float
        """
        shares = []
        tax_amount = min(currency.round(tax_amount), amount)
        if currency.compare_amounts(tax_amount, 0.0) > 0 and number != 1:
            shares.append(tax_amount)
            amount = currency.round(amount - tax_amount)
            number = max(number - 1, 0)
            if currency.is_zero(amount):
                return shares
        share = 0.0
        if not number:
            share = installment_amount = currency.round(installment_amount)
            if currency.compare_amounts(installment_amount, 0.0) <= 0:
                raise UserError(self.env._("Give the number of installments, or the amount of each."))
            number = int(float_round(
                amount / installment_amount, precision_digits=0,
                # 300.00 / 100.00 may come out as 3.0000000000000004: that is three, not four
                rounding_method='UP'))
        if number > MAX_INSTALLMENTS:
            raise UserError(self.env._("That would be %(number)s installments; at most %(max)s are possible.",
                                       number=number, max=MAX_INSTALLMENTS))
        share = share or float_round(amount / number, precision_rounding=currency.rounding, rounding_method='DOWN')
        if currency.compare_amounts(share, 0.0) <= 0:
            raise UserError(self.env._("%(amount)s is too little for %(number)s installments.",
                                       amount=formatLang(self.env, amount, currency_obj=currency), number=number))
        # The last installment is always the balance
        return shares + [share] * (number - 1) + [currency.round(amount - share * (number - 1))]

    @api.model
    def _get_schedule_dates(self, date_first, count, rhythm, end_of_month=False):
        """Dates of installments; counted from the first, so that the 31st stays the last day of shorter months.

        :rtype: list[datetime.date]
        """
        step = {
            'week': relativedelta(weeks=1),
            'quarter': relativedelta(months=3),
        }.get(rhythm, relativedelta(months=1))
        dates = [date_first + step * index for index in range(count)]
        if end_of_month and rhythm != 'week':
            dates = [end_of(date, 'month') for date in dates]
        return dates

    def _flag_down_payment(self):
        """The down payment is the first installment of the schedule, also where somebody left it out of the list."""
        self.ensure_one()
        if self.currency_id.is_zero(self.down_payment) or self.installment_ids.filtered('is_down_payment'):
            return
        first = self.installment_ids.sorted(lambda line: (line.date, line.id))[:1]
        listed = sum(self.installment_ids.mapped('amount'))
        if not self.currency_id.compare_amounts(listed + self.down_payment, self.amount_total):
            self.installment_ids = [Command.create({
                'date': min(self.date, first.date - timedelta(days=1)) if first else self.date,
                'amount': self.down_payment,
                'is_down_payment': True,
            })]
        elif not self.currency_id.compare_amounts(first.amount, self.down_payment):
            first.is_down_payment = True
        else:
            raise UserError(self.env._("The down payment is not among the installments. Recompute the schedule."))

    #=== BUSINESS METHODS: LIFE CYCLE ===#

    @api.model
    def _get_live_states(self):
        """States in which a plan holds its lines."""
        return ('offered', 'signed', 'active')

    def _has_to_be_signed(self):
        """Whether the customer can sign on the portal."""
        self.ensure_one()
        return self.state == 'offered' and (
            not self.date_validity or self.date_validity >= self.sudo().company_id._get_dunning_today())

    def _sign(self, name, signature=None):
        """The customer agrees. Active at once, unless a down payment has to come first.

        :param str name: who signs
        :param signature: base64 image, or None for a signature on paper
        :raise UserError: when the plan is not on offer
        """
        self.ensure_one()
        if self.state != 'offered':
            raise UserError(self.env._("Payment plan %s is not on offer.", self.name))
        self.sudo().write({
            'state': 'signed',
            'signed_by': name,
            'signed_on': fields.Datetime.now(),
            'signature': signature,
        })
        down_payment = self.installment_ids.filtered('is_down_payment')
        today = self.sudo().company_id._get_dunning_today()
        self._open_block(
            max(down_payment.date, today) + timedelta(days=self.company_id.plan_grace_days) if down_payment else False)
        self._tell_all(lambda plan: self.env._("Payment plan %(plan)s signed by %(name)s", plan=plan.name, name=name))
        self._follow_up(today)

    def _open_block(self, date_until):
        """Pause the plan's lines until a day, or without end.

        :param date_until: datetime.date or False
        """
        # The customer who signs on the portal has no rights on blocks
        self_sudo = self.sudo()
        for plan in self_sudo:
            if plan.block_id:
                plan.block_id.write({
                    'date_until': date_until, 'state': 'active', 'date_ended': False, 'broken': False})
                continue
            start = min(plan.date, date_until) if date_until else plan.date
            plan.block_id = self.env['account.dunning.block'].sudo().create({
                'company_id': plan.company_id.id,
                'partner_id': plan.partner_id.id,
                'move_line_ids': plan.move_line_ids.ids,
                'reason': 'plan',
                'currency_id': plan.currency_id.id,
                'date_from': start,
                'date_until': date_until,
                'user_id': self.env.uid,
            })

    def _activate(self):
        """Signed, and the down payment is in: the lines are paused while the plan is honoured."""
        if not self:
            return
        self.sudo().write({'state': 'active'})
        self.block_id.write({'date_until': False, 'state': 'active', 'date_ended': False, 'broken': False})
        # What was promised for these lines is now in the plan
        for company, plans in self.sudo().grouped('company_id').items():
            self.env['account.payment.promise'].search([
                ('state', '=', 'open'), ('move_line_ids.payment_plan_id', 'in', plans.ids),
            ])._cancel(company._get_dunning_today(), self.env._("replaced by a payment plan"))
        self._tell_all(lambda plan: self.env._("Payment plan %s is active.", plan.name))

    def _close(self, date, state):
        """Close plans: their lines are free, and their pauses end.

        :param datetime.date date: the company's today
        :param str state: 'done', 'broken' or 'cancelled'
        """
        if not self:
            return
        self.sudo().write({'state': state, 'date_closed': date})
        self.block_id._end(date, broken=state == 'broken')
        self.env.flush_all()
        self.env.cr.execute(SQL(
            "UPDATE account_move_line SET payment_plan_id = NULL WHERE payment_plan_id IN %s", self._ids))
        self.env['account.move.line'].invalidate_model(['payment_plan_id'])

    def _break(self, date):
        """The customer did not keep to the plan: its lines resume at their old level, the next step at once.

        :param datetime.date date: the company's today
        """
        if not self:
            return
        self._close(date, 'broken')
        self._hold_customers()
        self._tell_all(lambda plan: self.env._(
            "Payment plan %(plan)s broken: %(missing)s was due on %(date)s. The next reminder is due at once.",
            plan=plan.name, missing=plan._format(plan.next_amount), date=format_date(self.env, plan.next_date)))
        self._warn_responsible(self.env._("Payment plan broken"), date)

    def _hold_customers(self):
        """Put the customers of broken plans on credit hold, where the company wants that."""
        for company, plans in self.filtered('company_id.plan_broken_hold').grouped('company_id').items():
            customers = plans.partner_id.sudo().with_company(company).filtered(
                lambda partner: not partner.credit_hold)
            customers.write({
                'credit_hold': True,
                'credit_hold_reason': self.env._("Payment plan broken"),
            })

    def _reopen(self):
        """A payment was undone: plans that looked done go on, unless another one has taken the lines."""
        for plan in self:
            if plan.move_line_ids.payment_plan_id:
                continue
            plan.sudo().write({'state': 'active', 'date_closed': False})
            plan.move_line_ids.write({'payment_plan_id': plan.id})
            plan._open_block(False)
            plan._tell_all(lambda plan: self.env._("Payment plan %s goes on: a payment was undone.", plan.name))

    #=== BUSINESS METHODS: FOLLOW-UP ===#

    @api.model
    def _update_plans(self, company, date):
        """Bring the company's plans up to the date: progress, done, active, broken, expired, reminders.

        :param company: res.company
        :param datetime.date date: the company's today
        """
        plans = self.search([('company_id', '=', company.id), ('state', 'in', self._get_live_states())])
        isolate = self.env['account.dunning.block']._isolate
        isolate(plans, lambda plans: plans._follow_up(date, late=True))
        self._send_reminders(company, date)

    def _follow_up(self, date, late=False):
        """See what was paid, and take the plans to the state that follows from it. Constant number of queries.

        :param datetime.date date: the company's today
        :param bool late: also break what is late, and withdraw what was not signed in time
        """
        self_sudo = self.sudo()
        self_sudo._update_progress(date)
        found = {'done': [], 'active': [], 'broken': [], 'expired': []}
        for plan_id, outcome in self_sudo._find_outcomes(date):
            found[outcome].append(plan_id)
        done, started, broken, expired = (
            self_sudo.browse(found[outcome]) for outcome in ('done', 'active', 'broken', 'expired'))
        if done:
            done._close(date, 'done')
            done._tell_all(lambda plan: self.env._("Payment plan %s is paid: done.", plan.name))
        started._activate()
        if late:
            broken._break(date)
            if expired:
                expired._close(date, 'cancelled')
                expired._tell_all(lambda plan: self.env._(
                    "Payment plan %s was not signed in time: the offer is withdrawn.", plan.name))

    def _update_progress(self, date):
        """Fill what the covered lines have lost since the start into the installments, oldest first.

        :param datetime.date date: an unpaid installment due before it is late
        """
        if not self:
            return
        self.env.flush_all()
        self.env.cr.execute(SQL(
            """
            WITH paid AS (
                SELECT plan.id,
                       GREATEST(plan.amount_total - COALESCE(SUM(
                           CASE WHEN line.parent_state = 'cancel' THEN 0
                                ELSE GREATEST(line.amount_residual_currency, 0) END
                       ), 0), 0) AS amount
                  FROM account_payment_plan plan
             LEFT JOIN account_payment_plan_move_line_rel rel ON rel.plan_id = plan.id
             LEFT JOIN account_move_line line ON line.id = rel.move_line_id
                 WHERE plan.id IN %(ids)s
              GROUP BY plan.id
            ), share AS (
                SELECT installment.id,
                       installment.date,
                       installment.amount,
                       LEAST(installment.amount, GREATEST(0,
                           paid.amount + installment.amount - SUM(installment.amount) OVER (
                               PARTITION BY installment.plan_id ORDER BY installment.date, installment.id)
                       )) AS amount_paid
                  FROM account_payment_plan_installment installment
                  JOIN paid ON paid.id = installment.plan_id
            ), fresh AS (
                SELECT id, amount_paid,
                       CASE WHEN amount_paid >= amount THEN 'paid'
                            WHEN date < %(date)s THEN 'late'
                            ELSE 'open' END AS state
                  FROM share
            )
            UPDATE account_payment_plan_installment installment
               SET amount_paid = fresh.amount_paid, state = fresh.state
              FROM fresh
             WHERE fresh.id = installment.id
               AND (installment.amount_paid, installment.state) IS DISTINCT FROM (fresh.amount_paid, fresh.state)
            """,
            ids=self._ids,
            date=date,
        ))
        self.installment_ids.invalidate_recordset(['amount_paid', 'state'])
        self.invalidate_recordset([
            'amount_paid', 'amount_open', 'progress', 'next_installment_id', 'next_date', 'next_amount'])

    def _find_outcomes(self, date):
        """What the plans' state should become: rows of (id, 'done' | 'active' | 'broken' | 'expired').

        An installment is late after its date plus grace; unmatched payments and credits of the customer count as paid
        here, so that nobody is blamed for money that waits on the bank statement, and a plan with an invoice that is
        back in draft, or whose online payment is not booked yet, is left alone meanwhile.
        """
        if not self:
            return []
        self.env.flush_all()
        self.env.cr.execute(SQL(
            """
            WITH due AS (
                SELECT plan.id, plan.state, plan.partner_id, plan.currency_id, plan.company_id, plan.date_validity,
                       BOOL_AND(installment.state = 'paid') AS is_done,
                       COALESCE(BOOL_AND(installment.state = 'paid')
                                FILTER (WHERE installment.is_down_payment), TRUE) AS is_down_payment_in,
                       COALESCE(SUM(installment.amount - installment.amount_paid) FILTER (
                           WHERE (plan.state = 'active' OR installment.is_down_payment)
                             AND GREATEST(installment.date, plan.signed_on::date) + company.plan_grace_days < %(date)s
                       ), 0) AS missing
                  FROM account_payment_plan plan
                  JOIN res_company company ON company.id = plan.company_id
                  JOIN account_payment_plan_installment installment ON installment.plan_id = plan.id
                 WHERE plan.id IN %(ids)s
              GROUP BY plan.id, company.id
            ), late AS (
                SELECT *, '-infinity'::date AS since FROM due WHERE missing > 0
            ), line AS (
                SELECT rel.plan_id, line.move_id, line.parent_state
                  FROM account_payment_plan_move_line_rel rel
                  JOIN account_move_line line ON line.id = rel.move_line_id
                 WHERE rel.plan_id IN %(ids)s
            ), paid_online AS (
                %(paid_online)s
            ), unsettled AS (
                SELECT DISTINCT plan_id AS id
                  FROM line
                 WHERE parent_state = 'draft' OR move_id IN (SELECT move_id FROM paid_online)
            ), credit AS (
                %(credit)s
            ), outcome AS (
                SELECT due.id,
                       CASE WHEN due.is_done THEN 'done'
                            WHEN due.state = 'signed' AND due.is_down_payment_in THEN 'active'
                            WHEN due.state IN ('signed', 'active') AND due.missing > 0 AND unsettled.id IS NULL
                                 AND SUM(due.missing) OVER (PARTITION BY due.partner_id, due.currency_id
                                                            ORDER BY due.id) > COALESCE(credit.amount, 0)
                                 THEN 'broken'
                            WHEN due.state = 'offered' AND due.date_validity < %(date)s THEN 'expired'
                       END AS outcome
                  FROM due
             LEFT JOIN unsettled ON unsettled.id = due.id
             LEFT JOIN credit ON credit.id = due.id
            )
            SELECT id, outcome FROM outcome WHERE outcome IS NOT NULL
            """,
            paid_online=self.env['account.dunning.engine']._get_paid_online_table(date),
            credit=self.env['account.dunning.block']._get_unmatched_credit_table(SQL("late")),
            ids=self._ids,
            date=date,
        ))
        return self.env.cr.fetchall()

    @api.model
    def _send_reminders(self, company, date):
        """Queue the e-mails that remind of installments which are due soon. Each is reminded of once, ever.

        The e-mail and its mark are saved together: after a crash there are both or none.

        :param company: res.company
        :param datetime.date date: the company's today
        """
        if not company.plan_reminder_days:
            return
        plans = self.env['account.payment.plan.installment'].search(
            self._get_reminder_domain(date, company.plan_reminder_days)
            + [('plan_id.state', '=', 'active'), ('company_id', '=', company.id)]
        ).plan_id
        plans -= plans._find_covered(date, company.plan_reminder_days)
        failed = self.env['account.dunning.block']._isolate(
            plans, lambda found: found._remind(date, company.plan_reminder_days))
        for plan, error in failed:
            plan._get_installments_to_remind(date, company.plan_reminder_days).sudo().reminder_date = date
            plan._message_log(body=self.env._("The customer could not be reminded of the next installment: %s", error))
            plan._warn_responsible(self.env._("Reminder of an installment failed"), date)

    def _find_covered(self, date, days):
        """Plans of which nobody need be reminded now: money that is not matched yet covers all that falls due in the
        next days, or an online payment is not booked yet.

        :param datetime.date date: the company's today
        :param int days: how many days ahead
        :rtype: account.payment.plan
        """
        if not self:
            return self
        self.env.flush_all()
        return self.browse(plan_id for [plan_id] in self.env.execute_query(SQL(
            """
            WITH due AS (
                SELECT plan.id, plan.partner_id, plan.currency_id, plan.company_id, '-infinity'::date AS since,
                       SUM(installment.amount - installment.amount_paid) AS missing
                  FROM account_payment_plan plan
                  JOIN account_payment_plan_installment installment ON installment.plan_id = plan.id
                 WHERE plan.id IN %(ids)s AND installment.date <= %(until)s
              GROUP BY plan.id
            ), line AS (
                SELECT rel.plan_id, line.move_id
                  FROM account_payment_plan_move_line_rel rel
                  JOIN account_move_line line ON line.id = rel.move_line_id
                 WHERE rel.plan_id IN %(ids)s
            ), paid_online AS (
                %(paid_online)s
            ), credit AS (
                %(credit)s
            )
            SELECT shared.id
              FROM (SELECT due.id, credit.amount,
                           SUM(missing) OVER (PARTITION BY partner_id, currency_id ORDER BY due.id) AS missing_so_far
                      FROM due
                 LEFT JOIN credit ON credit.id = due.id) AS shared
             WHERE shared.missing_so_far <= shared.amount
                OR EXISTS (SELECT FROM line JOIN paid_online ON paid_online.move_id = line.move_id
                            WHERE line.plan_id = shared.id)
            """,
            ids=self._ids,
            until=date + timedelta(days=days),
            paid_online=self.env['account.dunning.engine']._get_paid_online_table(date),
            credit=self.env['account.dunning.block']._get_unmatched_credit_table(SQL("due")),
        )))

    @api.model
    def _get_reminder_domain(self, date, days):
        """Installments due within the days after the date, of which nobody was reminded yet."""
        return [
            ('state', '!=', 'paid'),
            ('reminder_date', '=', False),
            ('is_down_payment', '=', False),
            ('date', '>=', date),
            ('date', '<=', date + timedelta(days=days)),
        ]

    def _get_installments_to_remind(self, date, days):
        return self.installment_ids.filtered_domain(self._get_reminder_domain(date, days))

    def _get_reminded_installments(self):
        """Open installments that the latest reminder is about; the e-mail template lists them."""
        self.ensure_one()
        reminded = self.installment_ids.filtered(lambda line: line.reminder_date and line.state != 'paid')
        latest = max(reminded.mapped('reminder_date'), default=False)
        return reminded.filtered(lambda line: line.reminder_date == latest)

    def _remind(self, date, days):
        """Queue the reminder of each plan and mark the installments that it names.

        :param datetime.date date: the company's today
        :param int days: how many days ahead
        """
        template = self.env.ref('account_dunning.mail_template_payment_plan_reminder', raise_if_not_found=False)
        if not template:
            return
        answerable = self.filtered(lambda plan: plan._get_sender_email())
        answerable._get_installments_to_remind(date, days).sudo().write({'reminder_date': date})
        template.send_mail_batch(answerable.ids)

    def _get_sender_email(self):
        """Whom the customer answers: who looks after the plan, unless they have left, else the company.

        :return: name and address (str), False when there is none: then no e-mail goes out by itself
        """
        self.ensure_one()
        user = self.user_id.sudo().filtered('active')
        return (user.email and user.email_formatted
                or self.company_id.sudo().email and self.company_id.sudo().email_formatted)

    @api.model
    def _follow_up_lines(self, lines):
        """Something was matched or unmatched: the plans of the lines show it at once.

        :param lines: account.move.line
        """
        if not lines:
            return
        # Whoever registers the payment need not have rights on plans
        plans = self.sudo().search([
            ('move_line_ids', 'in', lines.ids), ('state', 'in', (*self._get_live_states(), 'done')),
        ])
        if not plans:
            return
        for company, company_plans in plans.grouped('company_id').items():
            today = company._get_dunning_today()
            done = company_plans.filtered(lambda plan: plan.state == 'done')
            if done:
                done._update_progress(today)
                done.filtered(lambda plan: plan.currency_id.compare_amounts(plan.amount_open, 0.0) > 0)._reopen()
            company_plans.filtered(lambda plan: plan.state in self._get_live_states())._follow_up(today)

    #=== TOOLING ===#

    def _get_open_lines(self):
        """Covered lines on which something is open."""
        return self.move_line_ids.filtered(
            lambda line: line.parent_state == 'posted' and not line.reconciled and line.amount_residual_currency > 0)

    @api.model
    def _get_tax_amount(self, lines):
        """The tax that is still open on the lines, in their currency: their share of each invoice's tax.

        :param lines: account.move.line
        :rtype: float
        """
        return sum(
            line.amount_residual_currency * line.move_id.amount_tax / line.move_id.amount_total
            for line in lines if line.move_id.amount_total
        )

    def _get_open_amount(self):
        return sum(self._get_open_lines().mapped('amount_residual_currency'))

    def _format(self, amount):
        return formatLang(self.env, amount, currency_obj=self.currency_id)

    def _tell_all(self, sentence):
        """Write a sentence to the chatter of each plan, its customer and its invoices.

        :param sentence: function of a plan, returning a str
        """
        stories = []
        for plan in self.sudo():
            text = sentence(plan)
            stories += [(plan, text), (plan.partner_id, text)]
            stories += [(move, text) for move in plan.move_line_ids.move_id]
        self.env['account.dunning.block']._tell(stories)

    def _warn_responsible(self, summary, date):
        """Plan an activity for each plan's responsible, all in one go.

        :param str summary: what the activity says
        :param datetime.date date: its deadline
        """
        activity_type = self.env.ref('mail.mail_activity_data_todo', raise_if_not_found=False)
        model_id = self.env['ir.model']._get_id(self._name)
        # No e-mail per activity: the scheduled action may have many
        self.env['mail.activity'].sudo().with_context(mail_activity_quick_update=True).create([{
            'res_model_id': model_id,
            'res_id': plan.id,
            'activity_type_id': activity_type.id if activity_type else False,
            'summary': summary,
            'date_deadline': date,
            'user_id': plan.user_id.id,
        } for plan in self if plan.user_id])

    def _get_report_base_filename(self):
        """File name of the agreement on the portal."""
        self.ensure_one()
        return self.env._("Payment plan %s", self.name.replace('/', '-'))

    def _get_portal_return_action(self):
        """Where the link "back to edit mode" of the portal page leads to."""
        return self.env.ref('account_dunning.account_payment_plan_action')
