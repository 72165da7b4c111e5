"""Random bearer tokens: what a browser holds and what the database may know of it.

A token is 256 random bits in base64url (ASVS 7.2.2 asks for 128); the database keeps its SHA-256 only, so that a stolen
dump opens nothing. Randomness is an argument everywhere: `secrets.token_bytes` in production.
"""

import hashlib
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable

Randomness = Callable[[int], bytes]

TOKEN_BYTES = 32
RESERVE_BYTES = 1536
# base64url of 32 bytes without padding; anything longer is not ours and is never hashed or looked up.
TOKEN_CHARS = 43


class Reserve:
    """Random bytes for ids that are no secrets, taken from the system for many ids at once: each call costs 1 µs."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes, self._at = b"", 0

    def __call__(self, size: int) -> bytes:
        """The next bytes; none is given twice."""
        at, end = self._at, self._at + size
        if end > len(self._bytes):
            self._bytes = os.urandom(max(size, RESERVE_BYTES))
            at, end = 0, size
        self._at = end
        return self._bytes[at:end]


def new_token(randomness: Randomness) -> str:
    """A fresh bearer token of 43 URL-safe characters."""
    return urlsafe_b64encode(randomness(TOKEN_BYTES)).rstrip(b"=").decode("ascii")


def new_id(prefix: str, randomness: Randomness) -> str:
    """A fresh identifier that is no secret, such as `u-5f0c…` (96 random bits)."""
    return f"{prefix}-{randomness(12).hex()}"


def digest(token: str) -> bytes:
    """SHA-256 of a token, the only form in which the database knows it (32 bytes)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def well_formed(token: str) -> bool:
    """Whether a string can be one of our tokens at all; keeps junk away from the cache and the database."""
    return len(token) == TOKEN_CHARS and token.isascii() and token.replace("-", "A").replace("_", "A").isalnum()
