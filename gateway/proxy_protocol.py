"""The PROXY protocol, versions 1 and 2, as its receiver reads it: pure, over bytes, never more than the header.

Source: The PROXY protocol, versions 1 and 2 (Willy Tarreau, HAProxy), sections 2.1 and 2.2. A header is read in steps:
`more` says how many bytes to read next, so that nothing behind the header is ever taken. What is not exactly a header
is an error; so are datagrams and Unix sockets, which no client of a CRM comes by.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_MOST = 107  # bytes, with the line break
V2_HEAD = 16
V2_MOST = 1024  # bytes of addresses and TLVs that are read at most
_V1 = b"PROXY "
_INET, _INET6, _UNSPEC = 0x11, 0x21, 0x00
NOBODY = str(IPv4Address(0))  # a client the proxy cannot name: in no list, and no proxy whose other claims count


class ProxyInvalid(Exception):  # noqa: N818 - a state of a connection, which ends with it
    """The connection does not begin with a PROXY header that can be believed."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from. address: canonical text, NOBODY where the proxy names none,
    None where it speaks for itself; port."""

    address: str | None
    port: int


def more(read: bytes) -> int:
    """How many bytes to read next, 0 when the header is whole; raises ProxyInvalid as soon as it cannot be one."""
    if len(read) < len(SIGNATURE):
        if not (SIGNATURE.startswith(read) or _V1.startswith(read[: len(_V1)])):
            raise ProxyInvalid
        return len(SIGNATURE) - len(read)
    if read.startswith(SIGNATURE):
        if len(read) < V2_HEAD:
            return V2_HEAD - len(read)
        (length,) = struct.unpack_from("!H", read, 14)
        if length > V2_MOST:
            raise ProxyInvalid
        return int(V2_HEAD + length - len(read))
    if not read.startswith(_V1):
        raise ProxyInvalid
    if read.endswith(b"\r\n"):
        return 0
    if len(read) >= V1_MOST or b"\n" in read:
        raise ProxyInvalid
    return 1


def parse(header: bytes) -> Origin:
    """Who stands behind a whole header; raises ProxyInvalid."""
    if more(header) != 0:
        raise ProxyInvalid
    return _version_2(header) if header.startswith(SIGNATURE) else _version_1(header)


def _version_1(line: bytes) -> Origin:
    try:
        parts = line.removesuffix(b"\r\n").decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyInvalid from None
    if parts[1] == "UNKNOWN":  # what follows is to be ignored
        return Origin(NOBODY, 0)
    if len(parts) != 6 or parts[1] not in ("TCP4", "TCP6"):
        raise ProxyInvalid
    kind = IPv4Address if parts[1] == "TCP4" else IPv6Address
    try:
        source, _ = kind(parts[2]), kind(parts[3])
    except ValueError:
        raise ProxyInvalid from None
    port, _ = _port(parts[4]), _port(parts[5])
    return Origin(_text(source), port)


def _port(text: str) -> int:
    if not text.isdigit() or len(text) > 5 or (len(text) > 1 and text[0] == "0") or int(text) > 65535:
        raise ProxyInvalid
    return int(text)


def _version_2(header: bytes) -> Origin:
    version, command, family = header[12] >> 4, header[12] & 0x0F, header[13]
    if version != 2 or command not in (0, 1):
        raise ProxyInvalid
    if command == 0:  # LOCAL: the proxy's own connection, whatever stands in the block
        return Origin(None, 0)
    block = header[V2_HEAD:]
    if family == _UNSPEC:
        return Origin(NOBODY, 0)
    if family == _INET and len(block) >= 12:
        _tlvs(block[12:])
        return Origin(_text(IPv4Address(block[:4])), struct.unpack_from("!H", block, 8)[0])
    if family == _INET6 and len(block) >= 36:
        _tlvs(block[36:])
        return Origin(_text(IPv6Address(block[:16])), struct.unpack_from("!H", block, 32)[0])
    raise ProxyInvalid


def _tlvs(rest: bytes) -> None:
    """Type, length, value, as often as there is room; what they say is not used, that they fit is checked."""
    while rest:
        if len(rest) < 3:
            raise ProxyInvalid
        (length,) = struct.unpack_from("!H", rest, 1)
        if len(rest) < 3 + length:
            raise ProxyInvalid
        rest = rest[3 + length :]


def _text(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ProxyInvalid
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)
