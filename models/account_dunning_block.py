from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.fields import Domain
from odoo.tools import SQL

from .account_payment_plan import LIVE_STATES


class AccountDunningBlock(models.Model):
    """A pause of dunning. The engine asks nothing but blocks: disputes, promises and plans pause through them."""

    _name = 'account.dunning.block'
    _description = "Dunning block"
    _inherit = ['account.dunning.guarded']
    _order = 'date_from desc, id desc'
    _check_company_auto = True

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
        ondelete='cascade',
        check_company=True,
    )
    move_line_ids = fields.Many2many(
        comodel_name='account.move.line',
        relation='account_dunning_block_move_line_rel',
        column1='block_id',
        column2='move_line_id',
        string="Paused lines",
        check_company=True,
        help="Empty: everything the customer owes.",
    )
    move_ids = fields.Many2many(
        comodel_name='account.move',
        string="Paused invoices",
        compute='_compute_move_ids',
        inverse='_inverse_move_ids',
        search='_search_move_ids',
        help="Choosing an invoice pauses all its installments.",
    )
    reason = fields.Selection(
        selection=[
            ('dispute', "Dispute"),
            ('promise', "Promise to pay"),
            ('plan', "Payment plan"),
            ('collection', "Collection agency"),
            ('manual', "By hand"),
        ],
        required=True,
        readonly=True,
        default='manual',
    )
    currency_id = fields.Many2one(
        comodel_name='res.currency',
        compute='_compute_currency_id',
        store=True,
        readonly=False,
        precompute=True,
    )
    amount = fields.Monetary(
        help="0: all of it is paused; else only so much of the lines, the rest is dunned.",
    )
    date_from = fields.Date(
        string="From", required=True, default=lambda self: self.env.company._get_dunning_today())
    date_until = fields.Date(string="Until", help="The last day of the pause; empty: until it is ended by hand.")
    state = fields.Selection(
        string="Status",
        selection=[('active', "Active"), ('ended', "Ended")],
        required=True,
        readonly=True,
        default='active',
        index=True,
    )
    broken = fields.Boolean(
        readonly=True,
        help="The customer did not do what was agreed: the next step for what it covered is due at once.",
    )
    date_ended = fields.Date(string="Ended on", readonly=True)
    note = fields.Text()
    user_id = fields.Many2one(
        comodel_name='res.users',
        string="Entered by",
        default=lambda self: self.env.user,
    )
    age_days = fields.Integer(string="Days paused", compute='_compute_age_days')

    # What opened the pause, if not a user
    dispute_ids = fields.One2many(comodel_name='account.dispute', inverse_name='block_id', readonly=True)
    promise_ids = fields.One2many(comodel_name='account.payment.promise', inverse_name='block_id', readonly=True)
    plan_ids = fields.One2many(comodel_name='account.payment.plan', inverse_name='block_id', readonly=True)
    case_ids = fields.One2many(comodel_name='account.collection.case', inverse_name='block_id', readonly=True)

    _amount_positive = models.Constraint('CHECK(amount >= 0)', "The paused amount can't be negative.")
    _dates_ordered = models.Constraint(
        'CHECK(date_until IS NULL OR date_until >= date_from)',
        "A pause can't end before it begins.",
    )
    # What the engine asks for, of whole customers
    _active_partner_idx = models.Index("(partner_id) WHERE state = 'active'")

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id', 'reason', 'date_until')
    def _compute_display_name(self):
        reasons = dict(self._fields['reason']._description_selection(self.env))
        for block in self:
            block.display_name = bool(block.partner_id) and self.env._(
                "%(customer)s: %(reason)s",
                customer=block.partner_id.display_name or '',
                reason=reasons.get(block.reason, ''),
            )

    @api.depends('move_line_ids')
    def _compute_move_ids(self):
        for block in self:
            block.move_ids = block.move_line_ids.move_id

    def _inverse_move_ids(self):
        for block in self:
            kept = block.move_line_ids.filtered(lambda line, moves=block.move_ids: line.move_id in moves)
            added = (block.move_ids - kept.move_id).line_ids._filter_open_receivables()
            if block.move_ids and not kept + added:
                raise UserError(self.env._("Nothing is open on %s: there is nothing to pause.",
                                           ", ".join(block.move_ids.mapped('display_name'))))
            block.move_line_ids = kept + added

    def _search_move_ids(self, operator, value):
        return Domain('move_line_ids.move_id', operator, value)

    @api.depends('company_id', 'move_line_ids')
    def _compute_currency_id(self):
        for block in self:
            currencies = block.move_line_ids.currency_id
            if not block.currency_id or len(currencies) == 1:
                block.currency_id = currencies if len(currencies) == 1 else block.company_id.currency_id

    @api.depends('date_from', 'date_until', 'date_ended', 'state')
    def _compute_age_days(self):
        for block in self:
            today = (block.company_id or self.env.company)._get_dunning_today()
            last = block.date_ended if block.state == 'ended' else today
            block.age_days = max(((last or today) - block.date_from).days, 0) if block.date_from else 0

    #=== CONSTRAINT METHODS ===#

    @api.constrains('partner_id', 'move_line_ids', 'company_id')
    def _check_move_lines(self):
        for block in self:
            customer = block.partner_id.commercial_partner_id
            if foreign := block.move_line_ids.filtered(
                lambda line, customer=customer: line.partner_id.commercial_partner_id != customer
            ):
                raise ValidationError(self.env._(
                    "%(invoice)s is not an invoice of %(customer)s.",
                    invoice=foreign[0].move_id.display_name,
                    customer=block.partner_id.display_name,
                ))

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        """Blocks belong to the commercial partner, which is who the engine asks about."""
        for vals in vals_list:
            if vals.get('partner_id'):
                partner = self.env['res.partner'].browse(vals['partner_id'])
                vals['partner_id'] = partner.commercial_partner_id.id
        blocks = super().create(vals_list)
        self.env['account.dunning.followup']._note_changed(blocks.partner_id)
        for company, company_blocks in blocks.grouped('company_id').items():
            # What was agreed needs no call any more.
            agreed = company_blocks.filtered(lambda block: block.reason != 'manual')
            self.env['account.dunning.notice']._close_calls(
                company, agreed.partner_id, self.env._("Settled with the customer"))
        return blocks

    def write(self, vals):
        if not self.env.su and vals.keys() - {'note'} and (
            bound := self.filtered(lambda block: block._get_origin())[:1]
        ):
            raise UserError(self.env._(
                "The pause “%s” belongs to a dispute, a promise, a payment plan or a collection case: change that one.",
                bound.display_name))
        if vals.get('partner_id'):
            partner = self.env['res.partner'].browse(vals['partner_id'])
            vals = dict(vals, partner_id=partner.commercial_partner_id.id)
        result = super().write(vals)
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result

    def unlink(self):
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        return super().unlink()

    @api.ondelete(at_uninstall=False)
    def _unlink_except_with_origin(self):
        if self._get_origin():
            raise UserError(self.env._(
                "A pause that a dispute, a promise, a payment plan or a collection case has opened is part of its "
                "history. End it instead of deleting it."))

    #=== ACTION METHODS ===#

    def action_end(self):
        """End the pause today: dunning of what it covered goes on.

        :raise UserError: when a running payment plan needs the pause
        """
        self.check_access('write')
        if plan := self.plan_ids.filtered(lambda plan: plan.state in LIVE_STATES)[:1]:
            raise UserError(self.env._(
                "This pause belongs to payment plan %s, which is still running. Cancel the plan to resume dunning.",
                plan.name,
            ))
        if case := self.case_ids.filtered(lambda case: case.state == 'open')[:1]:
            raise UserError(self.env._(
                "This pause belongs to %s, which is with an agency. Close the case to resume dunning.", case.name))
        self._end_today()

    def action_open_origin(self):
        """Open the dispute, promise, plan or case that opened the pause."""
        self.ensure_one()
        self.check_access('read')
        origin = self._get_origin()
        if not origin:
            return False
        return {
            'type': 'ir.actions.act_window',
            'res_model': origin._name,
            'res_id': origin[0].id,
            'view_mode': 'form',
        }

    #=== BUSINESS METHODS ===#

    def _get_origin(self):
        """What opened the pauses; nothing when a person did."""
        return self.case_ids or self.plan_ids or self.promise_ids or self.dispute_ids

    @api.model
    def _update_pauses(self, company, date):
        """Bring the company's pauses up to the date, before a run looks at them.

        Finds out from what was really paid which promises and plans were kept or broken, ends the pauses that are
        over, and reminds customers of the next installment of their plan. Set-based: the number of queries does not
        depend on how many there are. Doing it twice on one day changes nothing the second time.

        :param company: the res.company whose pauses are looked at
        :param datetime.date date: the company's today
        """
        self = self.with_company(company)
        self._adopt_commercial_partners(company)
        self.env['account.dispute']._close_credited(company, date)
        self.env['account.payment.promise']._update_promises(company, date)
        self.env['account.payment.plan']._update_plans(company, date)
        self.env['account.collection.case']._follow_ledger(company)
        self._end_expired(company, date)
        self.env['account.late.charge']._propose_credit_notes(company, date)

    @api.model
    def _adopt_commercial_partners(self, company):
        """A customer may have been merged, or put under another company, since the pause began."""
        for table in (
            'account_dunning_block', 'account_payment_promise', 'account_payment_plan', 'account_collection_case',
        ):
            self.env.cr.execute(SQL(
                """
                UPDATE %(table)s pause
                   SET partner_id = partner.commercial_partner_id
                  FROM res_partner partner
                 WHERE partner.id = pause.partner_id
                   AND pause.company_id = %(company)s
                   AND pause.state IN ('active', 'open', 'offered', 'signed')
                   AND partner.commercial_partner_id != pause.partner_id
                """,
                table=SQL.identifier(table),
                company=company.id,
            ))
            if self.env.cr.rowcount:
                self.env.invalidate_all(flush=False)

    @api.model
    def _end_expired(self, company, date):
        """End the pauses whose last day is over; those of promises and plans are told apart before.

        :return: the ended blocks
        """
        expired = self.search([
            ('company_id', '=', company.id),
            ('state', '=', 'active'),
            ('date_until', '<', date),
        ])
        expired._end(date)
        return expired

    def _end(self, date, broken=False):
        """End the pauses in one statement.

        :param datetime.date date: the day on which dunning goes on
        :param bool broken: the customer did not do what was agreed: their next step is due at once. This is also
            noted on pauses that were over before.
        """
        if not self:
            return
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        self.env.flush_all()
        self.env.cr.execute(SQL(
            """
            UPDATE account_dunning_block
               SET state = 'ended', date_ended = %(date)s, broken = %(broken)s,
                   write_uid = %(uid)s, write_date = (now() AT TIME ZONE 'UTC')
             WHERE id IN %(ids)s AND (state = 'active' OR %(broken)s)
            """,
            date=date, broken=broken, uid=self.env.uid, ids=self._ids,
        ))
        self.invalidate_recordset(['state', 'date_ended', 'broken'])

    def _end_today(self):
        """End the pauses today, each on its company's own day."""
        for company, blocks in self.grouped('company_id').items():
            blocks._end(company._get_dunning_today())

    @api.model
    def _find_of_lines(self, lines):
        """Active blocks that name one of the lines."""
        if not lines:
            return self.browse()
        return self.sudo().search([('state', '=', 'active'), ('move_line_ids', 'in', lines.ids)])

    def _end_without_lines(self):
        """A pause whose last line is gone must not become a pause of the whole customer."""
        self.invalidate_recordset(['move_line_ids'])
        self.filtered(lambda block: not block.move_line_ids)._end_today()

    #=== TOOLING ===#

    @api.model
    def _leave_out_paused(self, lines, date):
        """What a new agreement is about: the lines that are not paused as a whole already.

        :param lines: account.move.line
        :param datetime.date date: the company's today
        :return: account.move.line
        """
        verdicts = self.env['account.dunning.engine']._explain(lines, date)
        return lines.filtered(lambda line: line not in verdicts or verdicts[line][0] != 'blocked')
