from . import test_batch
from . import test_cost
from . import test_decision
from . import test_held_deliveries
from . import test_race
from . import test_stock
from . import test_translation
