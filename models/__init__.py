# Configuration and pauses
from . import account_dunning_guarded
from . import account_dunning_ledger
from . import account_dunning_cached
from . import account_dunning_procedure
from . import account_dunning_level
from . import account_dunning_level_letter
from . import account_dunning_pausing
from . import account_dispute
from . import account_dunning_agreement
from . import account_payment_promise
from . import account_payment_plan
from . import account_payment_plan_installment
from . import account_collection_case
from . import account_dunning_block

# The flow: engine -> run -> notice -> line
from . import account_dunning_engine
from . import account_dunning_run
from . import account_dunning_notice
from . import account_dunning_notice_line
from . import account_dunning_notice_post
from . import account_dunning_notice_delivery
from . import account_dunning_notice_handover
from . import account_dunning_notice_letter
from . import account_dunning_notice_page
from . import account_dunning_hand_over
from . import ir_attachment
from . import ir_qweb_field_dunning_day
from . import ir_actions_report

# What the screens show
from . import account_dunning_explanation
from . import account_dunning_collector_rule
from . import account_dunning_absence
from . import account_dunning_followup
from . import account_dunning_aging
from . import account_dunning_contact
from . import account_dunning_history

# What a delay costs
from . import account_reference_rate
from . import account_reference_rate_fetch
from . import account_late_charge_rule
from . import account_late_charge_rule_tier
from . import account_late_charge
from . import account_dunning_notice_charge
from . import res_company_late_charge
from . import res_partner_late_charge

# How customers pay
from . import account_payer_settlement
from . import account_payer_change
from . import account_payer_curve
from . import account_payer_score
from . import account_payment_forecast
from . import account_dunning_result
from . import account_dunning_effect
from . import res_company_payer
from . import res_partner_payer

# Extended models
from . import account_bank_statement_line
from . import account_move
from . import account_payment
from . import account_partial_reconcile
from . import account_move_line
from . import mail_activity
from . import res_company
from . import res_config_settings
from . import res_partner

from . import base_partner_merge
from . import res_partner_statement
from . import res_partner_complete

# Credit control
from . import account_credit_cover
from . import account_credit_event
from . import account_credit_exposure
from . import payment_transaction
from . import res_partner_credit
from . import res_partner_credit_limit
from . import account_credit_group
from . import account_credit_limit_request
from . import account_credit_limit_import
from . import sale_order
from . import sale_order_deposit
from . import sale_order_line
