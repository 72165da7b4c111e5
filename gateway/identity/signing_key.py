"""Keys that sign what a CRM verifies: a PEM file of the administrator's, or keys of our own, sealed and renewed.

A key of our own is replaced after `key_days`; its public half stays among the published ones for a day longer than any
token signed with it is good. Several processes share the keys of the database: of two that renew at once one wins.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gateway.access.tokens import Randomness
from gateway.identity.config import Algorithm
from gateway.identity.sealing import IdentitySealer
from gateway.identity.store import IdentityStore, KeyRow
from gateway.toml_tree import SettingInvalid
from kms.envelope import EnvelopeInvalid
from kms.provider import KeysUnavailable

TABLE = "identity_key"
RSA_BITS = 2048
CACHE = timedelta(seconds=60)
GRACE = timedelta(days=1)
Key = ECKey | RSAKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key that signs. id: as `kid` in what it signs."""

    id: str
    algorithm: str
    key: Key = field(repr=False)

    def sign(self, claims: Mapping[str, Any], kind: str = "JWT") -> str:
        """A signed token of these claims."""
        header = {"alg": self.algorithm, "kid": self.id, "typ": kind}
        return jwt.encode(header, dict(claims), self.key, algorithms=[self.algorithm])

    @property
    def public(self) -> Mapping[str, Any]:
        """The public half, as it is published."""
        return {**self.key.as_dict(private=False), "kid": self.id, "alg": self.algorithm, "use": "sig"}


class SigningKeys:
    """The signing keys of one tenant. days: age at which a key of our own is replaced; lifetime: of what is signed."""

    def __init__(
        self,
        tenant: str,
        algorithm: Algorithm,
        store: IdentityStore,
        sealer: IdentitySealer,
        clock: Callable[[], datetime],
        randomness: Randomness,
        days: int,
        lifetime: timedelta,
        given: SigningKey | None = None,
    ) -> None:
        self._tenant = tenant
        self._algorithm = algorithm
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._randomness = randomness
        self._age = timedelta(days=days)
        self._kept = GRACE + lifetime
        self._given = given
        self._cached: tuple[datetime, SigningKey] | None = None

    async def current(self) -> SigningKey:
        """The key to sign with; raises KeysUnavailable, StoreUnavailable."""
        if self._given is not None:
            return self._given
        now = self._clock()
        if self._cached is not None and now - self._cached[0] < CACHE:
            return self._cached[1]
        rows = await self._store.keys(self._tenant, self._algorithm)
        if not rows or now - rows[0].made_at >= self._age:
            await self._renew(rows, now)
            rows = await self._store.keys(self._tenant, self._algorithm)
        found = await self._opened(rows[0])
        self._cached = (now, found)
        return found

    async def published(self) -> Mapping[str, Any]:
        """The key set for those who verify (RFC 7517); raises KeysUnavailable, StoreUnavailable."""
        if self._given is not None:
            return {"keys": [self._given.public]}
        await self.current()  # an empty set would be remembered by who asks too early
        return {"keys": [dict(row.public) for row in await self._store.keys(self._tenant, self._algorithm)]}

    async def _renew(self, rows: list[KeyRow], now: datetime) -> None:
        made = generate(self._algorithm, self._randomness)
        private = json.dumps(made.key.as_dict(private=True)).encode()
        blob = await self._sealer.seal(self._tenant, TABLE, made.id, private)
        row = KeyRow(made.id, self._algorithm, made.public, blob, now)
        if await self._store.add_key(self._tenant, row, rows[0].id if rows else ""):
            # A key is out of use since the next one was made.
            gone = [old.id for newer, old in pairwise(rows) if now - newer.made_at >= self._kept]
            await self._store.drop_keys(self._tenant, gone)

    async def _opened(self, row: KeyRow) -> SigningKey:
        try:
            private = json.loads(await self._sealer.open(self._tenant, TABLE, row.id, row.blob))
        except EnvelopeInvalid:
            raise KeysUnavailable("identity-key", "the stored signing key does not open") from None
        return SigningKey(row.id, row.algorithm, _imported(row.algorithm, private))


def generate(algorithm: str, randomness: Randomness) -> SigningKey:
    """A fresh key pair of this kind."""
    key: Key = RSAKey.generate_key(RSA_BITS) if algorithm == Algorithm.RS256 else ECKey.generate_key("P-256")
    return SigningKey(f"k-{randomness(12).hex()}", algorithm, key)


def read_key(file: Path, algorithm: Algorithm, name: str) -> SigningKey:
    """The key in a PEM file; raises SettingInvalid. name: of the setting."""
    try:
        key = _imported(algorithm, file.read_bytes())
        private = key.is_private and (not isinstance(key, ECKey) or key.curve_name == "P-256")
    except OSError as fault:
        raise SettingInvalid(name, f"cannot read {file}: {fault.strerror}") from None
    except (JoseError, ValueError, TypeError):
        private = False
    if not private:
        raise SettingInvalid(name, f"{file} is no PEM file with a private key for {algorithm}")
    return SigningKey(key.thumbprint(), algorithm, key)


def _imported(algorithm: str, given: Any) -> Key:
    return RSAKey.import_key(given) if algorithm == Algorithm.RS256 else ECKey.import_key(given)
