from . import account_dunning_notice_change_level
from . import account_dunning_preview
from . import account_late_charge_sheet
from . import account_late_charge_waive
from . import sale_order_release
from . import account_dunning_call
from . import account_payment_plan_prepare
