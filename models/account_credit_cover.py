from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import format_date, formatLang


class AccountCreditCover(models.Model):
    """What somebody else pays if the customer does not: insurance, guarantees, a deposit that we hold.

    Whether it counts is a matter of the day that is asked about, see `account.credit.exposure._get_amounts()`; nothing
    has to be switched off when it ends.
    """

    _name = 'account.credit.cover'
    _description = "Cover of a customer's credit"
    _inherit = ['mail.thread', 'mail.activity.mixin']
    _order = 'date_until, id'
    _rec_name = 'reference'

    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, index=True, ondelete='restrict', tracking=True)
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, index=True, ondelete='cascade',
        default=lambda self: self.env.company.root_id,
        help="Branches count for their main company: it is one creditor.")
    kind = fields.Selection(
        selection=[
            ('insured', "Credit insurance"),
            ('guarantee', "Bank guarantee"),
            ('surety', "Surety"),
            ('deposit', "Deposit held"),
            ('other', "Other"),
        ],
        required=True,
        default='insured',
        tracking=True,
    )
    amount = fields.Monetary(required=True, tracking=True)
    currency_id = fields.Many2one(
        comodel_name='res.currency', required=True, default=lambda self: self.env.company.currency_id, tracking=True)
    date_from = fields.Date(
        string="Valid from", required=True, default=lambda self: self.env.company._get_dunning_today(), tracking=True)
    date_until = fields.Date(
        string="Valid until", tracking=True, help="The last day on which it counts; empty: without an end.")
    reference = fields.Char(help="e.g. the number of the policy or of the guarantee.", tracking=True)
    note = fields.Text()
    document = fields.Binary(attachment=True)
    document_name = fields.Char(string="Name of the document")
    state = fields.Selection(
        selection=[('coming', "Not valid yet"), ('valid', "Valid"), ('ended', "Ended")],
        compute='_compute_state',
        search='_search_state',
    )
    date_reminded = fields.Date(
        string="End announced", readonly=True, copy=False,
        help="The end that the credit managers were told of.")

    _amount_positive = models.Constraint(
        'CHECK(amount > 0)',
        "The covered amount must be more than zero.",
    )
    _dates_in_order = models.Constraint(
        'CHECK(date_until IS NULL OR date_until >= date_from)',
        "Cover can't end before it begins.",
    )
    _ending_idx = models.Index("(company_id, date_until) WHERE date_until IS NOT NULL")

    #=== COMPUTE METHODS ===#

    @api.depends('reference', 'kind', 'partner_id')
    @api.depends_context('lang')
    def _compute_display_name(self):
        kinds = dict(self._fields['kind']._description_selection(self.env))
        for cover in self:
            cover.display_name = " · ".join(filter(None, (
                kinds.get(cover.kind), cover.reference, cover.partner_id.display_name)))

    @api.depends('date_from', 'date_until', 'company_id')
    def _compute_state(self):
        days = {company: company._get_dunning_today() for company in self.company_id}
        for cover in self:
            today = days.get(cover.company_id)
            if not today or not cover.date_from or cover.date_from > today:
                cover.state = 'coming'
            else:
                cover.state = 'ended' if cover.date_until and cover.date_until < today else 'valid'

    def _search_state(self, operator, value):
        if operator != 'in':
            return NotImplemented
        today = self.env.company._get_dunning_today()
        domains = {
            'coming': fields.Domain('date_from', '>', today),
            'valid': fields.Domain('date_from', '<=', today)
            & (fields.Domain('date_until', '=', False) | fields.Domain('date_until', '>=', today)),
            'ended': fields.Domain('date_until', '<', today),
        }
        return fields.Domain.OR([domains[state] for state in value if state in domains])

    #=== CONSTRAINT METHODS ===#

    @api.constrains('partner_id')
    def _check_partner(self):
        for cover in self:
            customer = cover.partner_id.commercial_partner_id
            if customer != cover.partner_id:
                raise ValidationError(self.env._(
                    "%(contact)s is a contact of %(customer)s: record the cover for that customer.",
                    contact=cover.partner_id.display_name, customer=customer.display_name))

    #=== BUSINESS METHODS ===#

    @api.model
    def _remind_of_ends(self):
        """Tell the credit managers of cover that ends soon, once for each end: so many days before as the company says.
        """
        activity_type = self.env.ref('account_dunning.mail_activity_type_credit_review', raise_if_not_found=False)
        if not activity_type:
            return
        values = []
        for company in self.env['res.company'].sudo().search([('parent_id', '=', False)]):
            today = company._get_dunning_today()
            covers = self.sudo().search([
                ('company_id', 'child_of', company.id),
                ('date_until', '>=', today),
                ('date_until', '<=', fields.Date.add(today, days=company.credit_cover_notice_days)),
            ]).filtered(lambda cover: cover.date_reminded != cover.date_until)
            managers = company._get_credit_managers()
            if not covers or not managers:
                continue
            for cover in covers:
                cover.date_reminded = cover.date_until
                values += [
                    {
                        'res_model_id': self.env['ir.model']._get_id(self._name),
                        'res_id': cover.id,
                        'activity_type_id': activity_type.id,
                        'summary': cover.with_context(lang=manager.lang)._get_end_summary(),
                        'note': cover.with_context(lang=manager.lang)._get_end_note(),
                        'date_deadline': cover.date_until,
                        'user_id': manager.id,
                        'automated': True,
                    }
                    for manager in managers
                ]
        # quick: nobody wants an e-mail for each
        self.env['mail.activity'].sudo().with_context(mail_activity_quick_update=True).create(values)

    def _get_end_summary(self):
        return self.env._(
            "The cover of %(customer)s ends on %(date)s",
            customer=self.partner_id.display_name, date=format_date(self.env, self.date_until))

    def _get_end_note(self):
        kinds = dict(self._fields['kind']._description_selection(self.env))
        return Markup("%s<br/>%s") % (
            " · ".join(filter(None, (
                kinds[self.kind], self.reference, formatLang(self.env, self.amount, currency_obj=self.currency_id)))),
            self.env._("Renew it, or look at the customer's limit."))
