from . import account_dunning_notice_change_level
from . import account_dunning_preview
