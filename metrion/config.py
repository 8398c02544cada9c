"""Settings: one frozen object, read once, that fails loudly. Spec §6; each setting is told in docs/settings.md.

A value comes from the command line, else the environment (METRION_PORT), else a TOML file (port = 8000), else here.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

from metrion.errors import ConfigError
from metrion.kit.mailbox import parse_mailbox
from metrion.kit.secrets import Secret, mask_credentials

MIB = 1024 * 1024
_PREFIX = "METRION_"
_FILE_VARIABLE = "METRION_CONFIG"
_DEFAULT_FILE = Path("metrion.toml")

_SAY_ORIGIN = "an origin such as http://127.0.0.1:9001, without path, query or user"

# The description completes the sentence "METRION_X must be …" of the error.
Port = Annotated[int, msgspec.Meta(ge=0, le=65535, description="a port number from 0 to 65535")]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400, description="a number of seconds above 0, at most 86400")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53, description="a whole number, 0 or more")]
Days = Annotated[
    int, msgspec.Meta(ge=0, le=36_500, description="a whole number of days up to 36500, or 0 to keep requests for ever")
]
Size = Annotated[int, msgspec.Meta(ge=1, le=2**53, description="a whole number of bytes, 1 or more")]
Name = Annotated[str, msgspec.Meta(max_length=253, pattern=r"^[\x21-\x7e]*$", description="a name without blanks")]
Origin = Annotated[str, msgspec.Meta(description=_SAY_ORIGIN)]
Origins = Annotated[tuple[str, ...], msgspec.Meta(description=f"a list of exact origins, each {_SAY_ORIGIN}; never *")]
Networks = Annotated[tuple[str, ...], msgspec.Meta(description="a list of IP addresses or networks such as 10.0.0.0/8")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting; made by `load_settings`, changed by nobody. `msgspec.structs.replace` makes a changed copy."""

    data_dir: Path = Path("metrion-data")
    host: Name = "127.0.0.1"
    port: Port = 8000
    public_url: Origin = ""  # "" = http://host:port
    database_url: Name = ""  # "" = SQLite in the data dir
    master_key: Secret = Secret(b"")  # 64 hex digits
    master_key_file: Path | None = None

    upstream_anthropic: Origin = ""  # "" = the provider's own
    upstream_openai: Origin = ""
    upstream_gemini: Origin = ""
    upstream_mistral: Origin = ""
    upstream_grok: Origin = ""
    anthropic_version: Name = ""  # "" = the tested ones pass; "client" = the client's passes; else this one is sent

    upstream_timeout: Seconds = 30  # silence: to the head, and between bytes
    upstream_connect_timeout: Seconds = 10
    client_head_timeout: Seconds = 10
    client_body_timeout: Seconds = 30  # silence within a request's body
    client_stall_timeout: Seconds = 300  # an answer that is not read
    shutdown_grace: Seconds = 30
    on_client_gone: Literal["cancel", "drain"] = "cancel"
    drain_timeout: Seconds = 30
    drain_bytes: Size = 16 * MIB

    rate_limit_per_minute: Count = 100  # 0 = off
    free_monthly_requests: Count = 10_000  # 0 = off
    retention_free_days: Days = 7  # 0 = for ever
    retention_pro_days: Days = 90
    max_body_bytes: Size = 100 * MIB
    max_header_bytes: Size = 64 * 1024
    max_headers: Size = 200
    max_buffered_bytes: Size = 256 * MIB  # request bodies held in memory, all together
    cors_origins: Origins = ()
    trusted_proxies: Networks = ()

    signups: Literal["auto", "open", "invite", "closed"] = "auto"  # auto: open on loopback, else by invitation
    default_plan: Literal["auto", "free", "pro"] = "auto"  # auto: free where Stripe is configured, else pro
    smtp_url: Secret = Secret(b"")  # smtp:// or smtps://, with user and password
    mail_from: Annotated[str, msgspec.Meta(max_length=320)] = ""
    stripe_secret_key: Secret = Secret(b"")
    stripe_webhook_secret: Secret = Secret(b"")  # "" = no webhooks are taken
    stripe_price_id: Name = ""  # of the pro plan
    stripe_automatic_tax: Literal["on", "off"] = "off"
    stripe_api_origin: Origin = ""  # "" = Stripe's own
    prices_file: Path | None = None
    rates_refresh: Literal["on", "off"] = "on"  # fetch currency rates daily
    rates_origin: Origin = ""  # "" = the European Central Bank's own
    allow_private_webhooks: Literal["on", "off"] = "off"  # whether alerts may be sent into networks of one's own
    region: Name = ""
    durability: Literal["normal", "strict"] = "normal"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return Path(self.database_url.removeprefix("sqlite:///")) if self.database_url else self.data_dir / "metrion.db"

    @property
    def address(self) -> str:
        """The origin to reach it by from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 (compared, not bound)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The origin that people reach its pages by."""
        return self.public_url or self.address

    @property
    def prices_path(self) -> Path:
        """The file of the operator's own prices, which may not be there."""
        return self.prices_file or self.data_dir / "prices.toml"

    @property
    def own_prices(self) -> Path | None:
        """The same, None where there is none; a file that the operator named must be there."""
        return self.prices_path if self.prices_file or self.prices_path.exists() else None

    @property
    def signup_policy(self) -> Literal["open", "invite", "closed"]:
        """Who may sign up: anybody where only this machine can reach the pages, else who is invited."""
        if self.signups != "auto":
            return self.signups
        local = is_loopback(self.host) and is_loopback(urlsplit(self.public_url).hostname or self.host)
        return "open" if local else "invite"

    @property
    def stripe_on(self) -> bool:
        """Whether people can pay for the pro plan."""
        return bool(self.stripe_secret_key)

    @property
    def first_plan(self) -> Literal["free", "pro"]:
        """The plan of a new account."""
        if self.default_plan != "auto":
            return self.default_plan
        return "free" if self.stripe_on else "pro"

    def upstream(self, provider: str) -> str:
        """The operator's origin for `provider`, or "" for the provider's own."""
        origin: str = getattr(self, f"upstream_{provider}")
        return origin


TYPES: dict[str, Any] = get_type_hints(Settings, include_extras=True)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def load_settings(**overrides: Any) -> Settings:
    """Settings from flags (`overrides`; None = not given), environment and file.

    Raises ConfigError with one line that says what to do.
    """
    found = _from_file() | _from_environment(os.environ)
    found |= {name: (f"--{name.replace('_', '-')}", value) for name, value in overrides.items() if value is not None}
    settings = Settings(**{name: _value(name, where, value) for name, (where, value) in found.items()})
    _check_together(settings)
    return settings


def _from_file() -> dict[str, tuple[str, Any]]:
    """Each name of the TOML file with where it stands and its value."""
    given = os.environ.get(_FILE_VARIABLE)
    path = Path(given).expanduser() if given else _DEFAULT_FILE
    if not given and not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); correct {_FILE_VARIABLE} or the file's rights"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {' '.join(str(error).split())}") from error
    values = {}
    for key, value in table.items():
        name = key.lower()
        if name not in TYPES:
            raise ConfigError(f"{path}: unknown setting {key!r}{_nearest(name, '')}")
        values[name] = (f"{path}: {key}", value)
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Each METRION_* variable that is set; an empty one counts as not set, as container tools pass it."""
    values = {}
    for variable, value in environ.items():
        if not variable.startswith(_PREFIX) or variable == _FILE_VARIABLE:
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name not in TYPES or variable != variable.upper():
            raise ConfigError(f"unknown setting {variable}{_nearest(name, _PREFIX)}; unset it or correct its name")
        if value.strip():
            values[name] = (variable, value.strip())
    return values


def _nearest(name: str, prefix: str) -> str:
    near = difflib.get_close_matches(name, TYPES, n=1)
    return f" (did you mean {(prefix + near[0]) if not prefix else (prefix + near[0].upper())}?)" if near else ""


def _value(name: str, where: str, value: Any) -> Any:
    """`value` as the setting's type; raises ConfigError naming `where` it came from."""
    kind = TYPES[name]
    if _plain(kind) == tuple[str, ...] and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if name == "log_level" and isinstance(value, str):
        value = value.lower()
    try:
        return _checked(kind, msgspec.convert(value, kind, strict=not isinstance(value, str), dec_hook=_decode))
    except ValueError:  # msgspec's own is one; its cause is dropped because it may quote a secret
        hidden = kind is Secret or "@" in str(value)  # an "@" may follow a password
        shown = "" if hidden else f" (it is {mask_credentials(repr(value))})"
        raise ConfigError(f"{where} must be {_expectation(kind)}{shown}") from None


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _decode(kind: type, value: Any) -> Any:
    """What msgspec does not know: paths and secrets, both from text."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("not text")
    return Secret(value) if kind is Secret else Path(value).expanduser().absolute()


def _checked(kind: Any, value: Any) -> Any:
    """`value`, with origins and networks in their normal form; raises ValueError."""
    if kind is Origin:
        return _origin(value)
    if kind is Origins:
        return tuple(_origin(one) for one in value)
    if kind is Networks:
        return tuple(str(ip_network(one, strict=False)) for one in value)
    return value


def _origin(text: str) -> str:
    """scheme://host[:port] in lower case; raises ValueError for anything else."""
    parts = urlsplit(text)
    host = parts.hostname or ""
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or "?" in text or "#" in text
    if parts.scheme not in ("http", "https") or extra or not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host):
        raise ValueError("not an origin")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{parts.port}" if parts.port is not None else "")


def _expectation(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    for meta in get_args(kind)[1:]:
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    return (
        "text" if kind is Secret else "a path" if Path in (kind, *get_args(kind)) else "text of at most 320 characters"
    )


def _check_together(settings: Settings) -> None:
    """Raise ConfigError for what no single type can tell."""
    url = settings.database_url
    if url and not url.startswith("sqlite:///"):
        kind = urlsplit(url).scheme or url
        raise ConfigError(
            f"METRION_DATABASE_URL: {kind!r} is not supported yet; unset it, or use sqlite:////absolute/path.db"
        )
    if settings.master_key and settings.master_key_file:
        raise ConfigError("METRION_MASTER_KEY and METRION_MASTER_KEY_FILE are both set; keep one of them")
    _check_mail(settings)
    _check_stripe(settings)
    if settings.prices_file and not settings.prices_file.is_file():
        raise ConfigError(f"METRION_PRICES_FILE: there is no file {settings.prices_file}")


def _check_mail(settings: Settings) -> None:
    if settings.smtp_url and not _is_smtp(settings.smtp_url.reveal().decode(errors="replace")):
        raise ConfigError(
            "METRION_SMTP_URL must be smtp://USER:PASSWORD@HOST:PORT or smtps://…, without path; user and password may"
            " be left out, and signs such as @ : / % in them are written as %40 %3A %2F %25"
        )
    try:
        parse_mailbox(settings.mail_from or "metrion@localhost")
    except ValueError:
        raise ConfigError(
            "METRION_MAIL_FROM must be an address such as metrion@example.com, or Metrion <metrion@example.com>"
        ) from None


def _check_stripe(settings: Settings) -> None:
    missing = {
        "METRION_STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "METRION_STRIPE_PRICE_ID": settings.stripe_price_id,
    }
    given = any(missing.values()) or settings.stripe_webhook_secret
    for name, value in missing.items():
        if given and not value:
            raise ConfigError(f"{name} is missing: Stripe takes a secret key and a price id; set both or neither")


def _is_smtp(text: str) -> bool:
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        return False
    extra = url.path.strip("/") or url.query or url.fragment or not re.fullmatch(r"[\x21-\x7e]+", text)
    known = url.scheme in ("smtp", "smtps") and re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host)
    return bool(known) and port != 0 and not extra
