import OrderPaymentValidation from "@point_of_sale/app/utils/order_payment_validation";
import { ConnectionLostError } from "@web/core/network/rpc";
import { patch } from "@web/core/utils/patch";

patch(OrderPaymentValidation.prototype, {
    handleValidationError(error) {
        if (error instanceof ConnectionLostError) {
            // The sale stands. The server gets to know why it was not asked.
            this.order.sold_offline = true;
        }
        return super.handleValidationError(error);
    },
});
