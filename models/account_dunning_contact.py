from datetime import datetime, time, timedelta

import pytz

from odoo import api, fields, models
from odoo.tools import SQL


class AccountDunningContact(models.Model):
    """One contact with a customer: when, by whom, with whom, what was said, and what comes next. A record of what
    happened: it is never edited.

    A contact closes the calls that the customer's reminders have planned; one without an answer plans the next try.
    """

    _name = 'account.dunning.contact'
    _description = "Contact with a customer"
    _order = 'date desc, id desc'
    _check_company_auto = True

    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, index=True, ondelete='restrict')
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, index=True, default=lambda self: self.env.company)
    contact_id = fields.Many2one(comodel_name='res.partner', string="Spoke with", ondelete='set null')
    user_id = fields.Many2one(
        comodel_name='res.users', string="By", required=True, default=lambda self: self.env.user, ondelete='restrict')
    date = fields.Date(required=True, default=lambda self: self.env.company._get_dunning_today())
    channel = fields.Selection(
        selection=[
            ('phone', "Telephone"),
            ('email', "E-mail"),
            ('visit', "Visit"),
            ('post', "Post"),
            ('portal', "Portal"),
        ],
        required=True,
        default='phone',
    )
    outcome = fields.Selection(selection='_selection_outcome', required=True)
    note = fields.Text()
    next_date = fields.Date(
        string="Next try", index='btree_not_null', help="The customer is to be called again on this day.")
    move_ids = fields.Many2many(comodel_name='account.move', string="About")

    _customer_idx = models.Index('(company_id, partner_id, date DESC, id DESC)')

    #=== SELECTION METHODS ===#

    @api.model
    def _selection_outcome(self):
        return [
            ('promise', self.env._("Will pay")),
            ('plan', self.env._("Can't pay at once")),
            ('dispute', self.env._("Disputes an invoice")),
            ('forgot', self.env._("Forgot, or did not get the invoice")),
            ('no_answer', self.env._("No answer")),
            ('wrong_contact', self.env._("Wrong number or person")),
            ('other', self.env._("Something else")),
        ]

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id', 'date', 'outcome')
    @api.depends_context('lang')
    def _compute_display_name(self):
        outcomes = dict(self._selection_outcome())
        for contact in self:
            contact.display_name = f"{contact.partner_id.display_name or ''}: {outcomes.get(contact.outcome, '')}"

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        """Contacts are with the customer, whichever of its addresses is named; they close the customer's calls."""
        contacts = super().create(vals_list)
        for contact in contacts:
            customer = contact.partner_id.commercial_partner_id
            if contact.partner_id != customer:
                contact.sudo().write({
                    'partner_id': customer.id, 'contact_id': contact.contact_id.id or contact.partner_id.id})
        self.env['account.dunning.followup']._note_changed(contacts.partner_id)
        for company, company_contacts in contacts.grouped('company_id').items():
            again = company_contacts.filtered(lambda contact: contact.outcome == 'no_answer')
            answered = company_contacts - again
            self.env['account.dunning.notice']._close_calls(company, answered.partner_id, keep=answered)
            again._plan_next_try()
        return contacts

    #=== BUSINESS METHODS ===#

    def _plan_next_try(self):
        """Nobody has answered: another try on the next working day, until the level has had its number of tries."""
        for contact in self.sudo():
            calls = self.env['account.dunning.notice']._find_open_calls(contact.company_id, contact.partner_id)
            notices = self.env['account.dunning.notice'].sudo().browse(calls.mapped('res_id'))
            tries = contact._count_tries(min(notices.mapped('sent_date'), default=None))
            allowed = max(notices.level_id.mapped('call_tries'), default=0) or contact.company_id.dunning_call_tries
            if tries >= allowed:
                self.env['account.dunning.notice']._close_calls(contact.company_id, contact.partner_id)
                contact.next_date = False
                continue
            if not contact.next_date:
                contact.next_date = self._get_next_working_day(contact.company_id, contact.date)
            calls.date_deadline = contact.next_date

    @api.model
    def _forget_next_tries(self, company, partners, keep=None):
        """The customers have paid, agreed, answered or got the next reminder: nobody need call them again.

        :param res.company company:
        :param res.partner partners: commercial partners
        :param account.dunning.contact | None keep: contacts whose next try stays
        """
        if not partners:
            return
        self.sudo().search([
            ('company_id', '=', company.id), ('partner_id', 'in', partners.ids), ('next_date', '!=', False),
            ('id', 'not in', keep.ids if keep else []),
        ]).next_date = False

    def _count_tries(self, since):
        """How often in a row nobody has answered, this time included.

        :param datetime.date | None since: tries before this day belong to another reminder
        :rtype: int
        """
        self.ensure_one()
        tries = 0
        domain = [('company_id', '=', self.company_id.id), ('partner_id', '=', self.partner_id.id),
                  ('id', '<=', self.id)]
        for contact in self.search(domain + ([('date', '>=', since)] if since else []), limit=50):
            if contact.outcome != 'no_answer':
                break
            tries += 1
        return tries

    @api.model
    def _get_next_working_day(self, company, date):
        """The first working day after a day, by the company's working hours, else Monday to Friday.

        :rtype: datetime.date
        """
        calendar = company.sudo().resource_calendar_id
        if calendar:
            start = pytz.timezone(calendar.tz or 'UTC').localize(datetime.combine(date + timedelta(days=1), time.min))
            if end := calendar.plan_days(1, start, compute_leaves=True):
                return end.date()
        date += timedelta(days=1)
        while date.weekday() >= 5:
            date += timedelta(days=1)
        return date


class AccountDunningNotice(models.Model):
    """The calls that reminders have planned: the activity of their level, until somebody has called."""

    _inherit = 'account.dunning.notice'

    call_state = fields.Selection(
        selection=[('planned', "Call planned"), ('done', "Called")],
        string="Call",
        compute='_compute_call_state',
        help="Of a level that plans a call: it is done when the contact is logged.",
    )

    #=== COMPUTE METHODS ===#

    @api.depends('state', 'level_id', 'activity_ids')
    def _compute_call_state(self):
        sent = self.filtered(lambda notice: notice.state == 'sent' and notice.level_id.create_activity)
        (self - sent).call_state = False
        open_calls = set(sent._find_calls().mapped('res_id'))
        for notice in sent:
            notice.call_state = 'planned' if notice.id in open_calls else 'done'

    #=== BUSINESS METHODS ===#

    def _find_calls(self):
        """The open activities that the notices' levels have planned; to-dos about failures are none.

        :rtype: mail.activity
        """
        return self.env['mail.activity'].sudo().search([
            ('res_model', '=', self._name), ('res_id', 'in', self.ids),
            ('activity_type_id', '!=', self.env.ref('mail.mail_activity_data_todo').id),
        ])

    @api.model
    def _find_open_calls(self, company, partners):
        """The open calls of customers.

        :param res.company company:
        :param res.partner partners: commercial partners
        :rtype: mail.activity
        """
        if not partners:
            return self.env['mail.activity']
        return self.env['mail.activity'].sudo().browse(number for (number,) in self.env.execute_query(SQL(
            """
            SELECT activity.id
              FROM mail_activity activity
              JOIN account_dunning_notice notice ON notice.id = activity.res_id
             WHERE activity.res_model = 'account.dunning.notice'
               AND activity.active
               AND activity.activity_type_id != %(todo)s
               AND notice.state = 'sent'
               AND notice.company_id = %(company)s
               AND notice.partner_id = ANY(%(partners)s)
            """,
            todo=self.env.ref('mail.mail_activity_data_todo').id, company=company.id, partners=partners.ids,
            to_flush=self.env['mail.activity']._fields['date_deadline'],
        )))

    @api.model
    def _close_calls(self, company, partners, reason=None, keep=None):
        """The customers need not be called any more for the reminders that they have had.

        :param res.company company:
        :param res.partner partners: commercial partners
        :param str | None reason: noted on the notice
        :param account.dunning.contact | None keep: contacts whose next try stays planned
        """
        self.env['account.dunning.contact']._forget_next_tries(company, partners, keep)
        if calls := self._find_open_calls(company, partners):
            calls.with_context(mail_activity_quick_update=True).action_feedback(feedback=reason or False)

    @api.model
    def _close_paid_calls(self, partners):
        """Money has come in: calls about bills that are paid now are closed.

        :param res.partner partners: commercial partners
        """
        if not partners:
            return
        self.env.flush_all()
        calls = self.env['mail.activity'].sudo().browse(number for (number,) in self.env.execute_query(SQL(
            """
            SELECT activity.id
              FROM mail_activity activity
              JOIN account_dunning_notice notice ON notice.id = activity.res_id
             WHERE activity.res_model = 'account.dunning.notice'
               AND activity.active
               AND activity.activity_type_id != %(todo)s
               AND notice.state = 'sent'
               AND notice.partner_id = ANY(%(partners)s)
               AND NOT EXISTS (
                       SELECT FROM account_dunning_notice_line line
                         JOIN account_move_line item ON item.id = line.move_line_id
                        WHERE line.notice_id = notice.id AND line.advances AND item.reconciled IS NOT TRUE
                   )
            """,
            todo=self.env.ref('mail.mail_activity_data_todo').id, partners=partners.ids,
        )))
        if calls:
            for company, notices in self.sudo().browse(calls.mapped('res_id')).grouped('company_id').items():
                self.env['account.dunning.contact']._forget_next_tries(company, notices.partner_id)
            calls.with_context(mail_activity_quick_update=True).action_feedback(feedback=self.env._("Paid"))

    def _close_calls_before(self):
        """These notices have gone out: the calls of the customers' earlier ones are over."""
        for company, notices in self.grouped('company_id').items():
            self.env['account.dunning.contact']._forget_next_tries(company, notices.partner_id)
            calls = self._find_open_calls(company, notices.partner_id)
            earlier = calls.filtered(lambda call, notices=notices: call.res_id not in notices.ids)
            if earlier:
                earlier.with_context(mail_activity_quick_update=True).action_feedback(
                    feedback=self.env._("The next reminder has gone out"))
