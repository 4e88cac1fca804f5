from . import dunning_letters
from . import dunning_notice_page
from . import overdue_portal
from . import payment_plan_portal
