from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools.misc import formatLang


class AccountDunningLevel(models.Model):
    _name = 'account.dunning.level'
    _inherit = ['account.dunning.cached']
    _description = "Dunning level"
    _order = 'procedure_id, sequence, id'
    _check_company_auto = True

    procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        required=True,
        index=True,
        ondelete='cascade',
    )
    company_id = fields.Many2one(related='procedure_id.company_id', store=True)
    currency_id = fields.Many2one(related='procedure_id.currency_id')
    sequence = fields.Integer(default=10)
    name = fields.Char(required=True, translate=True)
    active = fields.Boolean(default=True)

    summary = fields.Char(string="In words", compute='_compute_summary')

    # When
    delay_days = fields.Integer(
        string="Days after due date",
        required=True,
        help="A negative number is a courtesy before the due date.",
    )
    min_wait_days = fields.Integer(
        string="Days since last reminder",
        help="Wait longer than the procedure asks for before this level.",
    )
    repeat_days = fields.Integer(
        string="Not again within (days)",
        help="A customer who had this level for other bills within so many days does not get it again for a new bill: "
             "the bill joins the next reminder that goes out anyway, and gets one of its own after these days.\n"
             "0: each bill goes its own way.",
    )
    min_amount = fields.Monetary(
        string="Minimum amount",
        help="This level is not used below this net overdue amount, in company currency.",
    )

    # What
    send_email = fields.Boolean(string="Send an e-mail", default=True)
    mail_template_id = fields.Many2one(
        comodel_name='mail.template',
        string="E-mail template",
        domain=[('model', '=', 'account.dunning.notice')],
        ondelete='restrict',
    )
    print_letter = fields.Boolean(string="Print a letter")
    send_sms = fields.Boolean(string="Send an SMS")
    sms_template_id = fields.Many2one(
        comodel_name='sms.template',
        string="SMS template",
        domain=[('model', '=', 'account.dunning.notice')],
        ondelete='restrict',
    )
    create_activity = fields.Boolean(string="Plan an activity")
    activity_type_id = fields.Many2one(comodel_name='mail.activity.type', ondelete='restrict')
    activity_user_id = fields.Many2one(
        comodel_name='res.users',
        string="Activity assigned to",
        help="Empty: the customer's collector.",
    )
    activity_summary = fields.Char(translate=True)
    call_tries = fields.Integer(
        string="Tries",
        help="After so many calls without an answer no further one is planned. 0: as the company says.",
    )
    attach_letter = fields.Boolean(
        string="Attach the letter",
        compute='_compute_attach_letter',
        store=True,
        readonly=False,
        default=True,
        help="The e-mail carries the letter as PDF. Without it the e-mail itself, exactly as sent, is the evidence. A "
             "formal notice always carries its letter.",
    )
    attach_invoices = fields.Boolean(string="Attach the invoices")
    deadline_days = fields.Integer(
        string="Payment deadline (days)",
        help="Days the letter gives the customer to pay; 0: no deadline printed.",
    )
    is_formal_notice = fields.Boolean(string="Formal notice")
    credit_hold = fields.Boolean(
        string="Credit hold",
        help="New orders of the customer wait for a release while one of their bills is at this level.",
    )
    is_credit_hold_effective = fields.Boolean(compute='_compute_is_credit_hold_effective')
    charge = fields.Selection(
        selection=[
            ('none', "No charges"),
            ('print', "Claim in the letter"),
            ('invoice', "Invoice them"),
        ],
        string="Late charges",
        required=True,
        default='none',
    )
    hand_over = fields.Boolean(
        string="Hand over to collection",
        help="The file goes to a collection agency: the notice gathers the letters and invoices for it.",
    )

    # Words of the letter; {placeholders} are replaced by plain text, nothing is evaluated
    letter_title = fields.Char(translate=True)
    letter_intro = fields.Html(translate=True)
    letter_closing = fields.Html(translate=True)

    # No step is decades away; a slip of the keyboard there would lead the engine out of the calendar.
    _delay_days_within_reason = models.Constraint(
        'CHECK(delay_days BETWEEN -9999 AND 9999)',
        "The days after the due date can't be more than 9999.",
    )
    _min_wait_days_positive = models.Constraint(
        'CHECK(min_wait_days BETWEEN 0 AND 9999)',
        "The days since the last reminder can't be negative, nor more than 9999.",
    )
    _call_tries_positive = models.Constraint(
        'CHECK(call_tries BETWEEN 0 AND 99)',
        "The number of tries can't be negative, nor more than 99.",
    )
    _repeat_days_positive = models.Constraint(
        'CHECK(repeat_days BETWEEN 0 AND 9999)',
        "The days within which a level is not repeated can't be negative, nor more than 9999.",
    )
    _min_amount_positive = models.Constraint(
        'CHECK(min_amount >= 0)',
        "The minimum amount can't be negative.",
    )
    _deadline_days_positive = models.Constraint(
        'CHECK(deadline_days BETWEEN 0 AND 9999)',
        "The days of the payment deadline can't be negative, nor more than 9999.",
    )

    #=== COMPUTE METHODS ===#

    @api.depends('is_formal_notice')
    def _compute_attach_letter(self):
        for level in self:
            level.attach_letter = level.attach_letter or level.is_formal_notice

    @api.depends('procedure_id.company_id')
    @api.depends_context('company')
    def _compute_is_credit_hold_effective(self):
        for level in self:
            company = level.procedure_id.company_id or self.env.company
            level.is_credit_hold_effective = company._is_credit_hold_effective()

    @api.depends(
        'delay_days', 'min_wait_days', 'repeat_days', 'min_amount', 'send_email', 'print_letter', 'send_sms',
        'create_activity', 'activity_type_id', 'attach_invoices', 'deadline_days', 'is_formal_notice', 'credit_hold',
        'charge', 'hand_over',
    )
    @api.depends_context('lang')
    def _compute_summary(self):
        for level in self:
            level.summary = self.env._(
                "%(when)s: %(what)s",
                when=level._describe_when(),
                what=", ".join(level._describe_actions()) or self.env._("nothing is sent"),
            )

    #=== CONSTRAINT METHODS ===#

    @api.constrains('attach_letter', 'is_formal_notice')
    def _check_attach_letter(self):
        for level in self:
            if level.is_formal_notice and not level.attach_letter:
                raise ValidationError(self.env._(
                    "The level “%(level)s” is a formal notice: its letter is always attached.", level=level.name))

    @api.constrains('send_email', 'print_letter', 'send_sms', 'create_activity', 'mail_template_id', 'sms_template_id')
    def _check_channels(self):
        """What can't go out is refused here, and not in the night in which its first notice fails."""
        for level in self:
            if not (level.send_email or level.print_letter or level.send_sms or level.create_activity):
                raise ValidationError(self.env._(
                    "The level “%(level)s” would do nothing: choose an e-mail, a letter, an SMS or an activity.",
                    level=level.name))
            if level.send_sms and not level.sms_template_id:
                raise ValidationError(self.env._(
                    "The level “%(level)s” sends an SMS: choose its SMS template.", level=level.name))
            for template in (level.mail_template_id, level.sms_template_id):
                if template and template.model != 'account.dunning.notice':
                    raise ValidationError(self.env._(
                        "The level “%(level)s” can't use the template “%(template)s”, which is not one for dunning "
                        "notices.",
                        level=level.name, template=template.name))

    #=== BUSINESS METHODS ===#

    def _describe_when(self):
        """When the level is reached, in the user's language, as the beginning of a sentence.

        :rtype: str
        """
        self.ensure_one()
        days = self.delay_days
        if not days:
            when = self.env._("On the due date")
        elif abs(days) == 1:
            when = self.env._("1 day after the due date") if days > 0 else self.env._("1 day before the due date")
        elif days > 0:
            when = self.env._("%(days)s days after the due date", days=days)
        else:
            when = self.env._("%(days)s days before the due date", days=-days)
        conditions = [when]
        if self.min_wait_days:
            conditions.append(self.env._("%(days)s days since the last reminder", days=self.min_wait_days))
        if self.repeat_days:
            conditions.append(self.env._("not twice within %(days)s days", days=self.repeat_days))
        if self.min_amount:
            conditions.append(self.env._(
                "from %(amount)s on",
                amount=formatLang(self.env, self.min_amount, currency_obj=self.currency_id),
            ))
        return ", ".join(conditions)

    def _describe_actions(self):
        """What happens at the level, in the user's language.

        :rtype: list[str]
        """
        self.ensure_one()
        what = []
        if self.send_email:
            what.append(self.env._("e-mail with the invoices") if self.attach_invoices else self.env._("e-mail"))
        if self.print_letter:
            what.append(self.env._("letter"))
        if self.send_sms:
            what.append(self.env._("SMS"))
        if self.create_activity:
            what.append(self.activity_type_id.name or self.env._("activity"))
        if self.is_formal_notice:
            what.append(self.env._("formal notice"))
        if self.deadline_days:
            what.append(self.env._("%(days)s days to pay", days=self.deadline_days))
        if self.charge == 'print':
            what.append(self.env._("late charges claimed"))
        elif self.charge == 'invoice':
            what.append(self.env._("late charges invoiced"))
        if self.credit_hold and self.is_credit_hold_effective:
            what.append(self.env._("new orders on hold"))
        elif self.credit_hold:
            what.append(self.env._("new orders on hold (no effect: the company does not block orders)"))
        if self.hand_over:
            what.append(self.env._("handed over to collection"))
        return what
