import { registry } from "@web/core/registry";

const openMenu = (section, menu) => [
    { content: "Open the section", trigger: `.o_menu_sections [data-menu-xmlid='${section}']`, run: "click" },
    { content: "Open the menu", trigger: `.o-dropdown--menu [data-menu-xmlid='${menu}']`, run: "click" },
];

// The accountant's morning: who owes most, what is proposed, drop one, send the rest.
registry.category("web_tour.tours").add("account_dunning_morning", {
    url: "/odoo/customer-invoices",
    steps: () => [
        ...openMenu("account_dunning.account_dunning_collections_menu", "account_dunning.account_dunning_followup_menu"),
        {
            content: "Who owes most stands first, with what happens next",
            trigger: ".o_data_row:eq(0):contains('Tour Big'):contains('In preparation: Level 1')",
        },
        {
            content: "All customers, not only what is to be done today",
            trigger: ".o_searchview_facet:contains('Today') .o_facet_remove",
            run: "click",
        },
        {
            content: "The paused customer says until when, and why",
            trigger: ".o_data_row:contains('Tour Paused'):contains('Paused until'):contains('Promise to pay')",
        },
        { content: "Open the customer", trigger: ".o_data_row:eq(0) td[name='partner_id']", run: "click" },
        { content: "Its items", trigger: ".o_notebook_headers a[name='items']", run: "click" },
        { content: "Its open items", trigger: ".o_form_view .o_field_widget[name='move_line_ids'] .o_data_row" },
        { content: "Open its proposal", trigger: ".o_statusbar_buttons button[name='action_remind']", run: "click" },
        {
            content: "The proposal lists the invoice",
            trigger: ".o_form_view .o_field_widget[name='line_ids'] .o_data_row:contains('INV')",
        },
        ...openMenu("account_dunning.account_dunning_collections_menu", "account_dunning.account_dunning_notice_menu"),
        { content: "The proposals wait", trigger: ".o_searchview_facet:contains('Proposals')" },
        {
            content: "Drop one",
            trigger: ".o_data_row:contains('Tour Small') button[name='action_cancel']",
            run: "click",
        },
        { content: "It is gone", trigger: ".o_list_view:not(:has(.o_data_row:contains('Tour Small')))" },
        { content: "Take the rest", trigger: "thead .o_list_record_selector input", run: "click" },
        { content: "Send", trigger: ".o_control_panel button[name='action_send']", run: "click" },
        {
            content: "They are on their way",
            trigger: ".o_notification:contains('Reminders on their way: 2')",
        },
        { content: "Nothing is left to review", trigger: ".o_nocontent_help:contains('No reminder waits for you')" },
    ],
});

// Later: what has gone out.
registry.category("web_tour.tours").add("account_dunning_sent", {
    url: "/odoo/dunning-notices",
    steps: () => [
        {
            content: "Look at all notices",
            trigger: ".o_searchview_facet:contains('Proposals') .o_facet_remove",
            run: "click",
        },
        { content: "Sent", trigger: ".o_data_row:contains('Tour Big') .badge:contains('Sent')" },
        { content: "Sent, too", trigger: ".o_data_row:contains('Tour Middle') .badge:contains('Sent')" },
        { content: "Dropped", trigger: ".o_data_row:contains('Tour Small') .badge:contains('Cancelled')" },
        { content: "Open one", trigger: ".o_data_row:contains('Tour Big') td[name='partner_id']", run: "click" },
        { content: "The letter is its evidence", trigger: ".o_field_widget[name='attachment_id']:contains('DUN')" },
        ...openMenu("account_dunning.account_dunning_collections_menu", "account_dunning.account_dunning_followup_menu"),
        { content: "Nothing is left to do today", trigger: ".o_nocontent_help:contains('All done for today')" },
        {
            content: "All customers, not only what is to be done today",
            trigger: ".o_searchview_facet:contains('Today') .o_facet_remove",
            run: "click",
        },
        {
            content: "The customer stands at the level now",
            trigger: ".o_data_row:contains('Tour Big') td[name='level_id']:contains('Level 1')",
        },
        {
            content: "And the next step is known",
            trigger: ".o_data_row:contains('Tour Big') td[name='next_step']:contains('Next: Level 2 on')",
        },
    ],
});
