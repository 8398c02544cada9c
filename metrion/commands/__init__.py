"""The commands: what a person types. Each module holds one, as `app`; `metrion.__main__` lists them.

They say what they did on standard output, raise MetrionError for what cannot be done, and work beside a running server.
"""
