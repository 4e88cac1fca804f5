import { _t } from "@web/core/l10n/translation";
import { Dropdown } from "@web/core/dropdown/dropdown";
import { DropdownItem } from "@web/core/dropdown/dropdown_item";
import { registry } from "@web/core/registry";
import { user } from "@web/core/user";
import { pick } from "@web/core/utils/objects";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";
import { Component, onWillStart } from "@odoo/owl";

// What can be done about a customer, in the order of how often it is.
const ACTIONS = [
    { name: "action_promise", label: _t("Promise to pay") },
    { name: "action_dispute", label: _t("Dispute") },
    { name: "action_plan", label: _t("Payment plan") },
    { name: "action_pause", label: _t("Pause") },
    { name: "action_remind", label: _t("Remind"), onRow: ({ reason }) => ["due", "pending"].includes(reason) },
    { name: "action_register_payment", label: _t("Register payment"), onRow: ({ amount_total }) => amount_total > 0 },
    { name: "action_send_statements", label: _t("Send statement") },
    { name: "action_print_statements", label: _t("Print statement") },
    { name: "action_late_charges", label: _t("Late charges") },
    { name: "action_case", label: _t("Hand over") },
    { name: "action_assign", label: _t("Assign") },
];

/**
 * The actions on a customer of the follow-up behind one button: on a row of Today, on a card, and in the workspace
 * (there without those that stand beside it as buttons; on a phone Odoo puts all buttons behind one itself).
 */
export class FollowupActions extends Component {
    static template = "account_dunning.FollowupActions";
    static components = { Dropdown, DropdownItem };
    static props = { ...standardWidgetProps, inHeader: { type: Boolean, optional: true } };

    setup() {
        // A list knows no groups on its widgets. Who only reads has nothing to do here.
        onWillStart(async () => {
            this.mayAct = await user.hasGroup("account.group_account_invoice");
        });
    }

    get actions() {
        return ACTIONS.filter((action) => !action.onRow || (!this.props.inHeader && action.onRow(this.props.record.data)));
    }

    get isFlat() {
        return this.props.inHeader && this.env.isSmall;
    }

    run(action) {
        this.env.onClickViewButton({
            clickParams: { name: action.name, type: "object" },
            getResParams: () =>
                pick(this.props.record, "context", "evalContext", "resModel", "resId", "resIds"),
        });
    }
}

registry.category("view_widgets").add("dunning_followup_actions", {
    component: FollowupActions,
    extractProps: ({ attrs }) => ({ inHeader: attrs.mode === "header" }),
    fieldDependencies: [
        { name: "reason", type: "selection" },
        { name: "amount_total", type: "monetary" },
    ],
});
