"""Where Stripe is not configured, its SDK is not loaded: it takes a third of a second, and nobody needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT

_PROGRAM = """
import sys
from pathlib import Path
import metrion.app, metrion.__main__
from metrion.billing.connect import connect
from metrion.config import Settings
from metrion.kit.secrets import Secret
found = connect(Settings(data_dir=Path("unused"), {settings}))
print(found is not None, "stripe" in sys.modules)
"""


@pytest.mark.parametrize(
    ("settings", "loaded"),
    [("", False), ('stripe_secret_key=Secret("sk_test_0"), stripe_price_id="price_0"', True)],
    ids=["without", "with"],
)
def test_the_sdk_is_loaded_where_it_is_needed(settings: str, *, loaded: bool) -> None:
    program = _PROGRAM.format(settings=settings)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{loaded} {loaded}\n", "")
