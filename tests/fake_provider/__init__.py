"""A provider that misbehaves on request. Read `script.py` first.

The script of an answer travels in the request (header `x-fake`, one JSON object), so one server serves all tests.
"""

from tests.fake_provider.script import Script
from tests.fake_provider.server import FakeProvider, Seen

__all__ = ["FakeProvider", "Script", "Seen"]
