import hashlib
from collections import defaultdict
from datetime import date as day
from datetime import timedelta

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Command
from odoo.tools import SQL, float_round, format_date, formatLang
from odoo.tools.date_utils import end_of

from ..utils.isolate import isolate
from .account_dunning_agreement import LOOK_BACK, Item, total

MAX_INSTALLMENTS = 240

# In which a plan holds its lines, and in which it is over
LIVE_STATES = ('offered', 'signed', 'active')
OVER_STATES = ('done', 'broken', 'cancelled')


class AccountPaymentPlan(models.Model):
    """An agreed schedule for open lines of one customer and currency. While it is honoured nothing of it is dunned."""

    _name = 'account.payment.plan'
    _description = "Payment plan"
    _inherit = ['account.dunning.pausing', 'portal.mixin', 'mail.thread', 'mail.activity.mixin']
    _order = 'date desc, id desc'
    _pause_reason = 'plan'

    name = fields.Char(string="Number", default='/', required=True, readonly=True, copy=False)
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
    move_line_ids = fields.Many2many(
        relation='account_payment_plan_move_line_rel',
        column1='plan_id',
        column2='move_line_id',
        string="Covered lines",
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
    # Days of the company, kept as it happens: a moment alone does not say on which day it was.
    date_offered = fields.Date(string="Offered on", readonly=True, copy=False)
    date_signed = fields.Date(string="Day of the signature", readonly=True, copy=False)
    date_closed = fields.Date(string="Closed on", readonly=True, copy=False)
    terms = fields.Text(help="Printed on the agreement, below the schedule.")
    note = fields.Text(
        string="Internal note",
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    signature = fields.Image(copy=False, readonly=True, attachment=True, max_width=1024, max_height=1024)
    signed_by = fields.Char(string="Signed by", copy=False, readonly=True)
    signed_on = fields.Datetime(string="Signed on", copy=False, readonly=True)
    is_broken_by_hand = fields.Boolean(copy=False, readonly=True)
    agreement_id = fields.Many2one(
        comodel_name='ir.attachment', string="Signed agreement", readonly=True, copy=False, ondelete='restrict',
        index='btree_not_null')
    agreement_sha256 = fields.Char(
        string="SHA-256 of the agreement", readonly=True, copy=False,
        help="Proves that the file is the one that was signed.")
    has_held_customer = fields.Boolean(
        copy=False, readonly=True, help="The credit hold of the customer comes from this broken plan.")
    previous_plan_id = fields.Many2one(
        comodel_name='account.payment.plan',
        string="Replaces",
        readonly=True,
        copy=False,
        index='btree_not_null',
        ondelete='set null',
    )
    block_id = fields.Many2one(groups='account.group_account_invoice,account.group_account_readonly')

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
                plan.contact_id = commercial._get_dunning_address() if commercial else commercial

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

    def _get_other_currency_message(self, line):
        # EXTENDS 'account.dunning.pausing'
        return self.env._(
            "%(invoice)s is in %(currency)s: a payment plan is for one currency only.",
            invoice=line.move_id.display_name, currency=line.currency_id.name)

    @api.constrains('move_line_ids')
    def _check_lines_are_free(self):
        self.filtered(lambda plan: plan.state not in OVER_STATES)._check_lines_free()

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
        if agreed := self.filtered(lambda plan: plan.state not in ('draft', 'cancelled') or plan.signed_on)[:1]:
            raise UserError(self.env._(
                "Payment plan %s is evidence of what was agreed and can't be deleted.", agreed.name))

    def _get_agreed_fields(self):
        """Fields that the customer has agreed on: they stay as they were offered."""
        return {
            'partner_id', 'contact_id', 'company_id', 'currency_id', 'move_line_ids', 'down_payment', 'installment_ids',
            'date', 'terms',
        }

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
            plan.sudo().write({
                'state': 'offered', 'amount_total': plan.amount_total,
                'date_offered': plan.company_id._get_dunning_today(),
            })
            # The plan that this one is to replace holds its lines until the new one is signed.
            plan.move_line_ids.filtered(lambda line: not line.payment_plan_id).write({'payment_plan_id': plan.id})
            plan._open_block()
        self._log(lambda plan: self.env._(
            "Payment plan %(plan)s offered: %(amount)s until %(date)s, installments: %(count)s.",
            plan=plan.name, amount=plan._format_amount(plan.amount_total), count=len(plan.installment_ids),
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
        if over := self.filtered(lambda plan: plan.state in OVER_STATES)[:1]:
            raise UserError(self.env._("Payment plan %s is already over.", over.name))
        offered = self.filtered(lambda plan: plan.state != 'draft')
        for company, plans in self.grouped('company_id').items():
            plans._close(company._get_dunning_today(), 'cancelled')
        offered._log(lambda plan: self.env._("Payment plan %s cancelled.", plan.name))

    def action_break(self):
        """Declare the plan broken before the scheduled action does.

        :raise UserError: when it is not signed or active
        """
        self.check_access('write')
        if other := self.filtered(lambda plan: plan.state not in ('signed', 'active'))[:1]:
            raise UserError(self.env._("Only a signed payment plan can be broken; %s is not.", other.name))
        self.sudo().is_broken_by_hand = True
        for company, plans in self.grouped('company_id').items():
            plans._break(company._get_dunning_today())

    def action_replan(self):
        """Prepare another plan for what is still open; this one goes on until the new one is signed.

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
        today = self.sudo().company_id._get_dunning_today()
        self.sudo().write({
            'state': 'signed',
            'signed_by': name,
            'signed_on': fields.Datetime.now(),
            'date_signed': today,
            'signature': signature,
        })
        self.sudo()._freeze_agreement()
        replaced = self.sudo().previous_plan_id.filtered(
            lambda previous: previous.state in LIVE_STATES)
        if replaced:
            replaced._close(today, 'cancelled')
            replaced._log(lambda plan: self.env._(
                "Payment plan %(plan)s cancelled: %(other)s takes its place.", plan=plan.name, other=self.name))
        self.sudo().move_line_ids.write({'payment_plan_id': self.id})
        self._open_block()
        self._log(lambda plan: self.env._("Payment plan %(plan)s signed by %(name)s", plan=plan.name, name=name))
        self._follow_up(today)

    def _freeze_agreement(self):
        """Keep the agreement as it was signed: from now on this very file is what is printed."""
        self.ensure_one()
        report = self.env['ir.actions.report'].sudo()
        content, kind = report._render_qweb_pdf('account_dunning.action_report_payment_plan', self.ids)
        self.agreement_id = self.env['ir.attachment'].create({
            'name': f'{self._get_report_base_filename()}.{kind}',
            'raw': content,
            'mimetype': 'application/pdf' if kind == 'pdf' else 'text/html',
            'res_model': self._name,
            'res_id': self.id,
            'company_id': self.company_id.id,
        })
        self.agreement_sha256 = hashlib.sha256(self.agreement_id.raw).hexdigest()

    def _get_pause_period(self):
        # EXTENDS 'account.dunning.pausing': while it is honoured without end; before, only as long as the customer has
        # to sign, and to make the down payment
        down_payment = self.installment_ids.filtered('is_down_payment')
        if self.state == 'offered':
            return self.date, self.date_validity
        if self.state == 'signed' and down_payment.filtered(lambda installment: installment.state != 'paid'):
            asked_on = max(down_payment.date, self.company_id._get_dunning_today())
            return self.date, asked_on + timedelta(days=self.company_id.plan_grace_days)
        return self.date, False

    def _activate(self):
        """Signed, and the down payment is in: the lines are paused while the plan is honoured."""
        if not self:
            return
        self.sudo().write({'state': 'active'})
        self._open_block()
        # What was promised for these lines is now in the plan
        for company, plans in self.sudo().grouped('company_id').items():
            self.env['account.payment.promise'].search([
                ('state', '=', 'open'), ('move_line_ids.payment_plan_id', 'in', plans.ids),
            ])._cancel(company._get_dunning_today(), self.env._("replaced by a payment plan"))
        self._log(lambda plan: self.env._("Payment plan %s is active.", plan.name))

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
        self._log(lambda plan: self.env._(
            "Payment plan %(plan)s broken: %(missing)s was due on %(date)s. The next reminder is due at once.",
            plan=plan.name, missing=plan._format_amount(plan.next_amount), date=format_date(self.env, plan.next_date)))
        self._warn_responsible(self.env._("Payment plan broken"), date)

    def _hold_customers(self):
        """Put the customers of broken plans on credit hold, where the company wants that."""
        for company, plans in self.filtered('company_id.plan_broken_hold').grouped('company_id').items():
            customers = plans.partner_id.sudo().with_company(company).filtered(
                lambda partner: not partner.credit_hold)
            plans.filtered(lambda plan, held=customers: plan.partner_id in held).sudo().has_held_customer = True
            customers.write({
                'credit_hold': True,
                'credit_hold_reason': self.env._("Payment plan broken"),
            })

    def _reopen(self):
        """The ledger has changed: plans that looked done or broken go on, unless another one has taken the lines."""
        for plan in self:
            if plan.move_line_ids.payment_plan_id:
                continue
            down_payment = plan.installment_ids.filtered('is_down_payment')
            is_started = all(installment.state == 'paid' for installment in down_payment)
            plan.sudo().write({'state': 'active' if is_started else 'signed', 'date_closed': False})
            plan.move_line_ids.write({'payment_plan_id': plan.id})
            plan._open_block()
            plan._log(lambda plan: self.env._("Payment plan %s goes on: its payments have changed.", plan.name))

    #=== BUSINESS METHODS: FOLLOW-UP ===#

    def _prepare_items(self):
        """What the plan asks for, see `account_dunning_agreement.Item`.

        :rtype: list[Item]
        """
        self.ensure_one()
        until = self.date_closed if self.state in ('done', 'broken') else None
        return [
            Item(
                key=('installment', installment.id), partner_id=self.partner_id.id, currency_id=self.currency_id.id,
                lines=frozenset(self.move_line_ids.ids), since=self.date, until=until, made=self.create_date,
                agreed_on=self.date, due=installment.date, amount=installment.amount, money_only=False)
            for installment in self.installment_ids
        ]

    @api.model
    def _update_plans(self, company, date):
        """Bring the company's plans up to the date: progress, done, active, broken, expired, reminders.

        Those that are done or broken are looked at again for a year: a payment that comes back, or that is booked late
        with its true date, changes the verdict.

        :param company: res.company
        :param datetime.date date: the company's today
        """
        plans = self.search([
            ('company_id', '=', company.id),
            '|', ('state', 'in', LIVE_STATES),
            '&', ('state', 'in', ('done', 'broken')), ('date_closed', '>=', date - LOOK_BACK),
        ])
        isolate(plans, lambda plans: plans._follow_up(date, late=True))
        self._send_reminders(company, date)

    def _follow_up(self, date, late=False):
        """See what was paid, and take the plans, of one company, to the state that follows from it. Constant number of
        queries.

        :param datetime.date date: the company's today
        :param bool late: also break what is late, and withdraw what was not signed in time
        """
        if not self:
            return
        plans = self.sudo()
        shares = self.env['account.dunning.agreement']._find_shares(self.company_id, date, plans.partner_id)[0]
        plans._update_progress(date, shares)
        found = defaultdict(list)
        for plan in plans:
            found[plan._judge(date, shares)].append(plan.id)
        done, started, broken, expired, settled, resumed = (
            plans.browse(found[outcome])
            for outcome in ('done', 'active', 'broken', 'expired', 'settled', 'resumed'))
        if done:
            done._close(date, 'done')
            done._log(lambda plan: self.env._("Payment plan %s is paid: done.", plan.name))
        started._activate()
        resumed._reopen()
        if settled:
            settled._close(date, 'cancelled')
            settled._log(lambda plan: self.env._(
                "Nothing is left to pay by payment plan %s, which was never signed: cancelled.", plan.name))
        if late:
            broken._break(date)
            if expired:
                expired._close(date, 'cancelled')
                expired._log(lambda plan: self.env._(
                    "Payment plan %s was not signed in time: the offer is withdrawn.", plan.name))
        plans._release_holds()

    def _update_progress(self, date, shares):
        """Write what each installment has got of the payments that are matched with the covered lines.

        :param datetime.date date: an unpaid installment due before it is late
        :param dict shares: of `account.dunning.agreement._find_shares`
        """
        rows = []
        for installment in self.installment_ids:
            currency = installment.currency_id
            paid = min(currency.round(total(
                shares.get(('installment', installment.id), []), is_matched=True)), installment.amount)
            if currency.compare_amounts(paid, installment.amount) >= 0:
                state = 'paid'
            else:
                state = 'late' if installment.date < date else 'open'
            if currency.compare_amounts(paid, installment.amount_paid) or state != installment.state:
                rows.append((installment.id, paid, state))
        if not rows:
            return
        self.env.flush_all()
        self.env.cr.execute(SQL(
            """
            UPDATE account_payment_plan_installment installment
               SET amount_paid = fresh.amount_paid, state = fresh.state
              FROM unnest(%s::int[], %s::numeric[], %s::text[]) AS fresh (id, amount_paid, state)
             WHERE fresh.id = installment.id
            """,
            *(list(column) for column in zip(*rows, strict=True)),
        ))
        self.installment_ids.invalidate_recordset(['amount_paid', 'state'])
        self.invalidate_recordset([
            'amount_paid', 'amount_open', 'progress', 'next_installment_id', 'next_date', 'next_amount'])

    def _judge(self, date, shares):
        """What should become of the plan.

        An installment is late after its date plus grace. Money that is not matched yet counts here, so that nobody is
        blamed for what waits on the bank statement; a plan with an invoice that is back in draft is left alone
        meanwhile. A plan that was closed goes on when the ledger now says that it was kept to, or not yet paid.

        :param datetime.date date: the company's today
        :param dict shares: of `account.dunning.agreement._find_shares`
        :return: 'done', 'active', 'broken', 'expired', 'settled', 'resumed', or None: it stays what it is
        """
        self.ensure_one()
        lines = self.move_line_ids
        if any(line.parent_state == 'draft' for line in lines):
            return None
        installments = self.installment_ids
        is_paid = bool(installments) and all(installment.state == 'paid' for installment in installments)
        if self.state == 'offered':
            if lines and not self._get_open_lines():
                return 'settled'
            return 'expired' if self.date_validity and self.date_validity < date else None
        if self.state == 'done':
            return None if is_paid or not self._get_open_lines() else 'resumed'
        if self.state == 'broken':
            is_free = not (lines.payment_plan_id - self)
            if self.is_broken_by_hand:
                return None
            return 'resumed' if is_free and not self._find_missing(self.date_closed, shares, in_time=True) else None
        if is_paid or not self._get_open_lines():
            return 'done'
        if self._find_missing(date, shares):
            return 'broken'
        down_payment = installments.filtered('is_down_payment')
        if self.state == 'signed' and all(installment.state == 'paid' for installment in down_payment):
            return 'active'
        return None

    def _find_missing(self, date, shares, in_time=False):
        """Installments that were to be paid before the date, grace included, and are not.

        :param datetime.date date:
        :param dict shares: of `account.dunning.agreement._find_shares`
        :param bool in_time: only what came in by the last day of each counts
        """
        signed_on = self.date_signed or (self.signed_on or self.create_date).date()
        down_payment = self.installment_ids.filtered('is_down_payment')
        # Until the down payment is in, nothing else is asked for.
        asked = self.installment_ids
        if self.state == 'signed' and down_payment.filtered(lambda installment: installment.state != 'paid'):
            asked = down_payment
        missing = asked.browse()
        for installment in asked:
            last_day = max(installment.date, signed_on) + timedelta(days=self.company_id.plan_grace_days)
            filled = total(shares.get(('installment', installment.id), []), last_day if in_time else day.max)
            if last_day < date and self.currency_id.compare_amounts(filled, installment.amount) < 0:
                missing += installment
        return missing

    def _release_holds(self):
        """The hold that a broken plan has put on its customer ends when all is paid, or when it was not broken after
        all."""
        for plan in self.filtered('has_held_customer'):
            if plan.state != 'broken' or not plan._get_open_lines():
                plan.has_held_customer = False
                customer = plan.partner_id.with_company(plan.company_id)
                if customer.credit_hold and not self.search_count([
                    ('partner_id', '=', customer.id), ('company_id', '=', plan.company_id.id),
                    ('has_held_customer', '=', True),
                ]):
                    customer.write({'credit_hold': False, 'credit_hold_reason': False})
                    plan._log(lambda plan: self.env._(
                        "Credit hold for the broken payment plan %s ended.", plan.name))

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
        failed = isolate(plans, lambda found: found._remind(date, company.plan_reminder_days))
        for plan, error in failed:
            plan._get_installments_to_remind(date, company.plan_reminder_days).sudo().reminder_date = date
            plan._message_log(body=self.env._("The customer could not be reminded of the next installment: %s", error))
            plan._warn_responsible(self.env._("Reminder of an installment failed"), date)

    def _find_covered(self, date, days):
        """Plans of which nobody need be reminded now: money that is in already, matched or not, covers all that falls
        due in the next days.

        :param datetime.date date: the company's today
        :param int days: how many days ahead
        :rtype: account.payment.plan
        """
        covered = self.browse()
        for company, plans in self.grouped('company_id').items():
            shares = self.env['account.dunning.agreement']._find_shares(company, date, plans.partner_id)[0]
            covered += plans.filtered(lambda plan, shares=shares: all(
                plan.currency_id.compare_amounts(
                    total(shares.get(('installment', installment.id), [])), installment.amount) >= 0
                for installment in plan.installment_ids
                if installment.date <= date + timedelta(days=days)))
        return covered

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
            ('move_line_ids', 'in', lines.ids), ('state', 'in', (*LIVE_STATES, 'done', 'broken')),
        ])
        for company, company_plans in plans.grouped('company_id').items():
            company_plans._follow_up(company._get_dunning_today())

    #=== TOOLING ===#

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

    def _prepare_log_entries(self, sentence):
        # EXTENDS 'account.dunning.pausing'
        return [(self, sentence), *super()._prepare_log_entries(sentence)]

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
