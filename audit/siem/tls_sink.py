"""Syslog over TLS (RFC 5425): one connection, kept.

The protocol has no answer, so the nearest thing to one is waited for: that the other side's system has acknowledged
every byte. What its program then does with them is not known.
"""

import asyncio
import fcntl
import ssl
import struct
import termios
from collections.abc import Sequence

from audit.siem.sink import SinkUnavailable
from audit.siem.syslog import frame

CONNECT_S = 10.0
TAKEN_S = 30.0
_LOOK_S = 0.01


class TlsSink:
    """host, port: of the collector. context: what it has to show, and what we show it."""

    confirms = False

    def __init__(self, host: str, port: int, context: ssl.SSLContext, *, taken_s: float = TAKEN_S) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._taken_s = taken_s
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, lines: Sequence[bytes]) -> None:
        """Write the frames and wait until they are acknowledged; raises SinkUnavailable."""
        try:
            reader, writer = self._open or await self._connect()
            writer.write(b"".join(frame(line) for line in lines))
            async with asyncio.timeout(self._taken_s):
                await writer.drain()
                while _unsent(writer):  # noqa: ASYNC110 - the kernel tells nobody when a queue is empty
                    await asyncio.sleep(_LOOK_S)
        except ssl.SSLError as fault:
            await self.close()
            raise SinkUnavailable(f"TLS: {fault.reason or 'refused'}") from None
        except (OSError, TimeoutError) as fault:
            await self.close()
            raise SinkUnavailable(type(fault).__name__) from None
        if reader.at_eof():
            await self.close()
            raise SinkUnavailable("closed by the other side")

    async def alive(self) -> bool:
        """Whether the connection stands."""
        if self._open is None:
            return False
        reader, writer = self._open
        return not (reader.at_eof() or writer.is_closing())

    async def close(self) -> None:
        """End the connection."""
        held, self._open = self._open, None
        if held is not None:
            held[1].close()
            try:
                async with asyncio.timeout(1):
                    await held[1].wait_closed()
            except (OSError, TimeoutError):
                held[1].transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(CONNECT_S):
            opened = await asyncio.open_connection(
                self._host, self._port, ssl=self._context, server_hostname=self._host
            )
        self._open = opened
        return opened


def _unsent(writer: asyncio.StreamWriter) -> bool:
    """Whether bytes are waiting here, or on their way without acknowledgement (tcp(7), SIOCOUTQ)."""
    if writer.transport.get_write_buffer_size():
        return True
    if writer.is_closing():
        raise ConnectionResetError
    held = fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return bool(struct.unpack("i", held)[0])
