from . import test_engine
from . import test_run
from . import test_letter
from . import test_delivery
from . import test_late_charge_vectors
from . import test_late_charge_notice
from . import test_late_charge_properties
