"""Metrion: a drop-in proxy for LLM APIs that records what every call cost. Read `call.py` first."""

__version__ = "0.1.0"
