"""The hot path: from a client's socket to the provider's, bytes untouched. Read `handler.py` for a call's way.

front      a client's connection: requests in, answers out; pages leave here for uvicorn
exchange   one request and its answer on their way through (handler.py)
target     where a path leads: provider, endpoint, upstream path
refusal    an answer of Metrion's own, in the shape of the API that was called
upstream   keep-alive connections to the providers; the only HTTP to a provider
"""
