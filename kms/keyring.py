"""Field keys: made once, kept wrapped in the store, opened through the provider, held in memory for a short while.

One key per (tenant, scope, purpose). An opened key lives for `ttl_s` at most; shortly before, it is opened again in the
background, so that steady work never waits for the provider. When the provider is away longer than that, the answer is
`KeysUnavailable`: nothing is sealed or opened with an old key. What the provider returns is compared with a commitment
made when the key was made, so a wrong or nonsensical answer is a refusal and not a wrong key.
"""

import asyncio
import hmac
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from kms.envelope import FieldKey
from kms.provider import KeyDestroyed, KeyProvider, KeysUnavailable

_REFRESH_AT = 0.7  # part of the time to live after which a key is opened again in the background
_MOST_KEYS = 4096
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A field key as it is stored."""

    id: bytes
    scope: str
    purpose: str
    provider: str
    wrapped: bytes
    commitment: bytes
    created_at: datetime
    retired: bool
    destroyed: bool = False
    state: str = "current"


class KeyStore(Protocol):
    """Where wrapped keys are kept (kms.store)."""

    async def keys_for(self, tenant: str, scope: str, purpose: str) -> list[WrappedKey]:
        """Keys of a scope and purpose that were not destroyed, the current one first."""
        ...

    async def keys_by_id(self, tenant: str, ids: list[bytes]) -> list[WrappedKey]:
        """Keys with these ids."""
        ...

    async def all_keys(self, tenant: str) -> list[WrappedKey]:
        """Every key of a tenant."""
        ...

    async def add_key(self, tenant: str, key: WrappedKey) -> None:
        """Keep a key unless the scope and purpose have a current one."""
        ...

    async def tenant_destroyed(self, tenant: str) -> bool:
        """Whether the key of the tenant was destroyed, so that it never gets another one."""
        ...


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One key as an operator may see it: no secret, no value."""

    id: str
    scope: str
    purpose: str
    provider: str
    age_s: float
    retired: bool
    in_memory: bool
    destroyed: bool = False
    state: str = "current"


@dataclass(frozen=True, slots=True)
class KeyringStatus:
    """The provider and every key of a tenant; `problem` is empty when the provider can be used."""

    provider: str
    problem: str
    message: str
    keys: tuple[KeyStatus, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    key: FieldKey
    until: float
    refresh: float


class Keyring:
    """Opens field keys for all tenants; one per process.

    provider: for every tenant that has none of its `own`; ttl_s: how long an opened key may be used without the
    provider; timeout_s: one call of the provider; clock: monotonic seconds; entropy: n random bytes.
    """

    def __init__(
        self,
        provider: KeyProvider,
        store: KeyStore,
        own: Mapping[str, KeyProvider] | None = None,
        *,
        ttl_s: float = 300.0,
        clock: Callable[[], float],
        timeout_s: float = 10.0,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.provider = provider
        self._own = dict(own or {})
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock
        self._timeout_s = timeout_s
        self._entropy = entropy
        self._held: dict[tuple[str, bytes], _Held] = {}
        self._ids: dict[tuple[str, str, str], tuple[tuple[bytes, ...], float]] = {}
        self._flights: dict[tuple[str, ...], asyncio.Task[object]] = {}
        self._refreshed: dict[str, int] = {}

    async def field_key(self, tenant: str, scope: str, purpose: str) -> FieldKey:
        """The current key of a scope and purpose; makes it at its first use. Raises KeysUnavailable."""
        return (await self.field_keys(tenant, scope, purpose))[0]

    async def field_keys(self, tenant: str, scope: str, purpose: str) -> tuple[FieldKey, ...]:
        """All live keys of a scope and purpose, the current one first: queries ask for the terms of each."""
        place = (tenant, scope, purpose)
        known = self._ids.get(place)
        now = self._clock()
        if known is not None and known[1] > now:
            held = [self._held.get((tenant, one)) for one in known[0]]
            if all(one is not None and one.until > now for one in held):
                if any(one is not None and one.refresh <= now for one in held):
                    self._flight(("scope", *place), lambda: self._load(tenant, scope, purpose))
                return tuple(one.key for one in held if one is not None)
        return await asyncio.shield(self._flight(("scope", *place), lambda: self._load(tenant, scope, purpose)))

    async def by_id(self, tenant: str, ids: set[bytes], destroyed: set[bytes] | None = None) -> dict[bytes, FieldKey]:
        """Keys by the ids envelopes name; unknown ids are left out. Raises KeysUnavailable.

        destroyed: is given the ids of keys that were destroyed, which are left out then; without it KeyDestroyed.
        """
        now = self._clock()
        found: dict[bytes, FieldKey] = {}
        missing = []
        for one in ids:
            held = self._held.get((tenant, one))
            if held is not None and held.until > now:
                found[one] = held.key
            else:
                missing.append(one)
        if missing:
            missing.sort()
            name = ("ids", tenant, *(one.hex() for one in missing))
            loaded, gone = await asyncio.shield(self._flight(name, lambda: self._load_ids(tenant, missing)))
            if gone and destroyed is None:
                raise KeyDestroyed("the key of this value was destroyed")
            if destroyed is not None:
                destroyed |= gone
            found |= loaded
        return found

    def until(self, tenant: str, key_id: bytes) -> float:
        """Clock time up to which an opened key may be used; 0 when it is not held."""
        held = self._held.get((tenant, key_id))
        return held.until if held is not None else 0.0

    def provider_of(self, tenant: str) -> KeyProvider:
        """Who wraps the field keys of this tenant."""
        return self._own.get(tenant, self.provider)

    @property
    def providers(self) -> tuple[KeyProvider, ...]:
        """Every provider once."""
        return tuple(dict.fromkeys((self.provider, *self._own.values())))

    async def check(self) -> None:
        """Whether every provider can be used now; raises KeysUnavailable of the first that cannot."""
        for provider in self.providers:
            await self._call(provider, provider.check)

    async def status(self, tenant: str) -> KeyringStatus:
        """Provider, key ids and ages, for operators; reports a provider that fails instead of raising."""
        problem = message = ""
        provider = self.provider_of(tenant)
        try:
            await self._call(provider, provider.check)
        except KeysUnavailable as fault:
            problem, message = fault.problem, str(fault)
        now, clock = datetime.now(UTC), self._clock()
        keys = tuple(
            KeyStatus(
                id=key.id.hex(),
                scope=key.scope,
                purpose=key.purpose,
                provider=key.provider,
                age_s=(now - key.created_at).total_seconds(),
                retired=key.retired,
                in_memory=self.until(tenant, key.id) > clock,
                destroyed=key.destroyed,
                state="destroyed" if key.destroyed else key.state,
            )
            for key in await self._store.all_keys(tenant)
        )
        return KeyringStatus(provider.name, problem, message, keys)

    def refresh(self, tenant: str) -> None:
        """Ask the store again which keys a tenant has; those in memory stay good for what they are."""
        self._refreshed[tenant] = self._refreshed.get(tenant, 0) + 1
        for place in [place for place in self._ids if place[0] == tenant]:
            del self._ids[place]
        for name in [name for name in self._flights if name[:2] == ("scope", tenant)]:
            del self._flights[name]  # it may have read before the change: who waits for it gets it, nobody else does

    def forget(self) -> None:
        """Drop every opened key (locking by hand, shutdown)."""
        self._held.clear()
        self._ids.clear()

    async def close(self) -> None:
        """Forget the keys and close the providers."""
        self.forget()
        for task in list(self._flights.values()):
            task.cancel()
        for provider in self.providers:
            await provider.close()

    def _flight(self, name: tuple[str, ...], work: Callable[[], Awaitable[_T]]) -> "asyncio.Task[_T]":
        """One piece of work a name at a time, whoever asks for it."""
        task = self._flights.get(name)
        if task is None:
            task = asyncio.ensure_future(work())
            self._flights[name] = task
            task.add_done_callback(lambda done: self._landed(name, done))
        return task  # type: ignore[return-value]

    def _landed(self, name: tuple[str, ...], task: "asyncio.Task[object]") -> None:
        if self._flights.get(name) is task:
            del self._flights[name]
        if not task.cancelled():
            task.exception()  # a refresh ahead of time that failed is tried again when the key is next asked for

    async def _load(self, tenant: str, scope: str, purpose: str) -> tuple[FieldKey, ...]:
        refreshed = self._refreshed.get(tenant, 0)
        stored = await self._store.keys_for(tenant, scope, purpose)
        if not stored or stored[0].retired:
            await self._make(tenant, scope, purpose)
            stored = await self._store.keys_for(tenant, scope, purpose)
        keys = tuple([await self._open(tenant, key) for key in stored])
        if not keys:
            raise KeysUnavailable("keys-lost", "a field key that was just made is not in the store")
        if self._refreshed.get(tenant, 0) == refreshed:
            self._ids[(tenant, scope, purpose)] = (tuple(key.id for key in keys), self._clock() + self._ttl_s)
        return keys

    async def _load_ids(self, tenant: str, ids: list[bytes]) -> tuple[dict[bytes, FieldKey], set[bytes]]:
        stored = await self._store.keys_by_id(tenant, ids)
        live = {key.id: await self._open(tenant, key) for key in stored if not key.destroyed}
        return live, {key.id for key in stored if key.destroyed}

    async def _make(self, tenant: str, scope: str, purpose: str) -> None:
        await self._store.add_key(tenant, await self.make_key(tenant, scope, purpose))

    async def make_key(self, tenant: str, scope: str, purpose: str) -> WrappedKey:
        """A fresh key, wrapped and not yet stored (kms.rotation makes it the current one). Raises KeysUnavailable."""
        if await self._store.tenant_destroyed(tenant):
            raise KeyDestroyed("the key of this CRM was destroyed; it gets no other one")
        key = FieldKey(self._entropy(4), self._entropy(32))
        provider = self.provider_of(tenant)
        wrapped = await self._call(
            provider, lambda: provider.wrap(tenant, key.secret, _context(tenant, key.id, scope, purpose))
        )
        if not isinstance(wrapped, bytes) or not wrapped or key.secret in wrapped:
            raise KeysUnavailable("provider-nonsense", f"the key provider {provider.name} answers nonsense")
        commitment = _commitment(tenant, key, scope, purpose)
        return WrappedKey(key.id, scope, purpose, provider.name, wrapped, commitment, datetime.now(UTC), False)

    async def verify(self, tenant: str, stored: WrappedKey) -> None:
        """Whether a wrapped key opens to the key it says it is; raises KeysUnavailable."""
        await self._unwrapped(tenant, stored)

    async def _unwrapped(self, tenant: str, stored: WrappedKey) -> FieldKey:
        provider = self.provider_of(tenant)
        if stored.provider != provider.name:
            message = f"the keys were wrapped by the provider {stored.provider!r}, but {provider.name!r} is set"
            raise KeysUnavailable("provider-other", message)
        context = _context(tenant, stored.id, stored.scope, stored.purpose)
        secret = await self._call(provider, lambda: provider.unwrap(tenant, stored.wrapped, context))
        if not isinstance(secret, bytes) or len(secret) != 32:
            raise KeysUnavailable("provider-nonsense", f"the key provider {provider.name} answers nonsense")
        key = FieldKey(stored.id, secret)
        if not hmac.compare_digest(_commitment(tenant, key, stored.scope, stored.purpose), stored.commitment):
            raise KeysUnavailable("key-mismatch", f"the key provider {provider.name} returned another key")
        return key

    async def _open(self, tenant: str, stored: WrappedKey) -> FieldKey:
        asked = self._clock()
        key = await self._unwrapped(tenant, stored)
        while len(self._held) >= _MOST_KEYS:
            self._held.pop(next(iter(self._held)))
        self._held[(tenant, stored.id)] = _Held(key, asked + self._ttl_s, asked + self._ttl_s * _REFRESH_AT)
        return key

    async def _call(self, provider: KeyProvider, work: Callable[[], Awaitable[_T]]) -> _T:
        """Ask the provider under a time limit; whatever goes wrong becomes KeysUnavailable without foreign text."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await work()
        except KeysUnavailable:
            raise
        except TimeoutError:
            raise KeysUnavailable("provider-slow", f"the key provider {provider.name} does not answer") from None
        except Exception as fault:
            kind = type(fault).__name__
            raise KeysUnavailable("provider-fault", f"the key provider {provider.name} failed ({kind})") from None


def bound_context(tenant: str, key: WrappedKey) -> bytes:
    """What a stored key of a tenant is bound to."""
    return _context(tenant, key.id, key.scope, key.purpose)


def _context(tenant: str, key_id: bytes, scope: str, purpose: str) -> bytes:
    """What a wrapped key is bound to: it opens only as the key it was made as."""
    parts = [b"crmgate field key 1"]
    for part in (tenant.encode(), key_id, scope.encode(), purpose.encode()):
        parts += (len(part).to_bytes(4), part)
    return b"".join(parts)


def _commitment(tenant: str, key: FieldKey, scope: str, purpose: str) -> bytes:
    return hmac.digest(key.secret, b"commitment\0" + _context(tenant, key.id, scope, purpose), "sha256")[:16]
