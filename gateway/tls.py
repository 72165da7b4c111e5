"""TLS of every leg that crmgate itself speaks: which versions, which ciphers, whose certificates, until when.

The floor and the cipher list are settings with safe defaults (RFC 9325). A client certificate is shown to a CRM that
asks for one. Nothing here is kept; a handshake looks and hangs up.
"""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only; those of TLS 1.3 are all good and always on."""
WARN_DAYS, URGENT_DAYS = 30, 7
HANDSHAKE_S = 5.0


class TlsFloor(StrEnum):
    """The oldest TLS version that is spoken."""

    V1_2 = "1.2"
    V1_3 = "1.3"


_VERSIONS = {TlsFloor.V1_2: ssl.TLSVersion.TLSv1_2, TlsFloor.V1_3: ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Expiry:
    """When one certificate ends. leg: the setting it belongs to; not_after: UTC, None when it cannot be seen."""

    leg: str
    not_after: datetime | None

    def days(self, now: datetime) -> int:
        """Whole days left, negative once it has ended; raises ValueError when the end cannot be seen."""
        if self.not_after is None:
            raise ValueError("the end of this certificate cannot be seen")
        return (self.not_after - now) // timedelta(days=1)


def server_context(
    certificate: Path,
    key: Path,
    floor: TlsFloor = TlsFloor.V1_2,
    ciphers: str = CIPHERS,
    client_ca: Path | None = None,
) -> ssl.SSLContext:
    """For a listener: HTTP/1.1 only, no compression, no renegotiation; raises OSError, ssl.SSLError.

    client_ca: whose certificates clients may show; one that is shown and cannot be proved ends the connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[floor]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(ciphers)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(cafile=str(client_ca))
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    floor: TlsFloor = TlsFloor.V1_2,
    ciphers: str = CIPHERS,
) -> ssl.SSLContext:
    """For a connection to a CRM: always verifies chain and name; raises OSError, ssl.SSLError.

    ca: instead of the machine's own authorities; certificate, key: shown where the other side asks for one.
    """
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    context.minimum_version = _VERSIONS[floor]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(ciphers)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def require_ciphers(ciphers: str) -> None:
    """Raise ValueError when no cipher of the list exists here."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(ciphers)
    except ssl.SSLError as fault:
        raise ValueError("no cipher fits") from fault


def weak_ciphers(ciphers: str) -> list[str]:
    """Names of those in the list without forward secrecy or authenticated encryption (RFC 9325, section 4.2)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(ciphers)
    return sorted(
        str(one["name"])
        for one in context.get_ciphers()
        if one["protocol"] != "TLSv1.3" and not (one["aead"] and one["kea"] in ("kx-ecdhe", "kx-dhe"))
    )


@dataclass(frozen=True, slots=True)
class Handshake:
    """What one completed handshake showed; chain and name were verified. issuer: the common name in it, or ""."""

    protocol: str
    cipher: str
    not_after: datetime | None
    issuer: str


def look(host: str, port: int, context: ssl.SSLContext, *, name: str = "", timeout_s: float = HANDSHAKE_S) -> Handshake:
    """Shake hands and hang up; raises ssl.SSLError, OSError. name: the one to be proved, where it is not the host."""
    with (
        socket.create_connection((host, port), timeout=timeout_s) as plain,
        context.wrap_socket(plain, server_hostname=name or host) as secure,
    ):
        peer: Any = secure.getpeercert() or {}
        cipher = secure.cipher()
        issuer = next((value for part in peer.get("issuer", ()) for key, value in part if key == "commonName"), "")
        return Handshake(secure.version() or "", cipher[0] if cipher else "", end_of(peer), str(issuer))


def end_of(peer: object) -> datetime | None:
    """When the certificate in `SSLSocket.getpeercert()` ends; None when there is none."""
    text = peer.get("notAfter") if isinstance(peer, dict) else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC) if isinstance(text, str) else None


def nearest(expiries: Iterable[Expiry]) -> Expiry | None:
    """The one that ends first of those whose end is seen."""
    seen = [(one.not_after, one) for one in expiries if one.not_after is not None]
    return min(seen, key=lambda pair: pair[0])[1] if seen else None
