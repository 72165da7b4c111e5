"""The one CRM credential of the gateway's own work: sealed under the tenant's keys, every use in the audit trail.

It never appears in a log, an error, a process list or the settings file.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from gateway.access.tokens import Randomness
from gateway.protect.store import ProtectStore
from kms.envelope import NONCE_BYTES, Context, EnvelopeInvalid, Sealing, key_id, open_, seal
from kms.keyring import Keyring

SCOPE = "gateway.protect"
PAD_TO = 128


class CredentialMissing(Exception):  # noqa: N818 - names what is missing
    """No service credential is stored for this CRM, or it does not open."""

    permanent = True


class Uses(Protocol):
    """Told of every sign-in with the credential, before it counts as used."""

    def __call__(self) -> Awaitable[None]: ...


async def _unheard() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Credential:
    """Login and password of the service account; extra: what the CRM asks for beside them (name of its database)."""

    login: str
    password: str = field(repr=False)
    extra: Mapping[str, str] = field(default_factory=dict)
    used: Callable[[], Awaitable[None]] = field(default=_unheard, repr=False)


class Credentials:
    """Keeps and opens the credential of each tenant."""

    def __init__(
        self, store: ProtectStore, keyring: Keyring, randomness: Randomness, sealing: Callable[[str], Sealing]
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._randomness = randomness
        self._sealing = sealing

    async def keep(self, tenant: str, credential: Credential) -> None:
        """Seal and store; replaces an older one. Raises KeysUnavailable, StoreUnavailable."""
        key = await self._keyring.field_key(tenant, SCOPE, "seal")
        told = {"login": credential.login, "password": credential.password, "extra": dict(credential.extra)}
        nonce, sealing = self._randomness(NONCE_BYTES), self._sealing(tenant)
        blob = seal(key, orjson.dumps(told), place_of(tenant), nonce, pad_to=PAD_TO, sealing=sealing)
        await self._store.keep_credential(tenant, blob)

    async def open(self, tenant: str, used: Callable[[], Awaitable[None]]) -> Credential:
        """The credential; `used` is called at every sign-in. Raises CredentialMissing, KeysUnavailable."""
        blob = await self._store.credential(tenant)
        if blob is None:
            raise CredentialMissing("no service credential is stored; store one with: crmgate protect credential")
        try:
            keys = await self._keyring.by_id(tenant, {key_id(blob)})
            told = orjson.loads(open_(keys, blob, place_of(tenant)))
        except EnvelopeInvalid:
            raise CredentialMissing("the stored service credential does not open; store it again") from None
        return Credential(told["login"], told["password"], told["extra"], used)


def place_of(tenant: str) -> Context:
    """What the credential of a tenant is bound to."""
    return Context(tenant, "crmgate", "crm_credential", "seal")
