"""The PROXY protocol: the examples of its specification, and that nothing but a header is taken for one."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy_protocol import NOBODY, SIGNATURE, V2_MOST, Origin, ProxyInvalid, more, parse

FULL6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def v2(command: int, family: int, block: bytes, length: int | None = None, version: int = 2) -> bytes:
    size = len(block) if length is None else length
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack("!H", size) + block


def read_all(stream: bytes) -> tuple[Origin, bytes]:
    """Read as the server does; the origin and what was left for the client."""
    header = b""
    while wanted := more(header):
        piece = stream[len(header) : len(header) + wanted]
        if not piece:
            raise ProxyInvalid
        header += piece
    return parse(header), stream[len(header) :]


@pytest.mark.parametrize(
    ("line", "size", "origin"),
    [
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 56, Origin("255.255.255.255", 65535)),
        (f"PROXY TCP6 {FULL6} {FULL6} 65535 65535\r\n", 104, Origin(FULL6, 65535)),
        ("PROXY UNKNOWN\r\n", 15, Origin(NOBODY, 0)),
        (f"PROXY UNKNOWN {FULL6} {FULL6} 65535 65535\r\n", 107, Origin(NOBODY, 0)),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", 47, Origin("192.168.0.1", 56324)),
    ],
)
def test_the_examples_of_the_specification(line: str, size: int, origin: Origin) -> None:
    assert len(line) == size
    assert read_all(line.encode() + b"GET / HTTP/1.1\r\n") == (origin, b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        b"PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n", b"PROXY TCP4 ::1 ::2 1 2\r\n", b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 \xd9\xa1 2\r\n", b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00", b"", b"PROXY",
    ],
)  # fmt: skip
def test_what_is_no_line_of_version_1_is_refused(line: bytes) -> None:
    with pytest.raises(ProxyInvalid):
        read_all(line)


@pytest.mark.parametrize(
    "header",
    [
        v2(1, 0x11, b"\x01\x02\x03\x04" * 2), v2(1, 0x21, b"\x00" * 35), v2(1, 0x12, b"\x00" * 12),
        v2(1, 0x31, b"\x00" * 216), v2(2, 0x11, b"\x00" * 12), v2(1, 0x11, b"\x00" * 12, version=1),
        v2(1, 0x11, b"\x00" * 12 + b"\x03\x00\x05abc"), v2(1, 0x11, b"\x00" * 12 + b"\x03"),
        v2(1, 0x11, b"\x00" * 12, V2_MOST + 1), v2(1, 0x11, b"\x00" * 11, 12),
    ],
)  # fmt: skip
def test_what_is_no_header_of_version_2_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyInvalid):
        read_all(header)


def test_a_proxy_that_speaks_for_itself_names_nobody() -> None:
    assert read_all(v2(0, 0x00, b"") + b"x") == (Origin(None, 0), b"x")
    assert read_all(v2(0, 0x11, b"\x01\x02\x03\x04" * 3)) == (Origin(None, 0), b"")


def test_a_client_that_is_not_named_is_nobody_and_not_the_proxy() -> None:
    assert read_all(v2(1, 0x00, b"whatever"))[0] == Origin(NOBODY, 0)


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=50), st.booleans())
def test_whoever_is_named_is_read_and_nothing_behind_the_header(
    source: IPv4Address | IPv6Address, port: int, rest: bytes, text: bool
) -> None:
    number = source.version
    if text:
        header = f"PROXY TCP{number} {source} {source} {port} 443\r\n".encode()
    else:
        block = source.packed * 2 + struct.pack("!HH", port, 443) + b"\x04\x00\x02ok"
        header = v2(1, 0x11 if number == 4 else 0x21, block)
    origin, left = read_all(header + rest)
    mapped = getattr(source, "ipv4_mapped", None)
    assert (origin, left) == (Origin(str(mapped or source), port), rest)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: SIGNATURE + tail),
                 st.binary(max_size=120).map(lambda tail: b"PROXY " + tail)))  # fmt: skip
def test_any_bytes_are_a_header_or_an_error_and_never_read_beyond(stream: bytes) -> None:
    try:
        origin, left = read_all(stream)
    except ProxyInvalid:
        return
    assert stream.endswith(left)
    assert origin.address is None or 0 <= origin.port <= 65535
