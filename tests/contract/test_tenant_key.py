"""Rotation of a tenant's key, proved on the local keyring and on a real OpenBao server."""

import base64
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts import utc_now
from gateway.database import Pool
from gateway.job import Job, Json, Slice, State, Wanted
from gateway.rewrap import TenantKeyWork
from kms.custody import CustodyRefused, Wrapped
from kms.keyring import Keyring, bound_context
from kms.local import LocalProvider, opened
from kms.local_turn import LocalTurn
from kms.provider import KeyProvider, KeyringLocked, KeysUnavailable
from kms.store import Store
from kms.tenant_key import TenantKeys, Turning
from kms.tokens import NewValue, Origin, SurrogateVault
from kms.vault import TransitProvider
from kms.vault_custody import TransitCustody
from kms.vault_turn import TransitTurn
from tests.contract.conftest import SECRET, token_with
from tests.real.bao import Bao

ROTATING_POLICY = """
    path "transit/keys/crmgate-*" { capabilities = ["create", "update", "read"] }
    path "transit/rewrap/crmgate-*" { capabilities = ["update"] }
    path "transit/encrypt/crmgate-*" { capabilities = ["create", "update"] }
    path "transit/decrypt/crmgate-*" { capabilities = ["create", "update"] }
"""


@dataclass
class Turned:
    """A tenant with values, its provider and who turns its key."""

    provider: KeyProvider
    turning: Turning
    tenant: str
    keyring: Keyring
    keys: TenantKeys
    vault: SurrogateVault
    store: Store


@pytest.fixture(params=["local", "openbao"])
async def turned(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool) -> AsyncIterator[Turned]:
    provider: KeyProvider
    turning: Turning
    if request.param == "local":
        provider = LocalProvider.create(tmp_path / "keyring", SECRET)
        turning = LocalTurn(provider)
    else:
        bao: Bao = request.getfixturevalue("bao")
        bao.client.sys.create_or_update_policy("crmgate-rotating", ROTATING_POLICY)
        transit = TransitProvider(bao.address, token_with(bao, "crmgate-rotating"))
        provider, turning = transit, TransitTurn(transit)
    store = Store(pool)
    keyring = Keyring(provider, store, clock=time.monotonic)
    vault = SurrogateVault(pool, keyring)
    keys = TenantKeys(store, keyring, lambda _: turning)
    yield Turned(provider, turning, f"t-{secrets.token_hex(5)}", keyring, keys, vault, store)
    await vault.close()
    await keyring.close()


def some(count: int = 4) -> list[NewValue]:
    return [NewValue("email", f"p{n}@example.com", Origin("contact", "email", str(n))) for n in range(count)]


async def run(work: TenantKeyWork, tenant: str, arguments: dict[str, Json], twice: bool = False) -> list[Slice]:
    """Drive a job without dbos; twice: every slice is done again, as after a kill."""
    made: list[Slice] = []
    cursor: Json = None
    while not made or not made[-1].finished:
        done = made[-1].done if made else 0
        total = made[-1].total if made else 0
        job = Job(
            "j", "rewrap", tenant, arguments, cursor, State.RUNNING, Wanted.RUN, 1, "", done, total, None, 0.0,
            utc_now(), utc_now(), None,
        )  # fmt: skip
        if twice:
            await work.slice(job)
        made.append(await work.slice(job))
        cursor = made[-1].cursor
        assert len(made) < 50
    return made


class Trail:
    """Remembers audit entries."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, Any]]] = []

    async def record(self, tenant: str, operation: str, target: str, more: Any) -> None:
        self.entries.append((operation, target, dict(more)))


@pytest.mark.parametrize("twice", [False, True])
async def test_every_field_key_is_wrapped_anew_and_values_open_as_before(turned: Turned, twice: bool) -> None:
    """Also when every step is done twice: one new version, no key lost."""
    surrogates = await turned.vault.tokenise(turned.tenant, some(), "c")
    before = {key.id: key.wrapped for key in await turned.store.all_keys(turned.tenant)}
    old = await turned.keys.newest(turned.tenant)
    trail = Trail()
    work = TenantKeyWork(turned.keys, trail.record, settle_s=0)
    await run(work, turned.tenant, {"from": old, "close": False}, twice)
    assert await turned.keys.newest(turned.tenant) == old + 1
    assert await turned.keys.left(turned.tenant, old + 1) == 0
    after = {key.id: key.wrapped for key in await turned.store.all_keys(turned.tenant)}
    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in after)
    turned.keyring.forget()
    turned.vault._opened.drop_all()
    found = await turned.vault.resolve(turned.tenant, surrogates)
    assert [found[one].clear for one in surrogates] == [value.clear for value in some()]
    assert await turned.vault.tokenise(turned.tenant, some(), "c") == surrogates
    assert trail.entries[0][:2] == ("keys.rotate.begin", "tenant-key")
    operation, target, told = trail.entries[-1]
    assert (operation, target, told["change"]) == ("keys.rotate.end", "tenant-key", f"v{old + 1}:rotated")
    assert told["count"] == (0 if twice else len(before))  # what a killed slice did is not counted again


async def test_old_versions_open_until_they_are_closed_and_not_afterwards(turned: Turned) -> None:
    """Backups hold wrappings of before; closing is asked for apart."""
    await turned.vault.tokenise(turned.tenant, some(), "c")
    key = (await turned.store.all_keys(turned.tenant))[0]
    place = bound_context(turned.tenant, key)
    work = TenantKeyWork(turned.keys, Trail().record, settle_s=0)
    await run(work, turned.tenant, {"from": await turned.keys.newest(turned.tenant), "close": False})
    secret = await turned.provider.unwrap(turned.tenant, key.wrapped, place)
    await run(work, turned.tenant, {"from": await turned.keys.newest(turned.tenant), "close": True})
    with pytest.raises(KeysUnavailable):
        await turned.provider.unwrap(turned.tenant, key.wrapped, place)
    now = next(one for one in await turned.store.all_keys(turned.tenant) if one.id == key.id)
    assert await turned.provider.unwrap(turned.tenant, now.wrapped, place) == secret
    assert turned.turning.version(now.wrapped) == await turned.keys.newest(turned.tenant)


async def test_one_changed_wrapping_among_many_stops_the_work_and_replaces_nothing(turned: Turned, pool: Pool) -> None:
    """The server answers 200 to a batch with a failed item."""
    await turned.vault.tokenise(turned.tenant, some(), "c")
    keys = sorted(await turned.store.all_keys(turned.tenant), key=lambda key: key.id)
    old = await turned.keys.newest(turned.tenant)
    newest = await turned.keys.rotate(turned.tenant, old)
    other = keys[0].wrapped
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE kms_key SET wrapped = %s WHERE tenant = %s AND id = %s", (other, turned.tenant, keys[-1].id)
        )
    before = {key.id: key.wrapped for key in await turned.store.all_keys(turned.tenant)}
    with pytest.raises(KeysUnavailable):
        await turned.keys.rewrap(turned.tenant, newest, b"", 100)
    assert {key.id: key.wrapped for key in await turned.store.all_keys(turned.tenant)} == before


async def test_what_a_provider_returns_by_mistake_takes_no_keys_place(
    turned: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrapping of another key, of an old version, or nonsense."""
    await turned.vault.tokenise(turned.tenant, some(), "c")
    newest = await turned.keys.rotate(turned.tenant, await turned.keys.newest(turned.tenant))
    before = await turned.store.all_keys(turned.tenant)
    right = turned.turning.rewrap

    async def swapped(items: list[Wrapped]) -> list[bytes]:
        return (await right(items))[::-1]

    async def same(items: list[Wrapped]) -> list[bytes]:
        return [one.wrapped for one in items]

    async def nonsense(items: list[Wrapped]) -> list[bytes]:
        return [b"vault:v99:AAAA" if isinstance(turned.turning, TransitTurn) else b"\x02\xff\xff" + bytes(60)] * len(
            items
        )

    for wrong in (swapped, same, nonsense):
        monkeypatch.setattr(turned.turning, "rewrap", wrong)
        with pytest.raises(KeysUnavailable):
            await turned.keys.rewrap(turned.tenant, newest, b"", 100)
        assert await turned.store.all_keys(turned.tenant) == before


async def test_more_keys_than_one_batch_are_wrapped_anew(turned: Turned, pool: Pool) -> None:
    """The server refuses requests with more than 1,000 strings."""
    for n in range(130):
        await turned.keyring.field_key(turned.tenant, f"scope{n}", "seal")
    newest = await turned.keys.rotate(turned.tenant, await turned.keys.newest(turned.tenant))
    page = await turned.keys.rewrap(turned.tenant, newest, b"", 200)
    assert (page.after, page.seen, page.changed) == (None, 130, 130)


async def test_a_new_version_of_the_local_key_of_one_tenant_leaves_the_others_alone(tmp_path: Path) -> None:
    """They share a file, not a key."""
    provider = LocalProvider.create(tmp_path / "keyring", SECRET)
    other = await provider.wrap("other", bytes(32), b"x")
    content = (tmp_path / "keyring").read_bytes()
    turn = LocalTurn(provider)
    await turn.rotate("acme", [])
    assert (await turn.newest("acme"), await turn.newest("other")) == (2, 1)
    again = LocalProvider(tmp_path / "keyring", SECRET)
    assert await again.unwrap("other", other, b"x") == bytes(32)
    assert turn.version(await provider.wrap("other", bytes(32), b"x")) == 1
    assert (tmp_path / "keyring").stat().st_mode & 0o077 == 0
    assert (tmp_path / "keyring").read_bytes() != content
    with pytest.raises(CustodyRefused):
        await turn.close("acme", 3)
    wrapped = await again.wrap("acme", bytes(32), b"x")
    keys = (await again.roots()).versions("acme")
    assert opened(keys, wrapped, b"x") == bytes(32)
    changed = bytes((wrapped[0], wrapped[1], 1)) + wrapped[3:]
    with pytest.raises(KeyringLocked):
        await again.unwrap("acme", changed, b"x")


async def test_an_imported_transit_key_is_not_rotated_behind_its_owners_back(bao: Bao) -> None:
    """After that the server takes no further version of theirs."""
    provider = TransitProvider(bao.address, bao.client.token, timeout_s=120)  # the server makes an RSA key for it
    tenant = f"t-{secrets.token_hex(5)}"
    try:
        await TransitCustody(provider).import_key(tenant, os.urandom(32), rotatable=False)
        with pytest.raises(CustodyRefused) as refused:
            await TransitTurn(provider).rotate(tenant, [])
        assert refused.value.problem == "key-imported"
    finally:
        await provider.close()


async def test_a_key_kept_by_its_owner_is_wrapped_anew_by_opening_and_wrapping(bao: Bao) -> None:
    """`rewrap` ignores associated data, so the server could not do it; rotating is the owner's own affair."""
    provider = TransitProvider(bao.address, bao.client.token, key="held-plain")
    try:
        wrapped = await provider.wrap("acme", bytes(range(32)), b"context")
        turn = TransitTurn(provider)
        with pytest.raises(CustodyRefused):
            await turn.rotate("acme", [])
        bao.client.secrets.transit.rotate_key("held-plain")
        made = await turn.rewrap([Wrapped("acme", wrapped, b"context")])
        assert turn.version(made[0]) == turn.version(wrapped) + 1
        assert await provider.unwrap("acme", made[0], b"context") == bytes(range(32))
        assert base64.b64encode(bytes(range(32))) not in made[0]
    finally:
        await provider.close()
