"""Every table. Times are Unix milliseconds, durations microseconds, money integer nano-dollars.

Rows are narrow and integer where they can be: the writer's cost per call is mostly this. Rows lie in primary-key order
(account, then time-sortable id), so that an account's log is one range read and needs no second index.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

from metrion.kit import buckets

metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"})


def _table(name: str, *columns: Column[int] | Column[str] | Column[bytes] | Index, clustered: bool = False) -> Table:
    """A strict table; `clustered` keeps its rows inside the primary key's tree (SQLite: WITHOUT ROWID)."""
    return Table(name, metadata, *columns, sqlite_strict=True, sqlite_with_rowid=not clustered)


def _int(name: str, *, key: bool = False, null: bool = False, default: int | None = 0) -> Column[int]:
    # STRICT tables know INTEGER alone; BigInteger becomes that on SQLite and int8 on PostgreSQL.
    kind = BigInteger().with_variant(Integer, "sqlite")
    fill = None if key or null or default is None else text(str(default))
    return Column(name, kind, primary_key=key, autoincrement=False, nullable=null, server_default=fill)


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null, server_default=None if key or null else "")


def _numbered() -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


accounts = Table(  # AUTOINCREMENT: the number of a deleted account is never given to another
    "accounts",
    metadata,
    _numbered(),
    Column("email", Text, nullable=False, unique=True),  # lower case
    _text("plan"),  # "free" or "pro"
    _int("created_ms"),
    _int("disabled_ms", null=True),
    _text("name"),
    _text("password", null=True),  # argon2id; null: no log-in by password
    _int("confirmed_ms", null=True),  # when the address was shown to be its owner's
    _int("operator"),  # 1: may see the operator's pages
    Column("currency", Text, nullable=False, server_default="USD"),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    _int("used_ms", null=True),  # its last call
    _text("granted"),  # the plan it has without paying; `plan` is the better of what is granted and what is paid for
    _int("paid"),  # 1: a subscription pays for pro
    _int("grace_ends_ms", null=True),  # a payment failed; until when it stays on pro nonetheless
    _int("free_since_ms", null=True),  # when it came from pro to free
    _int("month_base"),  # how many requests of that month were counted by then: they do not count any more
    _int("key_reads", default=1),  # 1: its Metrion key may read the JSON API
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

sessions = _table(
    "sessions",
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of the cookie
    _int("account_id", default=None),
    _int("created_ms"),
    _int("seen_ms"),
    _text("agent"),  # as the browser names itself
    _text("address"),
    Index("ix_sessions_account_id", "account_id"),
)

codes = _table(  # six digits, mailed; an account has one at a time for each purpose
    "codes",
    _int("account_id", key=True),
    _text("purpose", key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # for `metrion account code`
    _text("subject"),  # what it confirms, where that is more than the purpose: the new address
    _int("created_ms"),
    _int("expires_ms"),
    _int("tries"),
)

links = _table(  # one-use addresses: to sign in, to claim the operator's place, to accept an invitation
    "links",
    Column("digest", LargeBinary, primary_key=True),
    _text("purpose"),
    _int("account_id", null=True),
    _text("email"),  # of an invitation
    _int("created_ms"),
    _int("expires_ms"),
    _int("used_ms", null=True),
    Index("ix_links_account_id", "account_id"),
)

statements = _table(  # links to a month's figures, for whoever has the address
    "statements",
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of its token
    _int("account_id", default=None),
    _int("month_ms"),  # when the month began, in the account's time zone
    _int("created_ms"),
    _int("expires_ms"),
    Index("ix_statements_account_id", "account_id"),
)

outbox = Table(  # mail on its way; a row goes when the mail server has taken it
    "outbox",
    metadata,
    _numbered(),
    _int("account_id"),  # 0: nobody's
    Column("sealed", LargeBinary, nullable=False),  # addressee, subject and text: they hold codes and links
    _int("created_ms"),
    _int("next_ms"),  # not before
    _int("tries"),
    _text("problem"),
    Index("ix_outbox_next_ms", "next_ms"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

deletions = _table(  # accounts that are gone or going; the digest stays so that no replay brings one back
    "deletions",
    Column("digest", LargeBinary, primary_key=True),  # HMAC of the account's number
    _int("account_id", null=True),  # until all of it is deleted
    _int("requested_ms"),
    _int("finished_ms", null=True),
)

tokens = _table(  # Metrion keys: an HMAC to find them by, ciphertext to show them again
    "tokens",
    Column("digest", LargeBinary, primary_key=True),
    _int("account_id", default=None),
    Column("sealed", LargeBinary, nullable=False),
    _int("created_ms"),
    Index("ix_tokens_account_id", "account_id"),
)

provider_keys = _table(
    "provider_keys",
    _int("account_id", key=True),
    _text("provider", key=True),
    Column("sealed", LargeBinary, nullable=False),
    _text("tail"),  # the last four characters, to tell keys apart
    _int("created_ms"),
    _int("used_ms", null=True),
)

master_keys = _table(  # never the key itself: its id, and a value it sealed, to know it again at start
    "master_keys",
    Column("id", LargeBinary, primary_key=True),
    Column("canary", LargeBinary, nullable=False),
    _int("created_ms"),
)

billing = _table(  # accounts that Stripe knows: what it said when it was last asked
    "billing",
    _int("account_id", key=True),
    _text("customer_id"),
    _text("subscription_id"),  # the one that counts; "" for none
    _text("status"),  # of the subscription, in Stripe's words
    _int("ends_ms", null=True),  # when it ends, where it was cancelled for its period's end; when it ended
    _int("renews_ms", null=True),  # when it is paid for again, or a trial is over
    _int("asked_ms", null=True),
    Index("ix_billing_customer_id", "customer_id", unique=True),
)

invoices = _table(  # references to Stripe's, for their owner to find them by
    "invoices",
    _int("account_id", key=True),
    _text("id", key=True),
    _text("number"),
    _text("status"),
    _int("created_ms"),
    _int("amount"),  # in the currency's smallest unit
    _text("currency"),  # ISO 4217
    clustered=True,
)

reversals = _table(  # refunds and disputes, for the operator to see: they change nobody's plan
    "reversals",
    _int("account_id", key=True),
    _text("id", key=True),
    _text("kind"),  # "refund" or "dispute"
    _text("status"),
    _text("reason"),
    _int("created_ms"),
    _int("amount"),
    _text("currency"),
    clustered=True,
)

stripe_events = _table(  # what Stripe told by webhook; never more of it than ids, for the state is fetched
    "stripe_events",
    _text("id", key=True),
    _text("type"),
    _int("account_id", null=True),  # whose customer it is about
    _text("customer_id"),
    _text("object_id"),
    _int("created_ms"),
    _int("received_ms"),
    _int("next_ms", null=True),  # when to handle it; null: it was
    _int("tries"),
    _text("problem"),
    Index("ix_stripe_events_account_id", "account_id"),
    Index("ix_stripe_events_next_ms", "next_ms"),
)

stripe_closures = _table(  # customers of deleted accounts, until Stripe has deleted them and so ended what they pay for
    "stripe_closures",
    _text("customer_id", key=True),
    _int("created_ms"),
    _int("next_ms"),
    _int("tries"),
    _text("problem"),
)

alert_rules = Table(
    "alert_rules",
    metadata,
    _numbered(),
    _int("account_id", default=None),
    _text("kind"),  # of alerts.kinds
    _text("name"),
    _text("providers"),  # a line each; none: all
    _text("models"),
    _text("requesters"),
    _text("span"),  # of alerts.kinds: what time it looks at
    _int("from_ms"),  # where that has a beginning
    _int("to_ms", null=True),
    _int("threshold"),  # in the unit of its kind
    _text("currency"),  # of a budget
    _int("least"),  # requests without which a share or a percentile tells nothing
    _text("zone"),  # in which its sums' days begin
    _int("created_ms"),
    _int("paused_ms", null=True),
    _int("warned_ms", null=True),  # the latest warning
    _int("alerted_ms", null=True),
    _int("tested_ms", null=True),
    _text("muted"),  # channels that it does not use, a line each: "mail", or a webhook's id
    _text("filled", null=True),  # its sums are those of rows up to this request id, in hex; null: of all
    Index("ix_alert_rules_account_id", "account_id"),
    Index("ix_alert_rules_filled", "id", sqlite_where=text("filled IS NOT NULL")),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

alert_sums = _table(  # what a rule looks at, as running sums: written with the rows
    "alert_sums",
    _int("account_id", key=True),
    _int("rule_id", key=True),
    _int("start_ms", key=True),
    _int("requests"),
    _int("errors"),
    _int("cost_nano"),
    clustered=True,
)

alert_latencies = _table(  # how many durations are in each bucket of `kit.buckets`
    "alert_latencies",
    _int("account_id", key=True),
    _int("rule_id", key=True),
    _int("start_ms", key=True),
    _int("bucket", key=True),
    _int("requests"),
    clustered=True,
)

alert_due = _table("alert_due", _int("account_id", key=True))  # whose sums changed since they were looked at

alert_rates = _table(  # the rate that a day's dollars were first converted at: it stays theirs
    "alert_rates",
    _text("currency", key=True),
    _text("day", key=True),  # 2026-11-21
    _text("per_usd"),  # a fraction: 100/109
)

alerts = Table(  # what fired; kept when its rule is deleted
    "alerts",
    metadata,
    _numbered(),
    _int("account_id", default=None),
    _int("rule_id"),
    _text("kind"),
    _text("name"),
    _text("level"),  # "warning", "alert" or "test"
    _int("fired_ms"),
    _int("value", null=True),  # in the unit of its kind, as the threshold
    _int("threshold"),
    _text("currency"),
    Index("ix_alerts_account_id", "account_id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

webhooks = Table(  # where else than by mail an account is told of alerts
    "webhooks",
    metadata,
    _numbered(),
    _int("account_id", default=None),
    _text("kind"),  # of alerts.webhooks
    _text("name"),
    _text("origin"),  # of its address, to tell it by
    Column("sealed", LargeBinary, nullable=False),  # its address, which may let in whoever knows it, and its secret
    _int("created_ms"),
    _int("disabled_ms", null=True),
    Index("ix_webhooks_account_id", "account_id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

deliveries = Table(  # what is to be sent to webhooks, and what came of it
    "deliveries",
    metadata,
    _numbered(),
    _int("account_id", default=None),
    _int("webhook_id", default=None),
    _text("name"),  # of the delivery: the receiver knows by it what it has already
    _text("title"),
    _text("body"),  # as it is sent, each time
    _int("created_ms"),
    _int("next_ms", null=True),  # not before; null: not again
    _int("until_ms"),  # when it is given up
    _int("tries"),
    _int("tried_ms", null=True),
    _int("took_ms"),
    _int("status"),  # of the latest answer; 0: there was none
    _int("delivered", default=0),  # 1: it was answered with 2xx
    _text("problem"),
    Index("ix_deliveries_account_id_webhook_id", "account_id", "webhook_id"),
    Index("ix_deliveries_next_ms", "next_ms", sqlite_where=text("next_ms IS NOT NULL")),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

calls = _table(
    "calls",
    _int("account_id", key=True),
    Column("request_id", LargeBinary, primary_key=True),
    _int("started_ms"),
    _text("provider"),
    _text("endpoint"),
    _text("format"),
    _text("mode"),
    _text("model"),
    _text("requested_model"),
    _text("requester"),
    _int("stream"),
    _int("status"),
    _text("outcome"),
    _text("error_code", null=True),
    _text("error_message", null=True),
    _int("input_tokens"),
    _int("cached_input_tokens"),
    _int("cache_write_5m_tokens"),
    _int("cache_write_1h_tokens"),
    _int("output_tokens"),
    _int("reasoning_tokens"),
    _text("usage_raw", null=True),
    _text("rare", null=True),  # JSON of the seldom ones: audio and image tokens, tool calls, tier, quantities, problem
    _int("cost_nano", null=True),
    _text("cost_source"),
    _text("price_ref", null=True),
    _int("latency_us"),
    _int("ttft_us"),
    _int("provider_us"),
    _int("request_bytes"),
    _int("response_bytes"),
    _text("upstream_request_id", null=True),
    _int("input_nano"),  # of cost_nano, where it was computed: for prompt tokens that no cache was used for
    _int("cached_nano"),
    _int("written_nano"),  # to a cache
    _int("output_nano"),
    _int("saved_nano"),  # how much more the call would have cost without caching; negative where less
    # Partial ones: most rows are in neither, and so pay for neither.
    Index("ix_calls_requester", "account_id", "requester", "request_id", sqlite_where=text("requester <> ''")),
    Index("ix_calls_failed", "account_id", "request_id", "status", "outcome", sqlite_where=text("outcome <> 'ok'")),
    clustered=True,
)

repricing_runs = _table(  # one for each `metrion reprice` that changed something
    "repricing_runs",
    _numbered(),
    _int("started_ms"),
    _text("reason"),
)

repricings = _table(  # what a call cost before it was priced again; the call itself has the latest figure
    "repricings",
    _int("account_id", key=True),
    Column("request_id", LargeBinary, primary_key=True),
    _int("version", key=True),  # of the figure that was replaced; the first is 1
    _int("run_id", default=None),
    _int("replaced_ms"),
    _int("cost_nano", null=True),
    _text("cost_source"),
    _text("price_ref", null=True),
    _text("counts", null=True),  # JSON of the call's counts, where its usage was read otherwise by then
    clustered=True,
)

metered = _table(  # responses and batch items that are counted: the usage that comes when they are fetched again is not
    "metered",
    _int("account_id", key=True),
    _text("provider", key=True),
    Column("digest", LargeBinary, primary_key=True),  # of the provider's id
    _int("until_ms"),
    Index("ix_metered_until_ms", "until_ms"),
    clustered=True,
)

# Totals. Those of hours are written with the rows; `ledger.fold` makes the others of hours that are over, and of rows.
# docs/decisions/0008-totals.md tells why.

SUMS = (  # what every totals table adds up
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano",
    "cost_provider",  # rows by cost_source: how much of the sum to trust
    "cost_computed",
    "cost_estimated",
    "cost_unpriced",
    "cost_unknown",
    "latency_us",
    "provider_nano",  # of cost_nano, what providers reported themselves; what is in neither of the two was computed
    "estimated_nano",  # of cost_nano, what was priced by estimated usage
    "input_nano",  # of cost_nano, what was for which tokens, where it was computed
    "cached_nano",
    "written_nano",
    "output_nano",
    "saved_nano",
    "streamed_tokens",  # output of streams that ended well, and how long they took from their first byte to their last
    "streamed_us",
)
OCTAVE = tuple(f"bucket_{number}" for number in range(buckets.COLUMNS))


def _totals(name: str, *names: str, sums: Sequence[str] = SUMS) -> Table:
    """Sums by account and `names`, which are texts but for the status, its class, a start and an octave."""
    numbers = {"start_ms", "status", "class", "octave"}
    keys = (_int(one, key=True) if one in numbers else _text(one, key=True) for one in names)
    return _table(name, _int("account_id", key=True), *keys, *map(_int, sums), clustered=True)


_MODEL = ("start_ms", "provider", "model", "status", "outcome")
model_hours = _totals("model_hours", *_MODEL)
model_days = _totals("model_days", *_MODEL)
provider_days = _totals("provider_days", "start_ms", "provider", "status", "outcome")
requester_hours = _totals("requester_hours", "start_ms", "provider", "requester", "outcome")

# What each requester used by day; the provider "*" stands for all. `requests` are those that reached a provider.
_REQUESTER = ("start_ms", "provider", "requester")
requester_days = _totals("requester_days", *_REQUESTER, sums=(*SUMS, "errors", "refused"))
# The same since the month's beginning, up to the end of some of the days: a long range is few rows of each requester.
requester_running = _totals("requester_running", *_REQUESTER, sums=(*SUMS, "errors", "refused"))
requester_dates = _table(  # the days that requesters have
    "requester_dates",
    _int("account_id", key=True),
    _int("start_ms", key=True),
    _int("since_ms"),  # the month's beginning
    _int("requesters"),  # how many that have a name sent a request to a provider on that day
    _int("rows"),  # in requester_days
    _int("running"),  # rows in requester_running; 0: it does not have that day; -1: not all of them yet
    clustered=True,
)

# Model by requester, of calls that reached a provider; by the quarter of an hour from `folds.recent_ms` on. Quarters
# lie by time, as they come and go; days by requester, as they are asked for.
_PAIR = ("requester", "provider", "model")
pair_days = _totals("pair_days", *_PAIR, "start_ms", "class", sums=(*SUMS, "errors"))
recent_pairs = _totals("recent_pairs", "start_ms", *_PAIR, "class", sums=(*SUMS, "errors"))

# How many durations are in each bucket of `kit.buckets`, an octave a row. Kinds: "model_latency" and "model_ttft" by
# model; "latency", "ttft" and "overhead" (what is not waiting for the provider) by provider, with the model "".
_LATENCY = ("kind", "start_ms", "provider", "model", "octave")
latency_hours = _totals("latency_hours", *_LATENCY, sums=OCTAVE)
latency_days = _totals("latency_days", *_LATENCY, sums=OCTAVE)

_ERROR = ("start_ms", "provider", "status", "outcome", "error_code", "message")  # the message without its numbers
error_hours = _totals("error_hours", *_ERROR, sums=("requests",))
error_days = _totals("error_days", *_ERROR, sums=("requests",))


def _tops(name: str) -> Table:
    """The calls of each day or quarter of an hour that are greatest by a measure: "cost", "latency" or "tokens"."""
    keys = _int("account_id", key=True), _text("measure", key=True), _int("start_ms", key=True)
    return _table(name, *keys, Column("request_id", LargeBinary, primary_key=True), _int("value"), clustered=True)


top_days = _tops("top_days")
recent_tops = _tops("recent_tops")  # from `folds.recent_ms` on; may hold more of a quarter than the greatest

names = _table(  # what an account's calls named in a UTC month; beyond so many of a kind, totals call it "(other)"
    "names",
    _int("account_id", key=True),
    _text("kind", key=True),  # "model", "requester" or "error"
    _int("month", key=True),  # 202611
    _text("name", key=True),
    _text("provider"),  # of a model
    clustered=True,
)

folds = _table(  # how far an account's hours are folded into days, and in which time zone both begin
    "folds",
    _int("account_id", key=True),
    _text("time_zone"),
    _int("last_ms"),  # the start of its newest call
    _int("folded_ms"),  # hours that begin before are in the days
    _int("paired_ms"),  # rows that started before are in pairs and tops
    _int("waiting"),  # how many rows came since it was folded last
    _int("recent_ms"),  # quarters of pairs and tops are kept from here on
    _int("pairs_ms"),  # days of pairs and tops before are those of an earlier time zone: their rows are gone
    _int("clearing"),  # 1: the time zone changed, and days are deleted to be folded again
    _text("old_zone", null=True),  # in which the hours of rows that started before `moved_ms` still begin
    _int("moved_ms"),
    Index("ix_folds_paired_ms", "paired_ms", sqlite_where=text("paired_ms <= last_ms")),
    Index("ix_folds_waiting", "waiting", sqlite_where=text("waiting >= 5000")),
)
