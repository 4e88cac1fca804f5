import * as Chrome from "@point_of_sale/../tests/pos/tours/utils/chrome_util";
import * as Dialog from "@point_of_sale/../tests/generic_helpers/dialog_util";
import * as OfflineUtil from "@point_of_sale/../tests/generic_helpers/offline_util";
import * as PaymentScreen from "@point_of_sale/../tests/pos/tours/utils/payment_screen_util";
import * as ProductScreen from "@point_of_sale/../tests/pos/tours/utils/product_screen_util";
import * as ReceiptScreen from "@point_of_sale/../tests/pos/tours/utils/receipt_screen_util";
import { registry } from "@web/core/registry";

function sell(quantity) {
    return [
        ProductScreen.addOrderline("Article", quantity),
        ProductScreen.clickPartnerButton(),
        ProductScreen.clickCustomer("Debtor"),
    ];
}

registry.category("web_tour.tours").add("account_dunning_pos.refused", {
    steps: () =>
        [
            Chrome.startPoS(),
            Dialog.confirm("Open Register"),
            ...sell("2"),
            ProductScreen.clickPayButton(),
            PaymentScreen.clickPaymentMethod("On account"),
            PaymentScreen.clickValidate(),
            Dialog.bodyIs("Debtor can't buy on account now"),
            Dialog.confirm(),
            PaymentScreen.clickPaymentlineDelButton("On account", "120.00"),
            PaymentScreen.clickPaymentMethod("Cash"),
            PaymentScreen.clickValidate(),
            ReceiptScreen.isShown(),
        ].flat(),
});

registry.category("web_tour.tours").add("account_dunning_pos.offline", {
    steps: () =>
        [
            Chrome.startPoS(),
            Dialog.confirm("Open Register"),
            ...sell("2"),
            OfflineUtil.setOfflineMode(),
            ProductScreen.clickPayButton(),
            PaymentScreen.clickPaymentMethod("On account"),
            PaymentScreen.clickValidate(),
            Dialog.confirm("Continue with limited functionality"),
            ReceiptScreen.isShown(),
            OfflineUtil.setOnlineMode(),
            {
                content: "The till sends the order by itself",
                trigger: "body",
                run: async () => {
                    window.dispatchEvent(new CustomEvent("pos-network-online"));
                    const isSent = () =>
                        posmodel.models["pos.order"].some(
                            (order) => order.state === "paid" && order.isSynced
                        );
                    for (let tries = 0; tries < 40 && !isSent(); tries++) {
                        await new Promise((resolve) => setTimeout(resolve, 200));
                    }
                    if (!isSent()) {
                        throw new Error("The order has not been sent");
                    }
                },
            },
            Chrome.isSynced(),
        ].flat(),
});
