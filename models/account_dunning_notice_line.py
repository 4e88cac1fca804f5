from odoo import fields, models


class AccountDunningNoticeLine(models.Model):
    """One open line as the notice saw it. It outlives the invoice: what was claimed stays written."""

    _name = 'account.dunning.notice.line'
    _description = "Dunning notice line"
    _order = 'notice_id, is_coming_due, date_maturity, id'
    _rec_name = 'move_name'
    # Written by the hundred thousand in one night, together with its notice, which says by whom and when.
    _log_access = False

    notice_id = fields.Many2one(
        comodel_name='account.dunning.notice', required=True, readonly=True, index=True, ondelete='cascade')
    company_id = fields.Many2one(related='notice_id.company_id')
    partner_id = fields.Many2one(related='notice_id.partner_id')
    move_line_id = fields.Many2one(
        comodel_name='account.move.line', readonly=True, index='btree_not_null', ondelete='set null')
    move_id = fields.Many2one(
        comodel_name='account.move', string="Invoice", readonly=True, index='btree_not_null', ondelete='set null')
    move_name = fields.Char(string="Number", readonly=True)
    invoice_date = fields.Date(string="Invoice date", readonly=True)
    level_id = fields.Many2one(
        comodel_name='account.dunning.level', readonly=True, ondelete='restrict',
        help="The level that the line reaches with this notice; the one it has, when it does not move.")
    previous_level_id = fields.Many2one(
        comodel_name='account.dunning.level', string="Previous level", readonly=True, ondelete='restrict')
    advances = fields.Boolean(readonly=True, help="The line moves up to the level once the notice has gone out.")
    live = fields.Boolean(
        readonly=True, help="Advances, in a notice that is on its way or was sent: never again for line and level.")
    is_coming_due = fields.Boolean(readonly=True)
    date_maturity = fields.Date(string="Due date", readonly=True)
    days_overdue = fields.Integer(string="Days late", readonly=True)
    currency_id = fields.Many2one(comodel_name='res.currency', readonly=True)
    company_currency_id = fields.Many2one(related='notice_id.company_id.currency_id', string="Company currency")
    amount_total = fields.Monetary(
        string="Total", readonly=True, help="The amount of the installment, in its own currency.")
    amount_residual = fields.Monetary(string="Open amount", readonly=True)
    amount_set_off = fields.Monetary(
        string="Set off", readonly=True, help="Covered by unmatched payments and credit notes of the customer.")
    amount_blocked = fields.Monetary(
        string="Paused", readonly=True, help="Disputed, promised or otherwise paused.")
    amount_due = fields.Monetary(
        string="Amount due", readonly=True, help="What the notice asks for on this line; 0 when it is only coming due.")
    amount_due_company = fields.Monetary(
        string="Due, company currency", readonly=True, currency_field='company_currency_id')

    # What part of it was expected to be paid anyway, see `account.dunning.effect`
    expected_share_7 = fields.Float(readonly=True)
    expected_share_14 = fields.Float(readonly=True)
    expected_share_30 = fields.Float(readonly=True)

    # The rule above all: one reminder for a line and level, whatever servers and users do at the same time
    _one_reminder_per_level = models.UniqueIndex(
        "(move_line_id, level_id) WHERE live",
        "There already is a reminder of this level for this invoice.",
    )

    def _get_highest_level(self):
        """The highest level among the lines."""
        return self.level_id.sorted(lambda level: (level.sequence, level.delay_days, level.id))[-1:]

    def _refresh(self, rows):
        """Bring the lines to what the engine says today: those that do not count any more leave.

        :param dict[int, dict] rows: the engine's verdict by journal item, for those that count
        :return: whether anything has changed
        :rtype: bool
        """
        lines = self.sudo()
        gone = lines.filtered(lambda line: not line._is_in(rows))
        is_changed = bool(gone)
        left = lines - gone
        gone.unlink()
        for line in left:
            values = line._prepare_refreshed_values(rows[line.move_line_id.id])
            changes = {
                fname: value for fname, value in values.items() if line._is_different(fname, value)
            }
            if changes:
                # a day more is no change of what is claimed
                is_changed = is_changed or changes.keys() != {'days_overdue'}
                line.write(changes)
        return is_changed

    def _is_in(self, rows):
        """Whether the line still counts, and for the customer of the notice."""
        row = rows.get(self.move_line_id.id)
        return bool(row) and row['partner_id'] == self.notice_id.partner_id.commercial_partner_id.id

    def _is_different(self, fname, value):
        field = self._fields[fname]
        if field.type == 'monetary':
            return bool(self[field.get_currency_field(self)].compare_amounts(self[fname], value))
        if field.type == 'many2one':
            return self[fname].id != value
        return self[fname] != value

    def _prepare_refreshed_values(self, row):
        """:param dict row: the engine's verdict on the line today"""
        self.ensure_one()
        advances = self.advances and self._may_still_advance(row)
        is_coming_due = row['days'] <= 0 and not advances
        return {
            # what does not move bears no charges of a level that it does not reach
            'level_id': self.level_id.id if advances else row['current_level_id'] or False,
            'advances': advances,
            'live': advances,
            'is_coming_due': is_coming_due,
            **self._prepare_amounts(row, is_coming_due),
        }

    def _prepare_amounts(self, row, is_coming_due=False):
        """:param dict row: the engine's verdict on the line today"""
        return {
            'date_maturity': row['date_maturity'],
            'days_overdue': row['days'],
            'amount_residual': float(row['residual']),
            'amount_set_off': float(row['set_off']),
            'amount_blocked': float(row['blocked']),
            'amount_due': 0.0 if is_coming_due else float(row['amount_net']),
            'amount_due_company': 0.0 if is_coming_due else float(row['amount_net_company']),
        }

    def _may_still_advance(self, row):
        """Whether the line may still move up today: it is where it was when it was proposed, and its time has come.

        :param dict row: the engine's verdict on the line today
        :rtype: bool
        """
        self.ensure_one()
        # Somebody else may have moved it; the due date may have been put off; the proposal may be one for a later day.
        if (row['current_level_id'] or False) != self.previous_level_id.id or not row['is_reached']:
            return False
        # A courtesy before the due date that comes too late is none, unless somebody has chosen it.
        return self.level_id.delay_days >= 0 or row['days'] < 0 or self.notice_id.level_forced

    #=== ACTION METHODS ===#

    def action_open_move(self):
        """Open the invoice of the line.

        :rtype: dict
        """
        self.ensure_one()
        return self.move_id._get_records_action()
