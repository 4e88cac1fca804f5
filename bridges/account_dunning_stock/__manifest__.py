{
    'name': "Dunning & Credit Control: Deliveries",
    'version': '19.0.1.0.0',
    'category': 'Accounting/Accounting',
    'summary': "What a delivery adds to an order is noted and told to the credit managers",
    'author': "Dunning & Credit Control contributors",
    'license': 'LGPL-3',
    'depends': [
        'account_dunning',
        'sale_stock',
    ],
    'auto_install': True,
}
