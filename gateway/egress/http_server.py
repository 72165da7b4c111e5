"""The HTTP listener of gateway.egress: the strict listener of the data plane, run beside it."""

import asyncio
import ssl
from contextlib import suppress

import uvicorn

from gateway.collaborators import Application
from gateway.egress.listener import Count
from gateway.listener import ListenerLimits, make_server


class HttpServer:
    """Runs one application until it is closed; with TLS where it is given a context."""

    def __init__(
        self, application: Application, limits: ListenerLimits, count: Count, context: ssl.SSLContext | None = None
    ) -> None:
        self._application, self._limits, self._count, self._context = application, limits, count, context
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port it is (for port 0). Raises OSError."""
        server = self._server = make_server(
            self._application,
            host,
            port,
            limits=self._limits,
            count=self._count,
            context=self._context,
        )
        self._task = asyncio.create_task(server._serve(), name="egress proxy")
        while not server.started:
            if self._task.done():
                await self._task
                raise OSError("the proxy cannot listen")
            await asyncio.sleep(0.01)
        return int(server.servers[0].sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening; calls under way end first."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            with suppress(asyncio.CancelledError):
                await self._task
