"""The CRM of the benchmark: an HTTP/1.1 server on uvloop and httptools that keeps records in memory.

POST /records stores a JSON object and answers 201 with its number; GET /record gives the first record with its long
notes (about 2 KB); GET /list gives all of them without (about 58 KB for 100). It parses and answers as cheaply as
Python can, so that what is measured is the proxy in front.
"""

import asyncio
import sys
from typing import Any

import httptools
import orjson
import uvloop

NOTES = "notes"


class Records:
    """What was stored, and the two answers made of it."""

    def __init__(self) -> None:
        self._records: list[dict[str, Any]] = []
        self.record = self.list = _answer(404, b"{}")

    def add(self, body: bytes) -> bytes:
        """Store one record and give the answer to its creation."""
        record: dict[str, Any] = {"id": len(self._records) + 1, **orjson.loads(body)}
        self._records.append(record)
        self.record = _answer(200, orjson.dumps(self._records[0]))
        short = [{key: value for key, value in one.items() if key != NOTES} for one in self._records]
        self.list = _answer(200, orjson.dumps(short))
        return _answer(201, orjson.dumps({"id": record["id"]}))


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        """Called by the loop."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser: answer."""
        url, self._url = self._url, b""
        if url == b"/record":
            answer = self._records.record
        elif url == b"/list":
            answer = self._records.list
        elif url == b"/records" and self._parser.get_method() == b"POST":
            answer = self._records.add(b"".join(self._body))
        else:
            answer = _answer(404, b"{}")
        self._body = []
        self._transport.write(answer)


def _answer(status: int, body: bytes) -> bytes:
    reason = {200: "OK", 201: "Created", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(port: int) -> None:
    """Serve on loopback until killed."""
    records = Records()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(records), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
