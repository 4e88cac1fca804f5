from odoo import fields, models


class AccountDunningLevel(models.Model):
    _name = 'account.dunning.level'
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
    min_amount = fields.Monetary(
        string="Minimum amount",
        help="This level is not used below this net overdue amount, in company currency.",
    )

    # What
    send_email = fields.Boolean(string="Send an e-mail", default=True)
    mail_template_id = fields.Many2one(
        comodel_name='mail.template',
        domain=[('model', '=', 'account.dunning.notice')],
        ondelete='restrict',
    )
    print_letter = fields.Boolean(string="Print a letter")
    send_sms = fields.Boolean(string="Send an SMS")
    sms_template_id = fields.Many2one(
        comodel_name='sms.template',
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

    _min_wait_days_positive = models.Constraint(
        'CHECK(min_wait_days >= 0)',
        "The days since the last reminder can't be negative.",
    )
    _min_amount_positive = models.Constraint(
        'CHECK(min_amount >= 0)',
        "The minimum amount can't be negative.",
    )
    _deadline_days_positive = models.Constraint(
        'CHECK(deadline_days >= 0)',
        "The payment deadline can't be negative.",
    )
