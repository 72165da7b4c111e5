"""Bytes on a TLS connection to the gateway, for what no client library would send or show."""

import json
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPResponse

from gateway.demo.browser import Browser
from tests.drills.stack import Stack

WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. fields: lower-case names, duplicates kept, in order."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key == name]

    @property
    def reason(self) -> str:
        """The reason id of a refusal."""
        return str(json.loads(self.body)["reason"])


def connect(stack: Stack, source: str = "127.0.0.1", protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLSocket:
    """A TLS connection to the CRM's public address, from one of this machine's own addresses."""
    context = ssl.create_default_context(cafile=str(stack.home.authority))
    context.set_alpn_protocols(list(protocols))
    plain = socket.create_connection(("127.0.0.1", stack.home.port), timeout=WAIT_S, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname="crm.localhost")


def head(
    stack: Stack, start: str, *fields: str, browser: Browser | None = None, accept: str = "application/json"
) -> bytes:
    """A request head with the right host and, for a signed-in browser, its cookies."""
    lines = [f"{start} HTTP/1.1", f"Host: crm.localhost:{stack.home.port}", f"Accept: {accept}", *fields]
    if browser is not None:
        lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in browser.cookies.items()))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read(connection: ssl.SSLSocket, method: str = "GET") -> Reply:
    """One whole answer."""
    answer = HTTPResponse(connection, method=method)
    try:
        answer.begin()
        fields = tuple((name.lower(), value) for name, value in answer.getheaders())
        return Reply(answer.status, fields, answer.read())
    finally:
        answer.close()


def ask(stack: Stack, data: bytes, source: str = "127.0.0.1") -> Reply:
    """One exchange on a connection of its own."""
    with connect(stack, source) as connection:
        connection.sendall(data)
        return read(connection)
