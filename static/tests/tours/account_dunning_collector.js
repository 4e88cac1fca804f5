import { registry } from "@web/core/registry";

const row = (customer) => `.o_data_row:contains('${customer}')`;

// The collector's morning: from Today, at most two clicks to each thing to do; at the end Today is empty.
registry.category("web_tour.tours").add("account_dunning_collector", {
    url: "/odoo/follow-up",
    steps: () => [
        { content: "It opens on today's work", trigger: ".o_searchview_facet:contains('Today')" },
        { content: "Most money × days first", trigger: ".o_data_row:eq(0):contains('Tour Big'):contains('Call')" },
        { content: "Call the first", trigger: `${row("Tour Big")} button[name='action_log_call']`, run: "click" },
        { content: "What is open stands beside", trigger: ".modal .o_dunning_call_sheet:contains('days late')" },
        { content: "Nobody answers", trigger: ".modal .o_radio_item:contains('No answer') input", run: "click" },
        { content: "Log it", trigger: ".modal footer button[name='action_log']", run: "click" },
        { content: "It comes again on another day", trigger: `.o_list_view:not(:has(${row("Tour Big")}))` },
        { content: "Call the next", trigger: `${row("Tour Middle")} button[name='action_log_call']`, run: "click" },
        { content: "They will pay", trigger: ".modal .o_radio_item:contains('Will pay') input", run: "click" },
        { content: "Log it", trigger: ".modal footer button[name='action_log']", run: "click" },
        { content: "Done", trigger: `.o_list_view:not(:has(${row("Tour Middle")}))` },
        { content: "Each action", trigger: `${row("Tour Small")} .o_dunning_actions button`, run: "click" },
        { content: "Is two clicks from here", trigger: ".o-dropdown-item[name='action_dispute']", run: "click" },
        { content: "Of an invoice", trigger: ".modal .o_field_widget[name='move_id'] input:value(INV)" },
        { content: "Not now", trigger: ".modal .o_form_button_cancel", run: "click" },
        { content: "Open the workspace", trigger: `${row("Tour Small")} td[name='partner_id']`, run: "click" },
        {
            content: "The life of the account",
            trigger: ".o_field_widget[name='history_ids'] .o_data_row:contains('Invoice')",
        },
        { content: "What is rarer", trigger: ".o_statusbar_buttons .o_dunning_actions button", run: "click" },
        { content: "Is one click further", trigger: ".o-dropdown-item[name='action_case']" },
        { content: "Log a call from here", trigger: "button[name='action_log_call']", run: "click" },
        { content: "Something else", trigger: ".modal .o_radio_item:contains('Something else') input", run: "click" },
        { content: "Log it", trigger: ".modal footer button[name='action_log']", run: "click" },
        { content: "The dialog is gone", trigger: "body:not(:has(.modal))" },
        { content: "Back", trigger: ".o_back_button, .breadcrumb-item a", run: "click" },
        { content: "All done", trigger: ".o_nocontent_help:contains('All done for today')" },
    ],
});

const card = (customer) => `.o_kanban_record:contains('${customer}')`;
const menuOf = (customer, action) => [
    { content: "All that can be done", trigger: `${card(customer)} .o_dunning_actions button`, run: "click" },
    { content: "Choose", trigger: `.o-dropdown-item[name='${action}']`, run: "click" },
];
const log = [
    { content: "Log it", trigger: ".modal footer button[name='action_log']", run: "click" },
    { content: "The dialog is gone", trigger: "body:not(:has(.modal))" },
];

// The same on a telephone: the calls of Today, one after the other, until none is left.
registry.category("web_tour.tours").add("account_dunning_collector_phone", {
    url: "/odoo/follow-up",
    steps: () => [
        { content: "Cards, the most money × days first", trigger: `.o_kanban_record:eq(0):contains('Tour Big')` },
        { content: "A tap on the number calls", trigger: `${card("Tour Big")} a[href='tel:+32 9 123']` },
        { content: "Log the call", trigger: `${card("Tour Big")} button[name='action_log_call']`, run: "click" },
        { content: "What is open stands beside", trigger: ".modal .o_dunning_call_sheet:contains('days late')" },
        { content: "Nobody answers", trigger: ".modal .o_radio_item:contains('No answer') input", run: "click" },
        ...log,
        { content: "It comes again on another day", trigger: `.o_kanban_view:not(:has(${card("Tour Big")}))` },
        { content: "The next", trigger: `${card("Tour Middle")} button[name='action_log_call']`, run: "click" },
        { content: "They will pay", trigger: ".modal .o_radio_item:contains('Will pay') input:checked" },
        ...log,
        { content: "Done", trigger: `.o_kanban_view:not(:has(${card("Tour Middle")}))` },
        ...menuOf("Tour Small", "action_pause"),
        { content: "A pause is two taps away", trigger: ".modal .o_field_widget[name='date_until']" },
        { content: "Not now", trigger: ".modal .o_form_button_cancel, .modal .btn-close, .modal .oi-arrow-left", run: "click" },
        { content: "The dialog is gone", trigger: "body:not(:has(.modal))" },
        ...menuOf("Tour Small", "action_dispute"),
        { content: "So is a dispute", trigger: ".modal .o_field_widget[name='move_id'] input" },
        { content: "Not now", trigger: ".modal .o_form_button_cancel, .modal .btn-close, .modal .oi-arrow-left", run: "click" },
        { content: "The dialog is gone", trigger: "body:not(:has(.modal))" },
        { content: "The workspace", trigger: `${card("Tour Small")} .fw-bold:contains('Tour Small')`, run: "click" },
        { content: "The life of the account", trigger: ".o_form_view .o_field_widget[name='history_ids']:contains('Invoice')" },
        { content: "All buttons", trigger: ".o_statusbar_buttons button[title='More']", run: "click" },
        { content: "Those behind More, too", trigger: ".o-dropdown--menu button[name='action_late_charges']" },
        { content: "Close them", trigger: ".o_form_view .o_form_sheet", run: "press Escape" },
        { content: "Log a call from here", trigger: "button[name='action_log_call']", run: "click" },
        { content: "They were reached", trigger: ".modal .o_radio_item:contains('Something else') input", run: "click" },
        ...log,
        { content: "Back", trigger: ".o_back_button, .breadcrumb-item a", run: "click" },
        { content: "All done", trigger: ".o_nocontent_help:contains('All done for today')" },
    ],
});
