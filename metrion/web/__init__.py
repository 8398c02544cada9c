"""Pages and their JSON; everything on the listener that is not proxied.

route    a URL and the function that answers it; every one stands in routes.py
"""
