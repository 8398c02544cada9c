"""Pro, paid for with Stripe: optional, and all of it optional by configuration.

customer     what Stripe knows an account by; made when its owner first goes to pay
standing     what a customer's subscriptions amount to now: paid or not, until when, and which are too many
refresh      asking Stripe for the state of a customer and making the account's plan what that says: all ways lead there
event        what Stripe tells by webhook: only that something happened, for the order of events says nothing
reversal     a refund or a dispute; it changes no plan, and the operator sees it
closure      the customer of a deleted account, until Stripe has ended what it pays for and forgotten it
reconcile    refreshing everybody, every night and on demand

Only `stripe` speaks to Stripe; it is loaded where Stripe is configured (`connect`).
"""
