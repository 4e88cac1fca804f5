import { registry } from "@web/core/registry";

// Opened on the customer's form; the data is created by the Python test.
registry.category("web_tour.tours").add("account_dunning_log_call_and_plan", {
    steps: () => [
        {
            content: "open the actions of the customer",
            trigger: ".o_cp_action_menus button:has(.fa-cog)",
            run: "click",
        },
        {
            content: "log a call",
            trigger: ".o-dropdown--menu .o_menu_item:contains('Log a call about open invoices')",
            run: "click",
        },
        {
            content: "the customer can't pay at once",
            trigger: ".modal .o_field_widget[name=outcome] input[data-value='plan']",
            run: "click",
        },
        {
            content: "note what was said",
            trigger: ".modal .o_field_widget[name=note] textarea",
            run: "edit Lost a big customer, can pay monthly",
        },
        {
            content: "log it and go on to the plan",
            trigger: ".modal button[name=action_log]:visible:contains('payment plan')",
            run: "click",
        },
        {
            content: "three installments",
            trigger: ".modal .o_field_widget[name=number] input",
            run: "edit 3 && press Tab",
        },
        {
            content: "the preview follows: the last takes the rest",
            trigger: ".modal .o_field_widget[name=line_ids] .o_data_row:eq(2) td[name=amount]:contains('333.34')",
        },
        {
            content: "make the plan",
            trigger: ".modal button[name=action_make]:visible",
            run: "click",
        },
        {
            content: "offer it",
            trigger: ".o_form_view button[name=action_offer]",
            run: "click",
        },
        {
            content: "the e-mail with the agreement opens",
            trigger: ".modal .o_mail_composer_form_view, .modal .o_mail_composer_form",
        },
        {
            content: "wait for the attached agreement",
            trigger: ".modal .o_field_widget[name=attachment_ids]:contains('Payment plan')",
        },
        {
            content: "send it",
            trigger: ".modal button[name=action_send_mail]",
            run: "click",
        },
        {
            content: "the plan is on offer",
            trigger: ".o_form_view .o_statusbar_status button.o_arrow_button_current:contains('Offered')",
        },
    ],
});

registry.category("web_tour.tours").add("account_dunning_sign_plan", {
    url: "/my/payment_plans",
    steps: () => [
        {
            content: "open the plan",
            trigger: "table.o_portal_my_doc_table a:contains('PLAN/')",
            run: "click",
            expectUnloadPage: true,
        },
        {
            content: "sign",
            trigger: ".o_portal_payment_plan_sidebar a:contains('Accept & Sign')",
            run: "click",
        },
        {
            content: "clear the name",
            trigger: ".modal .o_web_sign_name_and_signature input",
            run: "clear",
        },
        {
            content: "nobody can sign without a name",
            trigger: ".modal .o_portal_sign_submit:disabled",
        },
        {
            content: "write the name",
            trigger: ".modal .o_web_sign_name_and_signature input",
            run: "fill Joel Willis",
        },
        {
            trigger: ".modal canvas.o_web_sign_signature",
            run: "canvasNotEmpty",
        },
        {
            content: "submit",
            trigger: ".modal .o_portal_sign_submit:enabled",
            run: "click",
            expectUnloadPage: true,
        },
        {
            content: "signed",
            trigger: "#payment_plan_content:contains('Thank You')",
        },
        {
            content: "the schedule is there, with what is paid",
            trigger: "table[name=payment_plan_schedule] tbody tr:eq(2):contains('333.34')",
        },
        {
            content: "the page says what comes next",
            trigger: "[name=payment_plan_next]:contains('333.33')",
        },
    ],
});

registry.category("web_tour.tours").add("account_dunning_no_plan", {
    url: "/my/payment_plans",
    steps: () => [
        {
            content: "nothing to see",
            trigger: ".alert-warning:contains('no payment plans')",
        },
    ],
});

registry.category("web_tour.tours").add("account_dunning_pay_installment", {
    steps: () => [
        {
            content: "wait for interactions to load",
            trigger: "body[is-ready=true]",
        },
        {
            content: "the next installment is what one pays",
            trigger: "[name=payment_plan_next]:contains('333.33')",
        },
        {
            trigger: ".o_portal_payment_plan_sidebar a:contains('Pay now')",
            run: "click",
        },
        {
            content: "demo payment",
            trigger: ".modal.show input[name='customer_input']",
            run: "edit 4242424242424242",
        },
        {
            trigger: ".modal.show button[name='o_payment_submit_button']:not(:disabled)",
            run: "click",
            expectUnloadPage: true,
        },
        {
            content: "back on the plan: one installment is paid",
            trigger: "[name=payment_plan_progress]:contains('333.33'):contains('666.67')",
            timeout: 30000,
        },
        {
            trigger: "table[name=payment_plan_schedule] tbody tr:eq(0).text-muted",
        },
    ],
});
