"""WHO calls: accounts, their Metrion keys, the provider keys they stored, and how people come to their account.

token        a Metrion key: sk-metrion- and 32 hex digits; kept as an HMAC to find it by and sealed to show it again
vault        seals and opens under the master key, which lies outside the database
registry     every account in memory: what the hot path asks
session      somebody signed in with one browser, by a cookie
code         six digits that went to an address and come back
link         an address that works once: to sign in, to accept an invitation, to claim the operator's place
operator     an account that may see all accounts, and nothing of what they recorded
people       what they do with their account, by pages
plan         what an account may do, and for how long its rows are kept
deletion     how an account ends; export: everything that is kept of it, for its owner
operations   what commands do with accounts; run inside one write transaction
"""
