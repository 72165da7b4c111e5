"""`crmgate serve`: both listeners over one composed gateway, until a signal ends them.

The data plane and the console share a process and nothing of a request: hosts, cookies and applications are their own.
"""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import structlog
import uvicorn

from audit.beside import end
from gateway import pipeline
from gateway.access.sessions import Sessions
from gateway.accounts import utc_now
from gateway.app import App
from gateway.collaborators import Application
from gateway.composition import open_app
from gateway.console_plane import make_console_plane
from gateway.listener import ListenerLimits, make_server
from gateway.opening import Database, open_certificate, open_database
from gateway.settings import ConsoleSettings, ListenerSettings, Settings
from gateway.tls import server_context
from kms.tokens import StoreUnavailable

GC_YOUNG_OBJECTS = 10_000  # 32 exchanges under way hold about 2 000
SWEEP_S = 3600.0

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM; raises what the parts that cannot start raise."""
    database = await _open(settings)
    try:
        async with open_app(settings, database.dsn, database.embedded) as app:
            await _listen(settings, app, database.dsn)
    finally:
        await asyncio.to_thread(database.close)


async def _open(settings: Settings) -> Database:
    """The database; one that we are told to leave before it is ready is closed again."""
    opening = asyncio.create_task(asyncio.to_thread(open_database, settings))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.to_thread((await opening).close)
        raise


async def _listen(settings: Settings, app: App, dsn: str) -> None:
    console = make_console_plane(
        app.console_app, settings.console.host, app.network, secure=settings.console.public_url.startswith("https:")
    )
    servers = [
        _server(settings, settings.gateway, partial(pipeline.handle, app), app),
        _server(settings, settings.console, console, app),
    ]
    async with AsyncExitStack() as stack:
        _in_background(stack, _follow_sessions(app.sessions, dsn))
        _in_background(stack, app.refusals.run(app.audit, utc_now))
        _in_background(stack, _sweep(app))
        for lookout in app.lookouts:
            _in_background(stack, lookout())
        stack.push_async_callback(_flush, app)
        for listening in app.egress:
            await listening.start(listening.address.host, listening.address.port)
            stack.push_async_callback(listening.close)
        _settle_memory()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, servers)
        await asyncio.gather(*(_run(server) for server in servers))


def _settle_memory() -> None:
    """What was built to start with stays: the collector need not look through it again and again (4 % of all CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS)


def _server(
    settings: Settings, listener: ListenerSettings | ConsoleSettings, application: Application, app: App
) -> uvicorn.Server:
    limits = settings.limits
    files = open_certificate(settings, listener, utc_now())

    def count(client: str, reason: str) -> None:
        app.refusals.note("", client, reason, 400, utc_now())

    context = None
    if files is not None:
        client_ca = listener.client_ca if isinstance(listener, ListenerSettings) else None
        context = server_context(files.certificate, files.key, listener.tls_minimum, listener.tls_ciphers, client_ca)
    return make_server(
        application,
        listener.listen.host,
        listener.listen.port,
        limits=ListenerLimits(head=limits.head_kb * 1024, idle_s=limits.idle_client_s, connections=limits.clients),
        count=count,
        context=context,
        proxies=settings.network.proxy_protocol,
    )


async def _run(server: uvicorn.Server) -> None:
    """`Server.serve` without its signal handling: one handler ends both servers."""
    await server._serve()


def _stop(servers: list[uvicorn.Server]) -> None:
    for server in servers:
        server.should_exit = True


def _in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    stack.push_async_callback(end, task)


async def _follow_sessions(sessions: Sessions, dsn: str) -> None:
    await sessions.follow(dsn)


async def _sweep(app: App) -> None:
    """Delete what expired, once an hour; one that fails is asked again the next time and stops none of the others."""
    while True:
        for sweep in app.sweeps:
            try:
                await sweep(utc_now())
            except StoreUnavailable:
                log.warning("sweep-postponed")
            except Exception as fault:
                log.error("sweep-failed", fault=type(fault).__name__)
        await asyncio.sleep(SWEEP_S)


async def _flush(app: App) -> None:
    await app.refusals.flush(app.audit, utc_now(), everything=True)
