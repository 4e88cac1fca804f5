{
    'name': "Dunning & Credit Control: Point of Sale",
    'version': '19.0.1.0.0',
    'category': 'Accounting/Accounting',
    'summary': "What is sold on account at the till counts towards the credit limit",
    'author': "Dunning & Credit Control contributors",
    'license': 'LGPL-3',
    'depends': [
        'account_dunning',
        'pos_sale',
    ],
    'data': [
        'views/account_credit_exposure_views.xml',
    ],
    'assets': {
        'point_of_sale._assets_pos': [
            'account_dunning_pos/static/src/**/*',
        ],
        'web.assets_tests': [
            'account_dunning_pos/static/tests/tours/**/*',
        ],
    },
    'auto_install': True,
}
