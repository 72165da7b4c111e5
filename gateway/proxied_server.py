"""A server whose connections from configured proxies begin with a PROXY header, before TLS and before HTTP.

From such a peer the header is required: one that is missing, malformed, too long or late ends the connection without an
answer. From every other peer it is never read, so nobody can name an address that is not theirs. Exactly the bytes of
the header are taken from the socket; what follows is the client's.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn

from gateway.network import Allowlist, canonical
from gateway.proxy_protocol import Origin, ProxyInvalid, more, parse
from gateway.refusal import PROXY_HEADER_INVALID, Refusal

ACCEPT_PAUSE_S = 0.1  # after a fault of accept, such as no file numbers left


class ProxiedServer(uvicorn.Server):
    """uvicorn's server with its own accepting. peers: who begins with a header; count: as the listener's."""

    def __init__(
        self,
        config: uvicorn.Config,
        peers: Allowlist,
        count: Callable[[str, str], None],
        header_s: float,
        connections: int,
    ) -> None:
        super().__init__(config)
        self._peers = peers
        self._count = count
        self._header_s = header_s
        self._room = asyncio.Semaphore(connections)
        self._tasks: set[asyncio.Task[None]] = set()
        self.listening: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind and accept; raises OSError."""
        self.listening = [await asyncio.to_thread(_listen, self.config)] if sockets is None else list(sockets)
        await super().startup(sockets=[])
        for one in self.listening:
            one.setblocking(False)
            self._start(self._accept(one))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, then as uvicorn does."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self.listening:
            one.close()
        await super().shutdown(sockets=sockets)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()  # headers under way are bounded; whoever waits here waits in the backlog
            try:
                opened, peer = await loop.sock_accept(listening)
            except OSError:
                self._room.release()
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            except BaseException:
                self._room.release()
                raise
            self._start(self._begin(opened, str(peer[0])))

    async def _begin(self, opened: socket.socket, peer: str) -> None:
        """Read the header where one is due and hand the connection on."""
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            origin = await self._origin(opened, peer)
            await self._hand_on(opened, origin)
        except (ProxyInvalid, TimeoutError, Refusal):
            self._count(peer, PROXY_HEADER_INVALID.id)
            opened.close()
        except OSError:  # the peer went, or its TLS does not fit; ssl.SSLError is one
            opened.close()
        except BaseException:
            opened.close()
            raise
        finally:
            self._room.release()

    async def _origin(self, opened: socket.socket, peer: str) -> Origin | None:
        """Who is behind a proxy, None from everybody else; raises ProxyInvalid, TimeoutError, Refusal, OSError."""
        if not self._peers.permits(canonical(peer)):
            return None
        loop, header = asyncio.get_running_loop(), b""
        async with asyncio.timeout(self._header_s):
            while wanted := more(header):
                piece = await loop.sock_recv(opened, wanted)
                if not piece:
                    raise ProxyInvalid
                header += piece
        return parse(header)

    async def _hand_on(self, opened: socket.socket, origin: Origin | None) -> None:
        config, loop = self.config, asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            made: Any = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )
            if origin is not None and origin.address is not None:
                made.behind = (origin.address, origin.port)
            handed: asyncio.Protocol = made
            return handed

        await loop.connect_accepted_socket(protocol, opened, ssl=config.ssl)


def _listen(config: uvicorn.Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    return socket.create_server((config.host, config.port), family=family, backlog=config.backlog)
