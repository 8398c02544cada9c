"""`metrion price`: what models cost, by whose word, since when; and an operator's own prices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from metrion.commands.common import DataDir, count, new_app, print_table
from metrion.commands.ledger import Ledger
from metrion.config import load_settings
from metrion.errors import InputError
from metrion.kit.clock import iso, now_ms
from metrion.kit.money import usd_from_nano
from metrion.prices.calculate import MILLION, Fee, Rates, Sheet
from metrion.prices.catalog import PriceBook
from metrion.prices.compare import SHIPPED, Difference, compare, read_table
from metrion.prices.library import HOUR_MS, PROVIDERS
from metrion.prices.rules import Entry

app = new_app()
_PRICES = ("INPUT", "CACHED", "OUTPUT")
_CLASSES = {name: name.replace("_", " ") for name in Rates.__struct_fields__}
_UNITS = {1: "each", 1000: "per 1,000", MILLION: "per million", HOUR_MS: "per hour"}
_CONDITIONS = (  # where a model may have other prices than the listed ones
    *({"service_tier": tier} for tier in ("flex", "priority", "fast", "scale")),
    {"processing": "batch"},
    {"speed": "fast"},
    {"inference_geo": "us"},
)

Provider = Annotated[str, typer.Option("--provider", help=f"One of {', '.join(PROVIDERS)}.", show_default=False)]
Usd = Annotated[str, typer.Option(help="USD per million tokens.", metavar="USD", show_default=False)]
PerMillion = Annotated[
    list[str], typer.Option("--per-million", help="Another token class.", metavar="CLASS=USD", show_default=False)
]
PerThousand = Annotated[
    list[str], typer.Option("--per-thousand", help="A tool's calls, or pages.", metavar="NAME=USD", show_default=False)
]
When = Annotated[
    list[str],
    typer.Option("--when", help="service_tier=…, processing=batch, …", metavar="NAME=VALUE", show_default=False),
]


@app.callback()
def price() -> None:
    """Prices of models: what is known, and your own."""


@app.command("set")
def set_price(
    provider: Annotated[str, typer.Argument(help=f"One of {', '.join(PROVIDERS)}.", show_default=False)],
    model: Annotated[str, typer.Argument(help="An id; one that ends in * stands for all that begin so.")],
    input_usd: Annotated[str, typer.Option("--input", help="USD per million tokens.", show_default=False)] = "",
    cached_input: Usd = "",
    output_usd: Annotated[str, typer.Option("--output", help="USD per million tokens.", show_default=False)] = "",
    per_million: PerMillion = [],  # noqa: B006  typer copies it
    per_thousand: PerThousand = [],  # noqa: B006
    discount: Annotated[str, typer.Option(help="Percent off everything.", show_default=False)] = "",
    factor: Annotated[str, typer.Option(help="Multiplies every token price.", show_default=False)] = "",
    same_as: Annotated[str, typer.Option(help="Priced as this model.", show_default=False)] = "",
    when: When = [],  # noqa: B006
    valid_from: Annotated[str, typer.Option("--from", help="The first day (UTC); today.", show_default=False)] = "",
    valid_to: Annotated[str, typer.Option("--to", help="The first day it no longer holds.", show_default=False)] = "",
    source: Annotated[str, typer.Option(help="Where it stands: a contract, a page.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Add a price of your own; from its day on it wins over the listed one."""
    settings = load_settings(data_dir=data_dir)
    tokens = {"input": input_usd, "cached_input": cached_input, "output": output_usd} | _pairs(
        per_million, "--per-million"
    )
    starts = _day(valid_from, "--from") or datetime.now(UTC).date()
    entry = Entry(
        provider=provider,
        model="" if model.endswith("*") else model,
        prefix=model[:-1] if model.endswith("*") else None,
        valid_from=starts,
        valid_to=_day(valid_to, "--to"),
        when=_pairs(when, "--when"),
        usd_per_million={name: usd for name, usd in tokens.items() if usd},
        usd_per_thousand=_pairs(per_thousand, "--per-thousand"),
        discount=discount,
        factor=factor,
        same_as=same_as,
        source=source,
    )
    done = Ledger(settings).perform("set_price", {"entry": msgspec.to_builtins(entry)})
    print(f"Added to {done['file']}: {provider} {model}, from {starts} on (UTC).")
    if starts <= datetime.now(UTC).date():
        print(f"What is recorded keeps its cost; to see what would change: metrion reprice --from {starts} --dry-run")


@app.command("reload")
def reload_prices(data_dir: DataDir = None) -> None:
    """Let the running server price by your file as it is now; without a server, check the file."""
    done = Ledger(load_settings(data_dir=data_dir)).perform("reload_prices", {})
    print(f"{done['file']}: {count(done['prices'])} prices of your own hold.")


@app.command("list")
def list_prices(provider: Provider = "", data_dir: DataDir = None) -> None:
    """List today's prices, in USD per million tokens."""
    book = PriceBook.load(load_settings(data_dir=data_dir).own_prices)
    moment = now_ms()
    rows = [
        [name, model, *_three(sheet), sheet.refusal or sheet.ref]
        for name in _providers(provider)
        for model in book.named(name)
        for sheet in [book.sheet(name, model, moment)]
    ]
    print_table(("PROVIDER", "MODEL", *_PRICES, "PRICE"), rows, _PRICES)


@app.command("show")
def show_price(
    model: Annotated[str, typer.Argument(help="An id, as providers answer it.", show_default=False)],
    provider: Provider = "",
    data_dir: DataDir = None,
) -> None:
    """Show all prices of a model: today's, under conditions, and how they changed, with where they were read."""
    book = PriceBook.load(load_settings(data_dir=data_dir).own_prices)
    moment = now_ms()
    known = [name for name in _providers(provider) if any(not sheet.refusal for _, sheet in book.history(name, model))]
    if not known:
        raise InputError(f"there is no price for {model!r}; add one with: metrion price set PROVIDER {model} …")
    for name in known:
        _print_sheet(f"{name} {model}", book.sheet(name, model, moment))
        _print_conditions(book, name, model, moment)
        _print_history(book, name, model)


@app.command("check")
def check_prices(
    table: Annotated[Path | None, typer.Option(help="Compare with this one instead: TOML, or LiteLLM's JSON.")] = None,
    tolerance: Annotated[str, typer.Option(help="Percent by which prices may differ.")] = "0.5",
    data_dir: DataDir = None,
) -> int:
    """Compare the book with a second table of public prices; exit code 1 if any price differs."""
    book = PriceBook.load(load_settings(data_dir=data_dir).own_prices)
    try:
        percent = Decimal(tolerance)
    except InvalidOperation:
        raise InputError(f"--tolerance: {tolerance!r} is no number") from None
    found = compare(book, read_table(table or SHIPPED, now_ms()), percent)
    print(
        f"{count(found.compared)} prices compared, {count(len(found.differences))} differ by more than {tolerance} %."
    )
    if found.differences:
        print()
        head = ("PROVIDER", "MODEL", "CLASS", "BOOK", "TABLE", "AS OF")
        print_table(head, [_difference(one) for one in found.differences], ("BOOK", "TABLE"))
        print("\nThe table's prices were read on:")
        print("\n".join(sorted({f"  {one.listed.source}" for one in found.differences})))
    if found.missing:
        names = ", ".join(f"{provider} {model}" for provider, model in found.missing)
        print(f"\n{count(len(found.missing))} models of the table have no price in the book: {names}")
    return 1 if found.differences else 0


def _pairs(given: list[str], option: str) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise InputError(f"{option}: {name + equals + value!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _day(text: str, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InputError(f"{option}: {text!r} is no day; write 2026-12-01") from None


def _providers(provider: str) -> list[str]:
    if provider and provider not in PROVIDERS:
        raise InputError(f"unknown provider {provider!r}; use one of {', '.join(PROVIDERS)}")
    return [provider] if provider else list(PROVIDERS)


def _usd(nano: int | None) -> str:
    return "–" if nano is None else usd_from_nano(nano)


def _three(sheet: Sheet) -> list[str]:
    return [_usd(rate) for rate in (sheet.base.input, sheet.base.cached_input, sheet.base.output)]


def _print_sheet(title: str, sheet: Sheet) -> None:
    print(f"{title}, today, in USD per million tokens")
    if sheet.refusal:
        print(f"  {sheet.refusal}")
        return
    for line in _lines(sheet):
        print(f"  {line}")
    print(f"Price: {sheet.ref}\nSources:")
    for label, source in sheet.sources:
        print(f"  {label}: {source}")


def _lines(sheet: Sheet) -> Iterator[str]:
    yield from _rates(sheet.base)
    for threshold, rates in sheet.long:
        yield f"prompts above {count(threshold)} tokens:"
        yield from (f"  {line}" for line in _rates(rates))
    for name, fee in sorted(sheet.fees.items()):
        yield f"{name.removesuffix('_ms'):16}{_fee(fee):>10} {_UNITS.get(fee.per, f'per {fee.per:,}')}"


def _rates(rates: Rates) -> Iterator[str]:
    """Each token class that has a price of its own; the others cost what their parents do."""
    own = msgspec.structs.asdict(rates)
    parents: dict[str, str] = {
        "audio_input": "input",
        "image_input": "input",
        "audio_output": "output",
        "image_output": "output",
        "video_input": "input",
        "video_output": "output",
    }
    parents |= {"cached_input": "input", "cached_audio": "cached_input", "cached_image": "cached_input"}
    for name, rate in own.items():
        if rate is not None and not (name in parents and rate == own[parents[name]]):
            yield f"{_CLASSES[name]:16}{usd_from_nano(rate):>10}"


def _fee(fee: Fee) -> str:
    return usd_from_nano(fee.nano)


def _print_conditions(book: PriceBook, provider: str, model: str, moment: int) -> None:
    listed = book.sheet(provider, model, moment)
    rows = [
        [" ".join(f"{name}={value}" for name, value in when.items()), *_three(sheet)]
        for when in _CONDITIONS
        for sheet in [book.sheet(provider, model, moment, when)]
        if not sheet.refusal and sheet.base != listed.base
    ]
    if rows:
        print("Under conditions:")
        print_table(("  WHEN", *_PRICES), [[f"  {row[0]}", *row[1:]] for row in rows], _PRICES)


def _print_history(book: PriceBook, provider: str, model: str) -> None:
    print("History:")
    rows = [
        ["  ever" if start is None else f"  {iso(start)[:10]}", *_three(sheet), sheet.refusal or sheet.ref]
        for start, sheet in book.history(provider, model)
    ]
    print_table(("  FROM", *_PRICES, "PRICE"), rows, _PRICES)
    print()


def _difference(one: Difference) -> list[str]:
    listed = one.listed
    return [
        listed.provider,
        listed.model,
        listed.token_class,
        _usd(one.book_nano),
        usd_from_nano(listed.nano),
        iso(listed.at_ms)[:10],
    ]
