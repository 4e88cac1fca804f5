{
    'name': "Dunning & Credit Control",
    'version': '19.0.1.0.0',
    'category': 'Accounting/Accounting',
    'summary': "Remind customers of overdue invoices, agree payment plans, and stop orders over the credit limit",
    'author': "Dunning & Credit Control contributors",
    'license': 'LGPL-3',
    'depends': [
        'account',
        'sale',
        'sms',
    ],
    'data': [
        # Rights.
        'security/res_groups.xml',
        'security/ir.model.access.csv',
        'security/ir_rules.xml',

        # Record data.
        'data/ir_sequence.xml',
        'data/ir_cron.xml',

        # Reports.
        'report/late_charge_templates.xml',
        'report/dunning_pause_templates.xml',

        # Model views.

        # Menus, last: they use the actions above.
    ],
    'application': False,
    'installable': True,
}
