import { registry } from "@web/core/registry";

// The order and the customer's limit are made by the Python test.
registry.category("web_tour.tours").add("account_dunning_sign_held_order", {
    steps: () => [
        {
            content: "Wait for interactions to load",
            trigger: "body[is-ready=true]",
        },
        {
            content: "Accept & Sign",
            trigger: ".o_portal_sale_sidebar .btn-primary[data-bs-target='#modalaccept']",
            run: "click",
        },
        {
            content: "Fill the name",
            trigger: ".modal .o_web_sign_name_and_signature input",
            run: "edit Ann Miller",
        },
        {
            trigger: ".modal canvas.o_web_sign_signature",
            run: "canvasNotEmpty",
        },
        {
            content: "Sign",
            trigger: ".modal .o_portal_sign_submit:enabled",
            run: "click",
            expectUnloadPage: true,
        },
        {
            content: "A friendly page, no error",
            trigger: "#quote_content:contains(Thank You):contains(Your order has been signed.)",
        },
        {
            content: "The order is being reviewed",
            trigger: ".o_credit_review:contains(We have received your order and are reviewing it.)",
        },
        {
            content: "There is nothing left to do for the customer",
            trigger: "body:not(:has([data-bs-target='#modalaccept']))",
        },
    ],
});

registry.category("web_tour.tours").add("account_dunning_pay_held_order", {
    steps: () => [
        {
            content: "Wait for interactions to load",
            trigger: "body[is-ready=true]",
        },
        {
            content: "Accept & Pay",
            trigger: ".o_portal_sale_sidebar #o_sale_portal_paynow",
            run: "click",
        },
        {
            content: "Demo payment",
            trigger: ".modal.show input[name='customer_input']",
            run: "edit 4242424242424242",
        },
        {
            content: "Pay",
            trigger: ".modal.show button[name='o_payment_submit_button']:not(:disabled)",
            run: "click",
            expectUnloadPage: true,
        },
        {
            content: "Back on the order, which is being reviewed",
            trigger: ".o_credit_review:contains(We have received your order and are reviewing it.)",
            timeout: 30000,
        },
        {
            content: "The payment is kept",
            trigger: ".o_portal_sale_sidebar:contains(Amount paid)",
        },
        {
            content: "Nothing asks to pay again",
            trigger: "body:not(:has(#o_sale_portal_paynow))",
        },
    ],
});

registry.category("web_tour.tours").add("account_dunning_pay_order", {
    steps: () => [
        {
            content: "Wait for interactions to load",
            trigger: "body[is-ready=true]",
        },
        {
            content: "Accept & Pay",
            trigger: ".o_portal_sale_sidebar #o_sale_portal_paynow",
            run: "click",
        },
        {
            content: "Demo payment",
            trigger: ".modal.show input[name='customer_input']",
            run: "edit 4242424242424242",
        },
        {
            content: "Pay",
            trigger: ".modal.show button[name='o_payment_submit_button']:not(:disabled)",
            run: "click",
            expectUnloadPage: true,
        },
        {
            content: "The order is confirmed, nobody reviews it",
            trigger: "#introduction:contains(Sales Order)",
            timeout: 30000,
        },
        {
            trigger: "body:not(:has(.o_credit_review))",
        },
    ],
});
