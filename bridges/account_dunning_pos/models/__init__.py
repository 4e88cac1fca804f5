from . import account_credit_exposure
from . import pos_order
from . import sale_order
