from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain


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
        help="Who looks after this customer's overdue bills.",
    )

    # What is open in the company at hand. A salesperson may know the level, the amounts are the ledger's.
    dunning_level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="Dunning level",
        compute='_compute_dunning',
        search='_search_dunning_level_id',
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
