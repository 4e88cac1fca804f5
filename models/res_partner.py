from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL

from .account_payment_plan import LIVE_STATES


class ResPartner(models.Model):
    _inherit = 'res.partner'

    type = fields.Selection(
        selection_add=[('dunning', "Follow-up address")],
        ondelete={'dunning': 'set default'},
    )
    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        company_dependent=True,
        check_company=True,
        groups='account.group_account_invoice,account.group_account_readonly',
        help="Empty: the company's procedure.",
    )
    dunning_user_id = fields.Many2one(
        comodel_name='res.users',
        string="Collector",
        company_dependent=True,
        groups='base.group_user',
        help="Who looks after this customer's overdue bills.",
    )

    # What is open in the company at hand. A salesperson may know the level, the amounts are the ledger's.
    dunning_level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="Dunning level",
        compute='_compute_dunning',
        search='_search_dunning_level_id',
        groups='base.group_user',
        help="The highest level that one of the customer's open bills has reached.",
    )
    dunning_last_date = fields.Date(
        string="Last reminder",
        compute='_compute_dunning',
        search='_search_dunning_last_date',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    amount_overdue = fields.Monetary(
        string="Overdue",
        compute='_compute_dunning',
        search='_search_amount_overdue',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="Past its due date, after unmatched payments and credit notes, in company currency.",
    )
    dunning_next_step = fields.Char(
        string="Next step",
        compute='_compute_dunning',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    dunning_notice_count = fields.Integer(
        string="Dunning notices",
        compute='_compute_dunning_notice_count',
        groups='account.group_account_invoice,account.group_account_readonly',
    )

    #=== CRUD METHODS ===#

    def write(self, vals):
        # EXTENDS 'base'
        result = super().write(vals)
        # The last two: what gives them to a collector, see `account.dunning.collector.rule`
        if not vals.keys().isdisjoint(('dunning_procedure_id', 'dunning_user_id', 'country_id', 'user_id')):
            self.env['account.dunning.followup']._note_changed(self)
        return result

    #=== COMPUTE METHODS - DUNNING ===#

    @api.depends_context('company', 'lang')
    def _compute_dunning(self):
        """What `account.dunning.followup` knows, at this moment and for any number of customers by one query;
        contacts have the values of their company."""
        company = self.env.company
        explanation = self.env['account.dunning.explanation']
        followup = self.env['account.dunning.followup'].sudo()
        today = company._get_dunning_today()
        customers = self.commercial_partner_id
        figures = followup._get_figures(company, today, customers)
        paused = customers.filtered(lambda customer: figures.get(customer, {}).get('is_paused'))
        pauses = explanation._find_pauses(company, paused, today).grouped(
            lambda block: block.partner_id.commercial_partner_id)
        level = self.env['account.dunning.level']
        for partner in self:
            figure = figures.get(partner.commercial_partner_id, {})
            partner.dunning_level_id = level.browse(figure.get('level_id') or [])
            partner.dunning_last_date = figure.get('last_date')
            partner.amount_overdue = figure.get('amount_overdue')
            partner.dunning_next_step = figure.get('reason') and explanation._describe_step(
                figure['reason'],
                level.browse(figure['next_level_id'] or []),
                figure['next_date'],
                pauses.get(partner.commercial_partner_id),
            )

    @api.depends_context('company')
    def _compute_dunning_notice_count(self):
        counts = dict(self.env['account.dunning.notice']._read_group(
            [('partner_id', 'in', self.commercial_partner_id.ids), ('company_id', '=', self.env.company.id)],
            groupby=['partner_id'],
            aggregates=['__count'],
        ))
        for partner in self:
            partner.dunning_notice_count = counts.get(partner.commercial_partner_id, 0)

    #=== SEARCH METHODS - DUNNING ===#

    @api.model
    def _search_amount_overdue(self, operator, value):
        # The ORM guards reading a field, not searching by one that has a search method.
        self._check_field_access(self._fields['amount_overdue'], 'read')
        tests = {
            'in': lambda amount: amount in value,
            '<': lambda amount: amount < value,
            '<=': lambda amount: amount <= value,
            '>': lambda amount: amount > value,
            '>=': lambda amount: amount >= value,
        }
        if operator not in tests:
            return NotImplemented
        condition = Domain('amount_overdue', operator, value)
        # Most customers have no row, which counts as zero.
        if tests[operator](0):
            return ~self._find_in_followup(~condition)
        return self._find_in_followup(condition)

    @api.model
    def _search_dunning_level_id(self, operator, value):
        if operator == 'in' and False in value:
            return ~self._find_in_followup(Domain('level_id', 'not in', value))
        if operator in ('in', 'any', 'ilike', '=ilike', 'like', '=like'):
            return self._find_in_followup(Domain('level_id', operator, value))
        return NotImplemented

    @api.model
    def _search_dunning_last_date(self, operator, value):
        self._check_field_access(self._fields['dunning_last_date'], 'read')
        if operator == 'in' and False in value:
            return ~self._find_in_followup(Domain('last_date', 'not in', value))
        if operator in ('in', '<', '<=', '>', '>='):
            return self._find_in_followup(Domain('last_date', operator, value))
        return NotImplemented

    @api.model
    def _find_in_followup(self, condition):
        """Customers, and their contacts, whose follow-up in the company at hand meets the condition.

        :param Domain condition: on `account.dunning.followup`.
        :rtype: Domain
        """
        # A salesperson who may search by level has no access to the follow-up itself.
        followups = self.env['account.dunning.followup'].sudo()._search(
            Domain('company_id', '=', self.env.company.id) & condition)
        return Domain('commercial_partner_id', 'in', followups.subselect('partner_id'))

    #=== ACTION METHODS - DUNNING ===#

    def action_view_dunning_notices(self):
        """Open the customer's dunning notices.

        :rtype: dict
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_notice_action')
        return {**action, 'domain': [('partner_id', '=', self.commercial_partner_id.id)], 'context': {}}

    def action_view_dunning_followup(self):
        """Open the customer's follow-up in the company at hand.

        :rtype: dict
        """
        self.ensure_one()
        followup = self.env['account.dunning.followup'].search([
            ('company_id', '=', self.env.company.id), ('partner_id', '=', self.commercial_partner_id.id)])
        if not followup:
            raise UserError(self.env._("%(customer)s has nothing overdue.", customer=self.display_name))
        return followup._get_records_action(name=self.env._("Follow-up"))

    #=== PAUSES: blocks, disputes, promises, payment plans ===#

    promise_kept_count = fields.Integer(
        string="Promises kept",
        compute='_compute_promise_record',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    promise_broken_count = fields.Integer(
        string="Promises broken",
        compute='_compute_promise_record',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    promise_open_count = fields.Integer(
        string="Promises open",
        compute='_compute_promise_record',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    promise_longest_delay = fields.Integer(
        string="Longest delay after a promise (days)",
        compute='_compute_promise_record',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="The most days that the customer has let us wait after a promised date.",
    )
    payment_plan_id = fields.Many2one(
        comodel_name='account.payment.plan',
        string="Running payment plan",
        compute='_compute_payment_plan_id',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    payment_plan_count = fields.Integer(
        compute='_compute_payment_plan_id',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    dispute_open_count = fields.Integer(
        string="Open disputes",
        compute='_compute_dispute_open_count',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    dunning_block_count = fields.Integer(
        string="Running pauses",
        compute='_compute_dunning_block_count',
        groups='account.group_account_invoice,account.group_account_readonly',
    )

    @api.depends_context('company')
    def _compute_promise_record(self):
        record = {}
        for partner, state, count in self.env['account.payment.promise']._read_group(
            [('partner_id', 'in', self.commercial_partner_id.ids), ('company_id', '=', self.env.company.id)],
            ['partner_id', 'state'],
            ['__count'],
        ):
            record[partner, state] = count
        self.env['account.payment.promise'].flush_model()
        delays = dict(self.env.execute_query(SQL(
            """
            SELECT partner_id, MAX(date_closed - date)
              FROM account_payment_promise
             WHERE partner_id = ANY(%s) AND company_id = %s AND state IN ('kept', 'broken')
          GROUP BY partner_id
            """,
            self.commercial_partner_id.ids, self.env.company.id,
        )))
        for partner in self:
            commercial = partner.commercial_partner_id
            partner.promise_kept_count = record.get((commercial, 'kept'), 0)
            partner.promise_broken_count = record.get((commercial, 'broken'), 0)
            partner.promise_open_count = record.get((commercial, 'open'), 0)
            partner.promise_longest_delay = max(delays.get(commercial.id, 0), 0)

    @api.depends_context('company')
    def _compute_payment_plan_id(self):
        Plan = self.env['account.payment.plan']
        plans = Plan.search([
            ('partner_id', 'in', self.commercial_partner_id.ids), ('company_id', '=', self.env.company.id),
        ])
        by_partner = plans.grouped('partner_id')
        for partner in self:
            of_partner = by_partner.get(partner.commercial_partner_id, Plan)
            partner.payment_plan_id = of_partner.filtered(
                lambda plan: plan.state in LIVE_STATES).sorted('id', reverse=True)[:1]
            partner.payment_plan_count = len(of_partner)

    @api.depends_context('company')
    def _compute_dispute_open_count(self):
        counts = dict(self.env['account.dispute']._read_group(
            [
                ('partner_id', 'in', self.commercial_partner_id.ids),
                ('company_id', '=', self.env.company.id),
                ('state', '=', 'open'),
            ],
            ['partner_id'], ['__count'],
        ))
        for partner in self:
            partner.dispute_open_count = counts.get(partner.commercial_partner_id, 0)

    @api.depends_context('company')
    def _compute_dunning_block_count(self):
        counts = dict(self.env['account.dunning.block']._read_group(
            [
                ('partner_id', 'in', self.commercial_partner_id.ids),
                ('company_id', '=', self.env.company.id),
                ('state', '=', 'active'),
            ],
            ['partner_id'], ['__count'],
        ))
        for partner in self:
            partner.dunning_block_count = counts.get(partner.commercial_partner_id, 0)

    def _get_pause_action(self, xmlid, **context):
        """A window action limited to the customer.

        :param str xmlid: name of the action in this module
        :param context: more keys for its context
        :return: dict
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id(f'account_dunning.{xmlid}')
        action['domain'] = [('partner_id', '=', self.commercial_partner_id.id)]
        action['context'] = {'default_partner_id': self.commercial_partner_id.id, **context}
        return action

    def action_view_promises(self):
        """Open the customer's promises to pay."""
        return self._get_pause_action('account_payment_promise_action')

    def action_view_payment_plans(self):
        """Open the customer's payment plans."""
        return self._get_pause_action('account_payment_plan_action')

    def action_view_disputes(self):
        """Open the customer's disputes."""
        return self._get_pause_action('account_dispute_action', create=False)

    def action_view_dunning_blocks(self):
        """Open the customer's running pauses."""
        return self._get_pause_action('account_dunning_block_action', search_default_active=1)

    #=== End of pauses ===#
