"""The JSON API under /api/v1: what the pages show, for programs. It only reads.

reader    the account whose figures are asked for: by its Metrion key (Bearer), or by the session of who is signed in
problem   why there is no answer, as application/problem+json (RFC 9457)
asked     range and filters of an address, as the pages have them; here, what is not understood is refused

access.py finds the reader and answers; asked.py reads addresses; logs.py, usage.py and latency.py answer them;
openapi.py describes all of it.
"""
