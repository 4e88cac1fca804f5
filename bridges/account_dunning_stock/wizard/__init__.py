from . import stock_picking_release
