from itertools import pairwise

from odoo import api, fields, models
from odoo.exceptions import ValidationError

BOUNDS = ('payer_score_days_2', 'payer_score_days_3', 'payer_score_days_4', 'payer_score_days_5')


class ResCompany(models.Model):
    _inherit = 'res.company'

    payer_score_persons = fields.Boolean(
        string="Score natural persons",
        help="Also customers who are persons, not companies, get a payer score. It is profiling (GDPR art. 4 and 22): "
             "tell them, and let nothing be decided by it alone.",
    )
    payer_score_days_2 = fields.Float(
        string="Score 2 from", digits=(16, 1), default=1.0, help="Expected days late; below it the score is 1.")
    payer_score_days_3 = fields.Float(string="Score 3 from", digits=(16, 1), default=3.0, help="Expected days late.")
    payer_score_days_4 = fields.Float(string="Score 4 from", digits=(16, 1), default=7.0, help="Expected days late.")
    payer_score_days_5 = fields.Float(
        string="Score 5 from", digits=(16, 1), default=15.0, help="Expected days late; 5 is the worst score.")

    payer_call_effect = fields.Float(
        string="Effect of a call",
        default=0.5,
        help="By what part of the days until payment a call shortens them, as an estimate: 0.5 is half of them.",
    )
    payer_call_rate = fields.Float(
        string="Yearly cost of money (%)", default=8.0, help="What a year of waiting for 100 costs the company.")
    payer_call_cost = fields.Monetary(
        string="Cost of a call", help="What a call costs the company, in working time. Calls worth less come last.")

    _payer_call_effect_share = models.Constraint(
        'CHECK (payer_call_effect >= 0 AND payer_call_effect <= 1)', "The effect of a call is between 0 and 1.")
    _payer_call_rate_positive = models.Constraint(
        'CHECK (payer_call_rate >= 0 AND payer_call_cost >= 0)', "Neither money nor calls cost less than nothing.")

    def write(self, vals):
        # EXTENDS 'base': what must not be known is forgotten at once
        result = super().write(vals)
        if 'payer_score_persons' in vals:
            self.env['account.payer.score'].sudo()._forget_unscored()
        if not vals.keys().isdisjoint(('payer_call_effect', 'payer_call_rate', 'payer_call_cost')):
            self.env['account.dunning.followup']._note_configuration_changed()
        return result

    @api.constrains(*BOUNDS)
    def _check_payer_score_bounds(self):
        for company in self:
            bounds = company._get_payer_score_bounds()
            if bounds[0] <= 0 or any(higher <= lower for lower, higher in pairwise(bounds)):
                raise ValidationError(self.env._(
                    "The payer scores' days late must be above 0, and more from each score to the next."))

    def _get_payer_score_bounds(self):
        """From how many expected days late on a customer has score 2, 3, 4 and 5.

        :rtype: list[float]
        """
        self.ensure_one()
        return [self[name] for name in BOUNDS]
