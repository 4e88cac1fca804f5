{
    'name': "Dunning & Credit Control: Deliveries",
    'version': '19.0.1.1.0',
    'category': 'Accounting/Accounting',
    'summary': "Deliveries to customers over their limit or on hold wait for a credit manager",
    'author': "Dunning & Credit Control contributors",
    'license': 'LGPL-3',
    'depends': [
        'account_dunning',
        'sale_stock',
    ],
    'data': [
        # Record data.
        'data/mail_activity_type_data.xml',

        # Security.
        'security/ir.model.access.csv',
        'security/ir_rules.xml',

        # Views.
        'wizard/stock_picking_release_views.xml',
        'views/res_config_settings_views.xml',
        'views/res_partner_views.xml',
        'views/sale_order_views.xml',
        'views/stock_picking_views.xml',  # Depends on the wizard's actions.
        'views/account_dunning_stock_menus.xml',  # Depends on `stock_picking_action_credit`.
    ],
    'auto_install': True,
}
