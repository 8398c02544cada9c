"""Templates: one Jinja2 environment with what every page may use."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from metrion.kit.clock import iso
from metrion.web import figures
from metrion.web.assets import Assets

STATIC = Path(__file__).parent / "static"
_FOLDER = Path(__file__).parent / "templates"


def make_templates(assets: Assets) -> Environment:
    """The environment; a name that a page was not given is an error, not an empty place."""
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.globals["asset"] = assets.url
    templates.filters |= {
        "money": figures.money,
        "call_money": figures.call_money,
        "exact_usd": figures.exact_usd,
        "count": figures.count,
        "duration": figures.duration,
        "percent": figures.percent,
        "moment": figures.moment,
        "day": figures.day,
        "ago": figures.ago,
        "iso": iso,
    }
    return templates
