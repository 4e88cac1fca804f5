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
        { content: "Open the workspace", trigger: `${row("Tour Small")} td[name='partner_id']`, run: "click" },
        {
            content: "The life of the account",
            trigger: ".o_field_widget[name='history_ids'] .o_data_row:contains('Invoice')",
        },
        { content: "Log a call from here", trigger: "button[name='action_log_call']", run: "click" },
        { content: "Something else", trigger: ".modal .o_radio_item:contains('Something else') input", run: "click" },
        { content: "Log it", trigger: ".modal footer button[name='action_log']", run: "click" },
        { content: "The dialog is gone", trigger: "body:not(:has(.modal))" },
        { content: "Back", trigger: ".o_back_button, .breadcrumb-item a", run: "click" },
        { content: "All done", trigger: ".o_nocontent_help:contains('All done for today')" },
    ],
});
