"""Composition: the only file that knows all rooms; `serve` puts them together and takes them apart in order."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import structlog
import uvicorn
import uvloop
from uvicorn.server import ServerState

from metrion.accounts.links import link_url
from metrion.accounts.operations import OPERATIONS as ACCOUNT_OPERATIONS
from metrion.accounts.people import claim_link
from metrion.accounts.registry import Registry
from metrion.accounts.unconfirmed import Unconfirmed
from metrion.accounts.vault import Vault, open_vault
from metrion.alerts.courier import Courier
from metrion.alerts.engine import Engine as Alerts
from metrion.alerts.failing import Failures
from metrion.alerts.fill import Filler
from metrion.alerts.post import Poster
from metrion.billing.connect import connect
from metrion.billing.desk import Desk
from metrion.billing.grants import operation as plan_setter
from metrion.billing.service import OPERATIONS as BILLING_OPERATIONS
from metrion.billing.service import Billing
from metrion.changes import Changes
from metrion.config import Settings
from metrion.control import listen
from metrion.datadir import hold_lock
from metrion.errors import InputError, MetrionError
from metrion.kit.background import Background
from metrion.kit.clock import now_ms
from metrion.kit.months import month_of, month_start_ms
from metrion.ledger.caretaker import Caretaker
from metrion.ledger.fold import Folder
from metrion.ledger.journal import Journal
from metrion.ledger.operations import OPERATIONS as LEDGER_OPERATIONS
from metrion.ledger.recovery import recover
from metrion.ledger.writer import Writer
from metrion.mail.outbox import mail_on
from metrion.mail.sender import Sender
from metrion.prices.catalog import PriceBook
from metrion.proxy.admit import WINDOW, Admission
from metrion.proxy.front import Front, PageProtocol
from metrion.proxy.proxy import Proxy
from metrion.rates.daily import DailyRates
from metrion.rates.refresh import Refresher
from metrion.storage import accounts as stored
from metrion.storage.database import Connection, Database, Engine, migrate, open_reader, open_writer
from metrion.storage.rows import admitted_since, month_used
from metrion.web.assets import Assets
from metrion.web.render import STATIC, make_templates
from metrion.web.routes import create_app
from metrion.web.security import App
from metrion.web.site import Site

_BACKLOG = 4096
_GC_THRESHOLDS = (50_000, 50, 100)
log = structlog.get_logger("metrion")


class Start(NamedTuple):
    """What whoever starts a server may tell people once it listens."""

    origin: str  # where its pages are
    claim: str  # a link that makes whoever opens it the operator; "" where there is one


Started = Callable[[Start], None]


def run(settings: Settings, started: Started) -> None:
    """Serve until SIGTERM or SIGINT; `started` is called when it listens."""
    uvloop.run(serve(settings, started))


async def serve(settings: Settings, started: Started, *, sandbox: bool = False) -> None:
    """Serve proxy and pages on one listener until a signal; `started` is called when it listens; MetrionError.

    `sandbox`: the providers are played, which the pages say.
    """
    with hold_lock(settings, "serve"):
        database = open_writer(settings)
        try:
            migrate(database)
            vault = open_vault(settings, database)
            recover(settings, database)
            await _serve(settings, database, vault, started, sandbox)
        finally:
            database.close()


async def _serve(settings: Settings, database: Database, vault: Vault, started: Started, sandbox: bool) -> None:
    loop = asyncio.get_running_loop()
    book = PriceBook.load(settings.own_prices)
    journal = Journal(settings.data_dir / "journal", loop, strict=settings.durability == "strict")
    writer = Writer(database, book, journal, loop)
    admission = Admission(settings.rate_limit_per_minute, settings.free_monthly_requests)
    with database.begin() as connection:
        registry = Registry.load(connection, vault)
        _restore(admission, connection, settings, loop.time())
        claim = claim_link(connection)
    proxy = Proxy(settings, loop, registry, admission, journal, writer)
    listener = _bind(settings)
    mail = Sender(settings, vault, open_reader(settings), writer.run)
    caretaker = Caretaker(settings, writer, journal)
    folder = Folder(writer)
    changes = Changes(writer, registry, admission, caretaker.wake, mail.wake)
    billing = _billing(settings, vault, changes, listener)
    courier = _courier(settings, vault, writer, Failures(vault, settings.public_url or _address(listener), mail.wake))
    filler = Filler(writer.run)

    def wake() -> None:
        mail.wake()
        courier.wake()

    alerts = Alerts(
        vault,
        DailyRates(settings.data_dir),
        settings.public_url or _address(listener),
        mail=mail_on(settings),
        wake=lambda: cast(None, loop.call_soon_threadsafe(wake)),
    )
    writer.then(alerts.look)
    reader = open_reader(settings, database.memory)
    site = _site(settings, vault, reader, changes, wake, billing, alerts, admission, listener, sandbox)
    start = Start(site.public_url, link_url(site.public_url, "claim", claim) if claim else "")
    app = create_app(site, lambda: proxy.ready)
    server = _Server(proxy, _config(settings, app, proxy), lambda: started(start))
    writer.start()
    _quiet_interpreter()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, server.stop)
    rates = Refresher(settings.data_dir, settings.rates_origin)
    if settings.rates_refresh == "on":
        rates.start()
    tasks: list[Background] = [mail, courier, caretaker, folder, filler, Unconfirmed(vault, changes.make)]
    if billing is not None:
        changes.tell(billing.wake)
        tasks.append(billing)
    for task in tasks:
        task.start()
    operations = _operations(settings, writer, book, vault, changes, billing, site.public_url)
    control = await listen(settings, operations)
    try:
        await server.serve(sockets=[listener])
    finally:
        control.close()
        rates.stop()
        for task in tasks:
            await task.stop()
        site.close()
        proxy.cut_all()
        await journal.drain()  # the cuts' records reach the writer
        proxy.close()
        await loop.run_in_executor(None, writer.stop)
        await asyncio.sleep(0)  # the writer's last batch is settled with this tick
        journal.close(rows_durable=writer.sync())


def _restore(admission: Admission, connection: Connection, settings: Settings, now: float) -> None:
    """The minute and the month go on where the last process stopped."""
    at_ms = now_ms()
    month_ms = month_start_ms(month_of(at_ms))
    rows = stored.list_accounts(connection, None)
    since = int(at_ms - WINDOW * 1000)
    limit = settings.rate_limit_per_minute
    recent = ((row.id, at) for row in rows if limit for at in admitted_since(connection, row.id, since, limit))
    month = (_month(connection, row, month_ms) for row in rows if settings.free_monthly_requests)
    admission.restore(now, at_ms, recent, month)


def _month(connection: Connection, account: Any, month_ms: int) -> tuple[int, int, int]:
    """What `Admission.restore` takes; what an account called as pro does not count once it is on free."""
    used, since_ms = month_used(connection, account.id, month_ms), account.free_since_ms or 0
    return account.id, used - (account.month_base if since_ms >= month_ms else 0), since_ms


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).partition(" (while")[0]  # Python's own words repeat the address
        raise MetrionError(
            f"cannot listen on {settings.host}:{settings.port} ({reason});"
            " choose another with --host and --port, or METRION_HOST and METRION_PORT"
        ) from None


def _address(listener: socket.socket) -> str:
    """How this process reaches its own listener."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _billing(settings: Settings, vault: Vault, changes: Changes, listener: socket.socket) -> Billing | None:
    """Where Stripe is configured."""
    stripe = connect(settings)
    if stripe is None:
        return None
    public_url = settings.public_url or _address(listener)
    return Billing(Desk(settings, vault, stripe, public_url, open_reader(settings), changes.make))


def _courier(settings: Settings, vault: Vault, writer: Writer, failures: Failures) -> Courier:
    poster = Poster(allow_private=settings.allow_private_webhooks == "on")
    told = failures if mail_on(settings) else None
    return Courier(vault, open_reader(settings), writer.run, poster, failures=told)


def _site(
    settings: Settings,
    vault: Vault,
    reader: Engine,
    changes: Changes,
    wake: Callable[[], None],
    billing: Billing | None,
    alerts: Alerts,
    admission: Admission,
    listener: socket.socket,
    sandbox: bool,
) -> Site:
    assets = Assets(STATIC)
    return Site(
        settings,
        vault,
        reader,
        changes.make,
        assets=assets,
        templates=make_templates(assets),
        address=_address(listener),
        wake=wake,
        billing=billing,
        alerts=alerts,
        month_used=lambda account_id: admission.month_used(account_id, now_ms()),
        sandbox=sandbox,
    )


def _config(settings: Settings, app: App, proxy: Proxy) -> uvicorn.Config:
    def connection(
        config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop
    ) -> Front:
        return Front(proxy, server_state, lambda: PageProtocol(config, server_state, app_state, _loop))

    return uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], connection),  # a factory serves where a class is asked for
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whose X-Forwarded-For is believed is for METRION_TRUSTED_PROXIES alone to say
        date_header=True,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(settings.shutdown_grace) or 1,
    )


class _Server(uvicorn.Server):
    """uvicorn's server with our signals: its own would end the process before the ledger is closed."""

    def __init__(self, proxy: Proxy, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._proxy = proxy
        self._tell_started = started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    def stop(self) -> None:
        """Idle connections close, streams get the grace period; a second signal cuts them."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._proxy.stop()


def _operations(
    settings: Settings,
    writer: Writer,
    book: PriceBook,
    vault: Vault,
    changes: Changes,
    billing: Billing | None,
    origin: str,
) -> Callable[[str, dict[str, Any]], Any]:
    """What commands ask for through the control socket: run by the writer, effective before the answer.

    Answers about accounts also tell `origin`, by which people reach the pages: a command may not know the server's.
    """

    of_accounts = ACCOUNT_OPERATIONS | {"set_plan": plan_setter(settings, origin)}

    async def perform(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name in of_accounts:
            operation = of_accounts[name]
            result = await changes.make(
                lambda connection: operation(connection, vault, arguments),
                lambda done: int(done.get("account_id", 0)),
            )
            return result | {"origin": origin}
        if name in LEDGER_OPERATIONS:  # the book is the writer's own
            return await writer.run(lambda database: LEDGER_OPERATIONS[name](settings, database, book, arguments))
        if name in BILLING_OPERATIONS and billing is not None:
            return await billing.perform(name, arguments)
        raise InputError("the running server does not know this operation; restart it")

    return perform


def _quiet_interpreter() -> None:
    """Let the garbage collector not hold the loop up.

    The thread switch interval stays Python's 5 ms: at 0.5 to 2 ms the writer and the loop change hands so often that a
    call costs a tenth more CPU, and below some thousand calls a second the writer is done sooner than that anyway.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
