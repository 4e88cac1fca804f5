from . import test_credit
from . import test_exposure
from . import test_till
from . import test_translation
