"""Settings: where they come from, what wins, and the one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.config import TYPES, Settings, load_settings
from metrion.errors import ConfigError
from metrion.kit.secrets import Secret


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in TYPES:
        monkeypatch.delenv(f"METRION_{name.upper()}", raising=False)
    monkeypatch.delenv("METRION_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    yield


def refusal(**overrides: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(**overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_defaults_are_those_of_the_spec() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8000, Path("metrion-data"))
    assert (settings.upstream_timeout, settings.rate_limit_per_minute, settings.free_monthly_requests) == (
        30,
        100,
        10000,
    )
    assert (settings.max_body_bytes, settings.shutdown_grace, settings.durability) == (104_857_600, 30, "normal")
    assert (settings.first_plan, settings.on_client_gone, settings.cors_origins) == ("pro", "cancel", ())


def test_flags_win_over_the_environment_and_the_environment_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("metrion.toml").write_text('port = 1001\nhost = "127.0.0.2"\nregion = "eu"\n')
    assert load_settings().port == 1001
    monkeypatch.setenv("METRION_PORT", "1002")
    assert load_settings().port == 1002
    settings = load_settings(port=1003, host=None)
    assert (settings.port, settings.host, settings.region) == (1003, "127.0.0.2", "eu")


def test_the_file_may_lie_elsewhere_and_must_be_there_if_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = tmp_path / "other.toml"
    monkeypatch.setenv("METRION_CONFIG", str(named))
    assert "cannot be read" in refusal()
    named.write_text('UPSTREAM_OPENAI = "http://127.0.0.1:9001"\n')
    assert load_settings().upstream("openai") == "http://127.0.0.1:9001"
    assert load_settings().upstream("grok") == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "unknown setting 'prot' (did you mean port?)"),
        ("port = ", "not valid TOML"),
        ('port = "x"', "port must be a port number"),
        ("port = true", "port must be a port number"),
        ('cors_origins = ["https://a.example/x"]', "cors_origins must be a list of exact origins"),
        ("[server]\nport = 1", "unknown setting 'server'"),
    ],
)
def test_a_wrong_file_names_the_key(text: str, said: str) -> None:
    Path("metrion.toml").write_text(text)
    assert said in refusal()


def test_an_unknown_variable_names_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRION_UPSTREAM_OPNAI", "http://127.0.0.1:1")
    assert refusal().startswith("unknown setting METRION_UPSTREAM_OPNAI (did you mean METRION_UPSTREAM_OPENAI?)")


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRION_PORT", " ")
    assert load_settings().port == 8000


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("PORT", "65535", "65536"),
        ("PORT", "0", "-1"),
        ("UPSTREAM_TIMEOUT", "0.5", "0"),
        ("UPSTREAM_TIMEOUT", "86400", "86401"),
        ("UPSTREAM_TIMEOUT", "1e2", "nan"),
        ("RATE_LIMIT_PER_MINUTE", "0", "-1"),
        ("RETENTION_FREE_DAYS", "0", "-1"),
        ("RETENTION_PRO_DAYS", "36500", "36501"),
        ("RETENTION_PRO_DAYS", "1", "1.5"),
        ("MAX_BODY_BYTES", "1", "0"),
        ("MAX_BODY_BYTES", "1000", "100MB"),
        ("DURABILITY", "strict", "Strictly"),
        ("LOG_LEVEL", "WARNING", "loud"),
        ("SIGNUPS", "invite", "yes"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1", "10.0.0.0/33"),
        ("CORS_ORIGINS", "https://a.example,http://localhost:3000", "*"),
        ("PUBLIC_URL", "https://metrion.example", "metrion.example"),
        ("DATABASE_URL", "sqlite:////var/lib/m.db", "postgresql://u:pw@db/metrion"),
        ("REGION", "eu-1", "eu 1"),
        ("SMTP_URL", "smtp://u:pw@mail.example:587", "http://u:pw@mail.example"),
        ("SMTP_URL", "smtps://u%40a:p%2Fpw@mail.example/", "smtps://u:p/pw@mail.example"),
        ("SMTP_URL", "smtp://[::1]:65535", "smtp://u:pw@mail.example:65536"),
        ("SMTP_URL", "smtp://localhost", "smtp://u:pw@"),
        ("MAIL_FROM", "metrion@example.com", "metrion"),
        ("MAIL_FROM", "Metrion at example <metrion@example.com>", "a@example.com\r\nBcc: b@example.com"),
        ("MAIL_FROM", "m@[192.0.2.1]", "Metrion <metrion@example.com>, b@example.com"),
        ("PRICES_FILE", __file__, "/nowhere/prices.toml"),
    ],
)
def test_both_sides_of_each_border(monkeypatch: pytest.MonkeyPatch, name: str, good: str, bad: str) -> None:
    monkeypatch.setenv(f"METRION_{name}", good)
    load_settings()
    monkeypatch.setenv(f"METRION_{name}", bad)
    said = refusal()
    assert f"METRION_{name}" in said
    assert "pw" not in said


def test_a_new_account_is_free_where_people_can_pay_unless_the_operator_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METRION_STRIPE_SECRET_KEY", "sk_test_4eC39HqLyjWDarjtT1zdp7dc")
    monkeypatch.setenv("METRION_STRIPE_PRICE_ID", "price_1")
    assert (load_settings().stripe_on, load_settings().first_plan) == (True, "free")
    assert "sk_test" not in repr(load_settings())
    monkeypatch.setenv("METRION_DEFAULT_PLAN", "pro")
    assert load_settings().first_plan == "pro"


@pytest.mark.parametrize("half", ["SECRET_KEY", "PRICE_ID", "WEBHOOK_SECRET"])
def test_half_of_a_stripe_configuration_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    monkeypatch.setenv(f"METRION_STRIPE_{half}", "whsec_0123456789")
    said = refusal()
    assert "is missing" in said
    assert "0123456789" not in said


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("HTTPS://API.Example/", "https://api.example"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("ftp://a", None),
        ("http://", None),
        ("http://a/path", None),
        ("http://a?q", None),
        ("http://a#f", None),
        ("http://user@a", None),
        ("http://a:99999", None),
        ("http://a b", None),
        ("//a", None),
    ],
)
def test_an_upstream_is_an_origin(monkeypatch: pytest.MonkeyPatch, text: str, origin: str | None) -> None:
    monkeypatch.setenv("METRION_UPSTREAM_GROK", text)
    if origin is None:
        assert "METRION_UPSTREAM_GROK must be an origin such as" in refusal()
    else:
        assert load_settings().upstream_grok == origin


@given(st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=40))
def test_any_text_for_an_upstream_is_an_origin_or_one_clear_line(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METRION_UPSTREAM_GROK", text)
        try:
            origin = load_settings().upstream_grok
        except ConfigError as error:
            assert "METRION_UPSTREAM_GROK" in str(error)
        else:
            assert origin == "" or origin.startswith(("http://", "https://"))


def test_a_secret_setting_never_shows_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METRION_MASTER_KEY", "ab" * 32)
    settings = load_settings()
    assert settings.master_key == Secret("ab" * 32)
    assert "abab" not in repr(settings) + str(settings)
    monkeypatch.setenv("METRION_MASTER_KEY_FILE", str(tmp_path / "key"))
    assert "both set" in refusal()


def test_the_value_of_a_malformed_url_with_a_password_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRION_UPSTREAM_OPENAI", "https://me:hunter2@gateway.example")
    assert "hunter2" not in refusal()


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load_settings().port = 1  # type: ignore[misc]


def test_paths_may_come_as_paths(tmp_path: Path) -> None:
    assert load_settings(data_dir=tmp_path / "x").database_path == tmp_path / "x" / "metrion.db"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 (not bound)
        ("::", "http://[::1]:80"),
        ("metrion.lan", "http://metrion.lan:80"),
    ],
)
def test_people_reach_it_where_it_listens_or_by_its_public_url(host: str, address: str) -> None:
    own = Settings(host=host, port=80)
    assert (own.address, own.origin) == (address, address)
    public = Settings(host=host, port=80, public_url="https://metrion.example.com")
    assert (public.address, public.origin) == (address, "https://metrion.example.com")
