"""WHO calls: accounts, their Metrion keys, and the provider keys they stored.

token        a Metrion key: sk-metrion- and 32 hex digits; kept as an HMAC to find it by and sealed to show it again
vault        seals and opens under the master key, which lies outside the database
registry     every account in memory: what the hot path asks
operations   what changes an account; run inside one write transaction
"""
