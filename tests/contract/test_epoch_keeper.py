"""The contract of keepers of epoch keys, over a file and a real OpenBao."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hvac.exceptions import VaultError

from kms.local_epochs import LocalEpochs
from kms.person import EPOCH_CLOSED, EpochKeeper
from kms.provider import KeyringLocked, KeysUnavailable
from kms.vault import TransitProvider
from kms.vault_epochs import TransitEpochs
from tests.contract.conftest import SECRET, token_with
from tests.real.bao import Bao

KEY, CONTEXT = bytes(range(32)), b"a context"
_NAMES = itertools.count()


@pytest.fixture
def tenant() -> str:
    return f"epochs-{next(_NAMES)}"


@pytest.fixture(params=["local", "openbao"])
async def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EpochKeeper]:
    made: EpochKeeper
    if request.param == "local":
        made = LocalEpochs(tmp_path / "persons.keyring", SECRET)
    else:
        bao: Bao = request.getfixturevalue("bao")
        made = TransitEpochs(TransitProvider(bao.address, str(bao.client.token)))
    yield made
    await made.close()


async def test_an_epoch_key_opens_in_its_place_only(keeper: EpochKeeper, tenant: str) -> None:
    await keeper.begin(tenant)
    await keeper.begin(f"{tenant}-other")
    number, wrapped = await keeper.wrap(tenant, KEY, CONTEXT)
    assert (number, await keeper.newest(tenant)) == (1, 1)
    assert KEY not in wrapped
    assert await keeper.unwrap(tenant, wrapped, CONTEXT) == KEY
    for where, what, place in (
        (tenant, wrapped, b"another"),
        (f"{tenant}-other", wrapped, CONTEXT),
        (tenant, wrapped[:-4] + b"AAAA", CONTEXT),
    ):
        with pytest.raises(KeysUnavailable):
            await keeper.unwrap(where, what, place)


async def test_without_a_key_nothing_is_wrapped_and_none_is_made(keeper: EpochKeeper, tenant: str) -> None:
    with pytest.raises(KeysUnavailable):
        await keeper.wrap(tenant, KEY, CONTEXT)
    with pytest.raises(KeysUnavailable):
        await keeper.newest(tenant)


async def test_beginning_again_changes_nothing(keeper: EpochKeeper, tenant: str) -> None:
    await keeper.begin(tenant)
    _, wrapped = await keeper.wrap(tenant, KEY, CONTEXT)
    await asyncio.gather(*(keeper.begin(tenant) for _ in range(3)))
    assert await keeper.unwrap(tenant, wrapped, CONTEXT) == KEY


async def test_a_version_is_made_once(keeper: EpochKeeper, tenant: str) -> None:
    await keeper.begin(tenant)
    _, first = await keeper.wrap(tenant, KEY, CONTEXT)
    assert [await keeper.rotate(tenant, 1) for _ in range(2)] == [2, 2]
    number, second = await keeper.wrap(tenant, KEY, CONTEXT)
    assert number == 2
    assert [await keeper.unwrap(tenant, one, CONTEXT) for one in (first, second)] == [KEY, KEY]


async def test_a_trimmed_version_opens_nothing_for_ever(keeper: EpochKeeper, tenant: str) -> None:
    await keeper.begin(tenant)
    _, first = await keeper.wrap(tenant, KEY, CONTEXT)
    await keeper.rotate(tenant, 1)
    _, second = await keeper.wrap(tenant, KEY, CONTEXT)
    for _ in range(2):
        await keeper.trim(tenant, 2)
    with pytest.raises(KeyringLocked) as refused:
        await keeper.unwrap(tenant, first, CONTEXT)
    assert refused.value.problem == EPOCH_CLOSED
    assert await keeper.unwrap(tenant, second, CONTEXT) == KEY
    with pytest.raises(KeyringLocked):
        await keeper.trim(tenant, 3)
    assert await keeper.unwrap(tenant, second, CONTEXT) == KEY


async def test_openbao_cannot_bring_a_trimmed_version_back(bao: Bao, tenant: str) -> None:
    keeper = TransitEpochs(TransitProvider(bao.address, str(bao.client.token)))
    await keeper.begin(tenant)
    _, first = await keeper.wrap(tenant, KEY, CONTEXT)
    await keeper.rotate(tenant, 1)
    await keeper.trim(tenant, 2)
    # Posted as it is: the library would refuse it before the server is asked.
    lower = {"min_decryption_version": 1, "min_encryption_version": 1}
    with pytest.raises(VaultError):
        bao.client.adapter.post(f"/v1/transit/keys/crmgate-{tenant}_persons/config", json=lower)
    about = bao.client.secrets.transit.read_key(f"crmgate-{tenant}_persons")["data"]
    assert (about["min_available_version"], list(about["keys"])) == (2, ["2"])
    with pytest.raises(KeyringLocked):
        await keeper.unwrap(tenant, first, CONTEXT)
    await keeper.close()


async def test_the_policy_of_field_keys_is_enough(bao: Bao, tenant: str) -> None:
    serving = TransitEpochs(TransitProvider(bao.address, token_with(bao, "crmgate")))
    await serving.begin(tenant)
    _, wrapped = await serving.wrap(tenant, KEY, CONTEXT)
    assert await serving.unwrap(tenant, wrapped, CONTEXT) == KEY
    await serving.rotate(tenant, 1)
    await serving.trim(tenant, 2)
    await serving.close()


async def test_the_file_holds_no_version_that_was_trimmed(tmp_path: Path) -> None:
    path = tmp_path / "persons.keyring"
    keeper = LocalEpochs(path, SECRET)
    await keeper.begin("acme")
    before = await keeper._provider.roots()
    await keeper.rotate("acme", 1)
    await keeper.trim("acme", 2)
    after = await keeper._provider.roots()
    gone = before.tenants["acme"]
    assert gone not in (after.root, *after.tenants.values(), *after.former["acme"])
    assert path.stat().st_mode & 0o077 == 0
