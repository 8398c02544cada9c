"""The plain page at `/`: that Metrion runs, and the two values to change."""

from __future__ import annotations

import base64
import hashlib
from html import escape

_STYLE = """
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 20px; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid #8884; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_BASE_URLS = (
    ("Anthropic", "/api/proxy"),
    ("OpenAI", "/api/proxy/openai/v1"),
    ("Gemini", "/api/proxy/gemini/v1"),
    ("Mistral", "/api/proxy/mistral/v1"),
    ("Grok", "/api/proxy/grok/v1"),
)


def status_page(base: str) -> bytes:
    """The page for a Metrion reached at `base`, an origin."""
    rows = "".join(
        f"<tr><th scope=row>{name}</th><td><code>{escape(base + path)}</code></td></tr>" for name, path in _BASE_URLS
    )
    return f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">
<title>Metrion</title>
<style>{_STYLE}</style>
<h1>Metrion is running</h1>
<p>Change two values in the SDK you use: the base URL to the one below, and the API key to your Metrion key
(<code>metrion account create you@example.com</code>).
Each call then appears in <code>metrion logs</code> with its tokens and cost.</p>
<table><thead><tr><th scope=col>Provider</th><th scope=col>Base URL</th></tr></thead>
<tbody>{rows}</tbody></table>
</html>""".encode()
