"""Assets are served by content, the foreign ones are what their manifest says, and the colours can be read."""

from __future__ import annotations

import gzip
import hashlib
import re
import tomllib
from pathlib import Path

import brotli
import pytest

from metrion.web.assets import Assets

STATIC = Path(__file__).parents[2] / "metrion/web/static"
TEMPLATES = STATIC.parent / "templates"
BUDGET = 40_000  # bytes of a first load, compressed; the issue allows 150,000


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets(STATIC)


def header(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return dict(headers).get(name)


# ── Serving ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_carries_the_hash_of_its_content(assets: Assets) -> None:
    digest = hashlib.sha256((STATIC / "app.css").read_bytes()).hexdigest()
    assert assets.url("app.css") == f"/static/app.{digest[:8]}.css"
    assert re.fullmatch(r"/static/vendor/oat\.min\.[0-9a-f]{8}\.css", assets.url("vendor/oat.min.css"))


@pytest.mark.parametrize(
    ("asked", "coding"),
    [
        ("gzip, deflate, br, zstd", b"br"),
        ("gzip", b"gzip"),
        ("br;q=0, gzip;q=0.5", b"gzip"),
        ("GZIP;q=1.0", b"gzip"),
        ("br;q=0.0", None),
        ("identity", None),
        ("", None),
    ],
)
def test_the_coding_is_one_that_was_asked_for(assets: Assets, asked: str, coding: bytes | None) -> None:
    found = assets.get(assets.url("app.css"), asked)
    assert found
    body, headers = found
    read = {b"br": brotli.decompress, b"gzip": gzip.decompress, None: bytes}[coding]
    assert read(body) == (STATIC / "app.css").read_bytes()
    assert header(headers, b"content-encoding") == coding
    assert header(headers, b"vary") == b"accept-encoding"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("app.css", b"text/css"), ("vendor/htmx.min.js", b"text/javascript"), ("favicon.svg", b"image/svg+xml")],
)
def test_an_asset_is_kept_for_a_year_and_not_guessed_at(assets: Assets, name: str, kind: bytes) -> None:
    found = assets.get(assets.url(name), "")
    assert found
    headers = found[1]
    assert header(headers, b"cache-control") == b"public, max-age=31536000, immutable"
    assert header(headers, b"x-content-type-options") == b"nosniff"
    assert (header(headers, b"content-type") or b"").startswith(kind)


@pytest.mark.parametrize(
    "path",
    [
        "/static/app.css",
        "/static/app.00000000.css",
        "/static/gone.12345678.css",
        "/static/vendor/manifest.toml",
        "/static/vendor/oat.LICENSE",
        "/static/../render.py",
        "/static/",
    ],
)
def test_anything_else_is_not_served(assets: Assets, path: str) -> None:
    assert assets.get(path, "br") is None


def test_a_page_cannot_name_what_is_not_there(assets: Assets) -> None:
    with pytest.raises(KeyError):
        assets.url("app.cs")


def test_a_changed_file_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a{}")
    before = Assets(tmp_path).url("a.css")
    (tmp_path / "a.css").write_text("b{}")
    assert Assets(tmp_path).url("a.css") != before


def test_a_first_load_is_small(assets: Assets) -> None:
    head = (TEMPLATES / "base.html").read_text()
    sizes = [len(assets.get(assets.url(name), "br")[0]) for name in re.findall(r'asset\("([^"]+)"\)', head)]  # type: ignore[index]
    assert len(sizes) >= 6
    assert sum(sizes) < BUDGET


# ── Foreign files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_foreign_files_are_as_listed() -> None:
    folder = STATIC / "vendor"
    listed = tomllib.loads((folder / "manifest.toml").read_text())["file"]
    for file in listed:
        assert hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest() == file["sha256"], file["name"]
        assert "WARRANT" in (folder / file["licence_file"]).read_text()
        assert file["version"] and file["source"] and file["licence"]
    known = {"manifest.toml"} | {name for file in listed for name in (file["name"], file["licence_file"])}
    assert {path.name for path in folder.iterdir()} == known


def test_nothing_is_fetched_from_elsewhere() -> None:
    ours = [path for path in (*STATIC.rglob("*"), *TEMPLATES.rglob("*")) if path.suffix in (".css", ".html", ".svg")]
    assert ours
    for path in ours:
        loads = re.findall(r"""(?:src|href|url|@import)[=(\s"']+((?:https?:)?//[^"')\s]+)""", path.read_text())
        foreign = [link for link in loads if not re.search(r"<a[^>]*" + re.escape(link), path.read_text())]
        assert foreign == [], path.name
