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
        'security/ir_rules_credit.xml',

        # Record data.
        'data/ir_sequence.xml',
        'data/ir_cron.xml',
        'data/account_reference_rate_data.xml',
        'data/account_late_charge_rule_data.xml',  # Depends on the reference rates.
        'data/ir_cron_credit.xml',
        'data/mail_activity_type_data.xml',

        # Reports.
        'report/late_charge_templates.xml',
        'report/late_charge_reports.xml',
        'report/dunning_pause_templates.xml',
        'report/ir_actions_report_templates.xml',  # Calls the two above.
        'report/ir_actions_report.xml',
        'report/hand_over_templates.xml',  # Calls the table of the letter.
        'report/collection_case_templates.xml',
        'report/payer_score_templates.xml',
        'report/mail_templates.xml',

        # Texts and procedures to start from.
        'data/mail_template_data.xml',
        'data/sms_template_data.xml',
        'data/account_dunning_procedure_data.xml',  # Depends on the templates.

        # Payment plans and statement of open items; the e-mails attach these reports.
        'report/payment_plan_templates.xml',
        'report/statement_templates.xml',
        'data/payment_plan_mail_template_data.xml',
        'data/statement_mail_template_data.xml',

        # Model views.
        'wizard/account_dunning_notice_change_level_views.xml',  # Depended on by the views of notices.
        'wizard/account_dunning_preview_views.xml',  # Depended on by the views of runs.
        'views/account_dunning_level_views.xml',
        'views/account_dunning_procedure_views.xml',
        'views/account_dunning_followup_views.xml',  # Depended on by the views of notices.
        'views/account_dunning_notice_post_views.xml',  # Depended on by the views of notices.
        'views/account_dunning_notice_views.xml',
        'views/account_dunning_run_views.xml',
        'wizard/account_dunning_settings_views.xml',
        'wizard/account_dunning_aging_open_views.xml',
        'wizard/account_dunning_assign_views.xml',
        'views/account_dunning_contact_views.xml',
        'views/account_dunning_collector_views.xml',
        'views/account_dunning_aging_views.xml',  # Uses the dialog above.
        'views/account_move_views.xml',
        'views/res_partner_views.xml',
        'views/res_partner_complete_views.xml',
        'views/res_config_settings_views.xml',

        # Late charges.
        'views/account_reference_rate_views.xml',
        'views/account_late_charge_rule_views.xml',
        'views/account_late_charge_views.xml',  # Depends on the actions of rules and rates.

        # Credit control.
        'wizard/sale_order_release_views.xml',
        'wizard/sale_order_deposit_views.xml',
        'views/account_credit_exposure_views.xml',
        'views/account_credit_cover_views.xml',
        'views/account_credit_group_views.xml',
        'views/account_credit_event_views.xml',
        'views/account_credit_limit_request_views.xml',
        'views/account_credit_limit_import_views.xml',
        'views/res_config_settings_credit_views.xml',
        'views/res_partner_credit_views.xml',
        'views/sale_order_views.xml',
        'views/sale_portal_templates.xml',

        # Blocks, disputes, promises, payment plans.
        'wizard/account_dunning_call_views.xml',
        'wizard/account_payment_plan_prepare_views.xml',
        'views/account_dunning_block_views.xml',
        'views/account_dispute_views.xml',
        'views/account_collection_case_views.xml',
        'views/account_payment_promise_views.xml',
        'views/account_payment_plan_views.xml',
        'views/account_payment_plan_portal_templates.xml',
        'views/account_dunning_notice_portal_templates.xml',
        'views/account_payment_plan_extensions.xml',  # Invoice, customer and settings use the actions above.

        # How customers pay: extends the views of customers and orders above.
        'views/account_payer_views.xml',
        'views/account_dunning_result_views.xml',

        # Menus, last: they use the actions above.
        'views/account_dunning_menus.xml',
    ],
    'assets': {
        'web.assets_backend': [
            'account_dunning/static/src/followup_actions/*',
        ],
        'web.report_assets_common': [
            'account_dunning/static/src/scss/dunning_letter.scss',
        ],
        'web.assets_tests': [
            'account_dunning/static/tests/tours/**/*',
        ],
    },
    'demo': [
        'demo/res_company_demo.xml',
        'demo/res_partner_demo.xml',
        'demo/account_move_demo.xml',
        'demo/account_dispute_demo.xml',
        'demo/sale_order_demo.xml',
    ],
    'application': False,
    'installable': True,
}
