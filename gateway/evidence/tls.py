"""TLS of every leg as it is spoken now: version, cipher, whose certificate, how long it lasts.

A leg is proved when chain and name verify with at least TLS 1.2, or when it cannot be heard from outside this machine
(loopback, Unix socket). It is refuted when it is plain or its certificate does not hold; what does not answer is "not
visible". Only a handshake is made; no request is sent.
"""

import ipaddress
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from gateway.evidence.probe import Evidence, Verdict
from gateway.evidence.store import ServerSilent, postgres_leg
from gateway.tls import Expiry, look

CLAIM = "TLS 1.2 or newer with a certificate that holds, or never off this machine"
CONNECT_S = 5
_NEW_ENOUGH = frozenset({"TLSv1.2", "TLSv1.3"})


@dataclass(frozen=True, slots=True)
class TlsProbe:
    """One leg to a URL. make_context: what the leg is spoken with; raises OSError when its files cannot be used."""

    about: str
    url: str
    make_context: Callable[[], ssl.SSLContext]
    clock: Callable[[], datetime]

    def look(self) -> Sequence[Evidence]:
        """Shake hands once."""
        return [self._look()]

    def _look(self) -> Evidence:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme != "https":
            near = is_near(host)
            fact = ("transport", "plain HTTP, but on this machine only" if near else "plain HTTP over the network")
            return Evidence(self.about, CLAIM, Verdict.PROVED if near else Verdict.REFUTED, (fact,))
        try:
            seen = look(host, port, self.make_context(), timeout_s=CONNECT_S)
        except ssl.SSLCertVerificationError as fault:
            return Evidence(self.about, CLAIM, Verdict.REFUTED, (("certificate", fault.verify_message),))
        except ssl.SSLError as fault:
            return Evidence(self.about, CLAIM, Verdict.REFUTED, (("handshake", fault.reason or "failed"),))
        except OSError:
            return Evidence(self.about, CLAIM, Verdict.NOT_VISIBLE, (("reason", "nobody answers there"),))
        ends = Expiry(self.about, seen.not_after)
        facts = (
            ("protocol", seen.protocol),
            ("cipher", seen.cipher),
            ("issuer", seen.issuer or "?"),
            ("certificate ends", "?" if seen.not_after is None else f"in {ends.days(self.clock())} days"),
        )
        good = seen.protocol in _NEW_ENOUGH
        return Evidence(self.about, CLAIM, Verdict.PROVED if good else Verdict.REFUTED, facts)

    def expiry(self) -> Expiry:
        """When the certificate on this leg ends; unseen when there is no handshake."""
        parts = urlsplit(self.url)
        try:
            seen = look(parts.hostname or "", parts.port or 443, self.make_context(), timeout_s=CONNECT_S)
        except OSError:  # ssl.SSLError is one
            return Expiry(self.about, None)
        return Expiry(self.about, seen.not_after)


@dataclass(frozen=True, slots=True)
class PostgresTlsProbe:
    """The leg to crmgate's own PostgreSQL."""

    about: str
    dsn: str

    def look(self) -> Sequence[Evidence]:
        """What the server says of this very connection, and whether its certificate was verified."""
        return [self._look()]

    def _look(self) -> Evidence:
        try:
            leg = postgres_leg(self.dsn)
        except ServerSilent as fault:
            return Evidence(self.about, CLAIM, Verdict.NOT_VISIBLE, (("reason", fault.problem),))
        if leg.host.startswith("/") or is_near(leg.host):
            return Evidence(self.about, CLAIM, Verdict.PROVED, (("transport", "on this machine only"),))
        if not leg.protocol:
            return Evidence(self.about, CLAIM, Verdict.REFUTED, (("transport", "plain, over the network"),))
        facts = (("protocol", leg.protocol), ("cipher", leg.cipher), ("sslmode", leg.mode))
        good = leg.protocol in _NEW_ENOUGH and leg.mode == "verify-full"
        return Evidence(self.about, CLAIM, Verdict.PROVED if good else Verdict.REFUTED, facts)


def is_near(host: str) -> bool:
    """Whether a host is this machine by its very name or number."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
