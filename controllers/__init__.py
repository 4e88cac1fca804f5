from . import dunning_letters
from . import payment_plan_portal
from . import dunning_notice_page
