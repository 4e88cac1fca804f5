{
    'name': "Dunning & Credit Control: Repairs",
    'version': '19.0.1.0.0',
    'category': 'Accounting/Accounting',
    'summary': "What the parts of a repair add to an order is noted and told to the credit managers",
    'author': "Dunning & Credit Control contributors",
    'license': 'LGPL-3',
    'depends': [
        'account_dunning',
        'repair',
    ],
    'auto_install': True,
}
