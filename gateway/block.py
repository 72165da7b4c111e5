"""The fields of one request, strictly: names, values, host, length; kept while a connection repeats them.

Refused is what two parsers could read differently: repeated Host or length, both framings, odd lengths, another
protocol. A client repeats its fields request after request, so that reading them once for a connection is enough.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.refusal import AMBIGUOUS_FRAMING, MALFORMED_REQUEST, UPGRADE_REFUSED, Refusal

if TYPE_CHECKING:
    from gateway.network import Tenant

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?\Z")
# One of each is judged; of two, the CRM might take the other.
_SINGLE = ("host", "content-length", "transfer-encoding", "content-type", "content-encoding", "authorization")
_HOST_CHARS = 256  # RFC 1035 §2.3.4 has 255


class Block:
    """The fields of a request and what follows from them alone, never from the target or the time.

    fields: lower-case names with values, duplicates kept; named: the first value of each; pairs: the cookies, once they
    were looked at; lines: (tenant, asset or not, what goes to the CRM), likewise. Raises Refusal AMBIGUOUS_FRAMING,
    MALFORMED_REQUEST, UPGRADE_REFUSED.
    """

    __slots__ = ("content_length", "fields", "has_body", "host", "lines", "named", "pairs")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self.fields = fields = tuple([(_name(name), value.decode("latin-1")) for name, value in raw])
        self.named = named = dict(reversed(fields))
        if len(named) != len(fields):
            _require_single([name for name, _ in fields])
        if "upgrade" in named:
            raise Refusal(UPGRADE_REFUSED)
        chunked, self.content_length = _framing(named.get("transfer-encoding"), named.get("content-length"))
        self.has_body = chunked or bool(self.content_length)
        self.host = named.get("host", "").lower()
        if len(self.host) > _HOST_CHARS or not _is_host(self.host):
            raise Refusal(MALFORMED_REQUEST, detail="host")
        self.pairs: list[tuple[str, str]] | None = None
        self.lines: tuple[Tenant, bool, str] | None = None


class Memory:
    """The last block of one client connection."""

    __slots__ = ("_block", "_raw")

    def __init__(self) -> None:
        self._raw: list[tuple[bytes, bytes]] | None = None
        self._block: Block | None = None

    def block(self, raw: list[tuple[bytes, bytes]]) -> Block:
        """The block of these fields; raises as `Block` does."""
        block = self._block
        if block is None or raw != self._raw:
            block = Block(raw)
            self._raw, self._block = list(raw), block
        return block


def _require_single(names: list[str]) -> None:
    for name in _SINGLE:
        if names.count(name) > 1:
            raise Refusal(AMBIGUOUS_FRAMING, detail=name)


def _framing(coding: str | None, length: str | None) -> tuple[bool, int | None]:
    """Whether the body is chunked, else its length; one of both at most, written in the one way (RFC 9112 §6)."""
    if coding is not None and (coding.lower() != "chunked" or length is not None):
        raise Refusal(AMBIGUOUS_FRAMING, detail="transfer-encoding" if length is None else "content-length")
    if length is None:
        return coding is not None, None
    if not length.isascii() or not length.isdigit() or len(length) > 18:
        raise Refusal(AMBIGUOUS_FRAMING, detail="content-length")
    return False, int(length)


@lru_cache(maxsize=256)
def _is_host(host: str) -> bool:
    return _HOST.match(host) is not None


@lru_cache(maxsize=4096)
def _name(raw: bytes) -> str:
    """A field name as text: the same few names come all day."""
    return raw.decode("ascii")
