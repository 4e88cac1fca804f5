from . import account_credit_exposure
from . import pos_order
from . import pos_payment
from . import sale_order
