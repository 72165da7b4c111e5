"""Brakes against guessing, in three dimensions that do not lock the owner out (ASVS 6.1.1, 6.3.1).

- pair: one login from one address. A few mistakes are free, then each further one doubles the wait.
- source: one address whatever the logins, against spraying one password over many people.
- login: one login from every address it never signed in from, against many machines guessing one person. An address
  the owner has signed in from keeps working, so nobody can lock the owner out from elsewhere.

Every attempt is counted *before* it is verified, in one statement, so that a burst of parallel guesses is counted too;
a success gives its count back. While a brake is on, attempts are refused unverified and do not prolong it. Keys are
SHA-256 digests of what was typed, existing login or not, so the answer tells nothing about who exists.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address


@dataclass(frozen=True, slots=True)
class Brake:
    """One dimension: `free` failures cost nothing, then base_s, twice that, … up to max_s; forgotten after window_s."""

    dimension: str
    free: int
    base_s: int
    max_s: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Brakes:
    """The three dimensions."""

    pair: Brake = Brake("pair", free=4, base_s=2, max_s=900, window_s=3_600)
    source: Brake = Brake("source", free=60, base_s=5, max_s=900, window_s=3_600)
    login: Brake = Brake("login", free=20, base_s=30, max_s=3_600, window_s=86_400)


# An address counts as the owner's for so long after the last successful sign-in from it.
KNOWN_SOURCE_DAYS = 90


class Locked(Exception):  # noqa: N818 - an outcome, named as the audit trail names it
    """Too many failures: refused unverified. `wait_s`: seconds until the next attempt is looked at."""

    permanent = False

    def __init__(self, wait_s: int) -> None:
        super().__init__("locked")
        self.wait_s = wait_s


def source_of(address: str) -> str:
    """The address as the throttle counts it: IPv4 whole, IPv6 by its /64 (one customer has all of it to change in)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(parsed)


def keys(login_key: str, source: str) -> dict[str, bytes]:
    """Digest per dimension for one attempt."""
    return {
        "pair": _digest("pair", login_key, source),
        "source": _digest("source", source),
        "login": _digest("login", login_key),
    }


def _digest(*parts: str) -> bytes:
    # Lengths in front, so that no two lists of parts read the same.
    return hashlib.sha256(b"".join(f"{len(p)}:{p}".encode("utf-8", "surrogatepass") for p in parts)).digest()
