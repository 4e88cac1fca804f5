from . import test_engine
from . import test_run
from . import test_letter
from . import test_delivery
