"""Stripe's objects as its API of version 2026-10-28.endive shows them: every field that is not left out, mostly null.

After the annotations of Stripe's own SDK 16.1, which are generated from its OpenAPI document; a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]


def customer(id: str, now: int, email: str, metadata: Object) -> Object:
    nulls = ("address", "default_source", "description", "discount", "name", "phone", "shipping", "test_clock")
    return {
        "id": id,
        "object": "customer",
        "balance": 0,
        "created": now,
        "currency": None,
        "delinquent": False,
        "email": email,
        "invoice_prefix": id[-8:].upper(),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False,
        "metadata": metadata,
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
        **dict.fromkeys(nulls),
    }


def product(id: str, now: int, name: str) -> Object:
    nulls = ("default_price", "description", "package_dimensions", "shippable", "statement_descriptor", "tax_code")
    return {
        "id": id,
        "object": "product",
        "active": True,
        "created": now,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "type": "service",
        "unit_label": None,
        "updated": now,
        "url": None,
        **dict.fromkeys(nulls),
    }


def price(id: str, now: int, product_id: str, amount: int, currency: str, interval: str) -> Object:
    return {
        "id": id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": now,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product_id,
        "recurring": {
            "interval": interval,
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "exclusive",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def checkout_session(id: str, now: int, asked: Object, url: str) -> Object:
    nulls = (
        *("adaptive_pricing", "after_expiration", "allow_promotion_codes", "amount_subtotal", "amount_total"),
        *("client_secret", "collected_information", "consent", "consent_collection", "currency", "currency_conversion"),
        *("customer_creation", "customer_details", "customer_email", "discounts", "invoice", "invoice_creation"),
        *("locale", "origin_context", "payment_intent", "payment_link", "payment_method_configuration_details"),
        *("permissions", "phone_number_collection", "recovered_from", "redirect_on_completion", "setup_intent"),
        *("shipping_address_collection", "shipping_cost", "submit_type", "subscription", "total_details"),
        *("wallet_options", "billing_address_collection", "tax_id_collection"),
    )
    tax = str(asked.get("automatic_tax", {}).get("enabled")) == "true"
    return {
        **dict.fromkeys(nulls),
        "id": id,
        "object": "checkout.session",
        "automatic_tax": {"enabled": tax, "liability": None, "provider": None, "status": None},
        "billing_address_collection": asked.get("billing_address_collection"),
        "cancel_url": asked.get("cancel_url"),
        "client_reference_id": asked.get("client_reference_id"),
        "created": now,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": asked["customer"],
        "expires_at": now + 86_400,
        "livemode": False,
        "metadata": {},
        "mode": asked["mode"],
        "payment_method_collection": "always",
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "saved_payment_method_options": None,
        "shipping_options": [],
        "status": "open",
        "success_url": asked["success_url"],
        "ui_mode": "hosted_page",
        "url": url,
    }


def portal_session(id: str, now: int, asked: Object, url: str) -> Object:
    return {
        "id": id,
        "object": "billing_portal.session",
        "configuration": "bpc_1",
        "created": now,
        "customer": asked["customer"],
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": asked.get("return_url"),
        "url": url,
    }


def subscription(id: str, now: int, ends: int, customer_id: str, price: Object, metadata: Object) -> Object:
    nulls = (
        *("application", "application_fee_percent", "billing_cycle_anchor_config", "billing_thresholds", "cancel_at"),
        *("canceled_at", "customer_account", "days_until_due", "default_payment_method", "default_source"),
        *("description", "ended_at", "latest_invoice", "next_pending_invoice_item_invoice", "on_behalf_of"),
        *("pause_collection", "pending_invoice_item_interval", "pending_setup_intent", "pending_update", "schedule"),
        *("test_clock", "transfer_data", "trial_end", "trial_settings", "trial_start"),
    )
    return {
        **dict.fromkeys(nulls),
        "id": id,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_mode": {"flexible": None, "type": "classic"},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": price["currency"],
        "customer": customer_id,
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": listed([_item(f"si_{id[4:]}", now, ends, id, price)], f"/v1/subscription_items?subscription={id}"),
        "livemode": False,
        "metadata": metadata,
        "payment_settings": {"payment_method_types": None, "save_default_payment_method": "off"},
        "start_date": now,
        "status": "active",
    }


def _item(id: str, now: int, ends: int, subscription_id: str, price: Object) -> Object:
    # Periods are the items' own since 2025-03-31.basil (docs.stripe.com/changelog/basil).
    return {
        "id": id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": ends,
        "current_period_start": now,
        "discounts": [],
        "metadata": {},
        "plan": {"id": price["id"], "object": "plan"},
        "price": price,
        "quantity": 1,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def invoice(id: str, now: int, number: str, subscription: Object, amount: int, status: str) -> Object:
    nulls = (
        *("account_country", "account_name", "account_tax_ids", "application", "automatically_finalizes_at"),
        *("custom_fields", "customer_account", "customer_address", "customer_email", "customer_name"),
        *("customer_phone", "customer_shipping", "default_payment_method", "default_source", "description"),
        *("due_date", "ending_balance", "footer", "from_invoice", "hosted_invoice_url", "invoice_pdf"),
        *("last_finalization_error", "latest_revision", "next_payment_attempt", "on_behalf_of", "receipt_number"),
        *("rendering", "shipping_cost", "shipping_details", "statement_descriptor", "subtotal_excluding_tax"),
        *("test_clock", "threshold_reason", "total_excluding_tax", "webhooks_delivered_at"),
    )
    paid = amount if status == "paid" else 0
    details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    return {
        **dict.fromkeys(nulls),
        "id": id,
        "object": "invoice",
        "amount_due": amount,
        "amount_overpaid": 0,
        "amount_paid": paid,
        "amount_remaining": amount - paid,
        "amount_shipping": 0,
        "attempt_count": 1,
        "attempted": True,
        "auto_advance": status == "open",
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "billing_reason": "subscription_create",
        "collection_method": "charge_automatically",
        "created": now,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "effective_at": now,
        "issuer": {"type": "self"},
        "lines": listed([], f"/v1/invoices/{id}/lines"),
        "livemode": False,
        "metadata": {},
        "number": number,
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"},
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "status": status,
        "status_transitions": {
            "finalized_at": now,
            "marked_uncollectible_at": None,
            "paid_at": now if paid else None,
            "voided_at": None,
        },
        "subtotal": amount,
        "total": amount,
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }


def invoice_payment(id: str, now: int, invoice: Object, intent: str) -> Object:
    return {
        "id": id,
        "object": "invoice_payment",
        "amount_paid": invoice["amount_paid"],
        "amount_requested": invoice["amount_due"],
        "created": now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "paid" if invoice["amount_paid"] else "open",
        "status_transitions": {"canceled_at": None, "paid_at": now if invoice["amount_paid"] else None},
    }


def charge(id: str, now: int, invoice: Object, intent: str) -> Object:
    nulls = (
        *("application", "application_fee", "application_fee_amount", "balance_transaction", "description"),
        *("calculated_statement_descriptor", "failure_balance_transaction", "failure_code", "failure_message"),
        *("fraud_details", "on_behalf_of", "outcome", "payment_method", "payment_method_details", "radar_options"),
        *("receipt_email", "receipt_number", "receipt_url", "review", "shipping", "source", "source_transfer"),
        *("statement_descriptor", "statement_descriptor_suffix", "transfer", "transfer_data", "transfer_group"),
    )
    return {
        **dict.fromkeys(nulls),
        "id": id,
        "object": "charge",
        "amount": invoice["total"],
        "amount_captured": invoice["total"],
        "amount_refunded": 0,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "captured": True,
        "created": now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": intent,
        "refunded": False,
        "status": "succeeded",
    }


def refund(id: str, now: int, charge: Object, reason: str | None) -> Object:
    nulls = (
        *("balance_transaction", "destination_details", "failure_balance_transaction", "payment_method"),
        *("pending_reason", "receipt_number", "source_transfer_reversal", "transfer_reversal"),
    )
    return {
        **dict.fromkeys(nulls),
        "id": id,
        "object": "refund",
        "amount": charge["amount"],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": "succeeded",
    }


def dispute(id: str, now: int, charge: Object, reason: str) -> Object:
    return {
        "id": id,
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {"due_by": now + 604_800, "has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": None,
        "reason": reason,
        "status": "needs_response",
    }


def event(id: str, now: int, type: str, about: Object, api_version: str) -> Object:
    return {
        "id": id,
        "object": "event",
        "api_version": api_version,
        "created": now,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type,
    }


def listed(data: Sequence[Object], url: str, *, more: bool = False) -> Object:
    return {"object": "list", "data": list(data), "has_more": more, "url": url}
