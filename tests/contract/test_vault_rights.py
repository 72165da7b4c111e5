"""The policies that we ship, on a real OpenBao: serving serves and can do no more, and a token that can is told of."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.check import _key_section
from gateway.finding import Weight
from gateway.settings_file import build_settings
from kms.custody import RootState, Wrapped
from kms.provider import KeysUnavailable
from kms.vault import TransitProvider
from kms.vault_custody import TransitCustody
from kms.vault_epochs import TransitEpochs
from kms.vault_rights import beyond_serving
from kms.vault_turn import TransitTurn
from tests.contract.conftest import token_with
from tests.real.bao import Bao

POLICIES = Path(__file__).parents[2] / "deploy" / "openbao"
WIDE = 'path "transit/keys/crmgate-*" { capabilities = ["create", "update", "read"] }\n'
KEY, CONTEXT = bytes(range(32)), b"a context"
_NAMES = itertools.count()


@pytest.fixture
def tenant() -> str:
    return f"rights-{next(_NAMES)}"


Token = Callable[..., str]


@pytest.fixture
def token(bao: Bao, tenant: str) -> Token:
    """A token under a policy that we ship, written for this tenant; more: what is added to it."""

    def make(name: str, more: str = "", default: bool = True) -> str:
        text = (POLICIES / f"{name}.hcl").read_text(encoding="utf-8").replace("crmgate-main", f"crmgate-{tenant}")
        policy = f"{name}-{tenant}-{next(_NAMES)}"
        bao.client.sys.create_or_update_policy(policy, text + more)
        return token_with(bao, policy, no_default_policy=not default)

    return make


async def test_the_serving_policy_is_enough_to_serve_and_for_nothing_else(bao: Bao, token: Token, tenant: str) -> None:
    provider = TransitProvider(bao.address, token("serving"))
    await provider.check()
    assert await provider.unwrap(tenant, await provider.wrap(tenant, KEY, CONTEXT), CONTEXT) == KEY
    epochs = TransitEpochs(provider)
    await epochs.begin(tenant)
    number, wrapped = await epochs.wrap(tenant, KEY, CONTEXT)
    assert await epochs.unwrap(tenant, wrapped, CONTEXT) == KEY
    assert await beyond_serving(provider, [tenant]) == []
    custody = TransitTurn(provider)
    for attempt in (
        lambda: epochs.rotate(tenant, number),
        lambda: epochs.trim(tenant, number),
        lambda: custody.rotate(tenant, []),
        lambda: custody.close(tenant, 1),
        lambda: custody.suspend(tenant),
        lambda: custody.destroy(tenant, []),
    ):
        with pytest.raises(KeysUnavailable) as refused:
            await attempt()
        assert refused.value.problem == "vault-denied"
    # None of them did anything.
    assert (await custody.describe(tenant)).state is RootState.LIVE
    assert await epochs.unwrap(tenant, wrapped, CONTEXT) == KEY
    with pytest.raises(KeysUnavailable):
        await provider.wrap(f"{tenant}-other", KEY, CONTEXT)
    await provider.close()


async def test_the_custody_policy_turns_and_trims_and_destroys(bao: Bao, token: Token, tenant: str) -> None:
    serving = TransitProvider(bao.address, token("serving"))
    operator = TransitProvider(bao.address, token("custody"))
    field_key = await serving.wrap(tenant, KEY, CONTEXT)
    served, epochs = TransitEpochs(serving), TransitEpochs(operator)
    await served.begin(tenant)
    number, wrapped = await served.wrap(tenant, KEY, CONTEXT)
    newer = await epochs.rotate(tenant, number)
    await epochs.trim(tenant, newer)
    with pytest.raises(KeysUnavailable):
        await served.unwrap(tenant, wrapped, CONTEXT)
    turn = TransitTurn(operator)
    await turn.rotate(tenant, [])
    (moved,) = await turn.rewrap([Wrapped(tenant, field_key, CONTEXT)])
    await turn.close(tenant, 2)
    assert await serving.unwrap(tenant, moved, CONTEXT) == KEY
    beyond = await beyond_serving(operator, [tenant])
    assert {f"transit/keys/crmgate-{tenant}", f"transit/keys/crmgate-{tenant}_persons/trim"} <= set(beyond)
    await TransitCustody(operator).destroy(tenant, [])
    assert (await TransitCustody(serving).describe(tenant)).state in (RootState.ABSENT, RootState.DESTROYED)
    for one in (serving, operator):
        await one.close()


@pytest.mark.parametrize(
    ("more", "path"),
    [
        (WIDE, "transit/keys/crmgate-{}_persons/trim"),
        ('path "transit/keys/+/config" {{ capabilities = ["update"] }}\n', "transit/keys/crmgate-{}/config"),
        ('path "transit/backup/*" {{ capabilities = ["read"] }}\n', "transit/backup/crmgate-{}_persons"),
        ('path "transit/keys/crmgate-{}" {{ capabilities = ["update", "delete"] }}\n', "transit/keys/crmgate-{}"),
    ],
)
async def test_each_right_too_much_is_told(bao: Bao, token: Token, tenant: str, more: str, path: str) -> None:
    provider = TransitProvider(bao.address, token("serving", more if more is WIDE else more.format(tenant)))
    assert path.format(tenant) in await beyond_serving(provider, [tenant])
    await provider.close()


async def test_a_root_token_may_do_everything(bao: Bao, tenant: str) -> None:
    provider = TransitProvider(bao.address, str(bao.client.token))
    assert len(await beyond_serving(provider, [tenant])) > 10
    await provider.close()


async def test_a_token_that_may_not_ask_tells_nothing(bao: Bao, token: Token, tenant: str) -> None:
    provider = TransitProvider(bao.address, token("serving", default=False))
    with pytest.raises(KeysUnavailable) as refused:
        await beyond_serving(provider, [tenant])
    assert refused.value.problem == "vault-denied"
    await provider.close()


async def test_check_says_what_the_serving_token_may_do_too_much(
    bao: Bao, token: Token, tenant: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    section = {"provider": "openbao", "address": bao.address, "token_file": str(file)}
    crm = {"upstream": "http://127.0.0.1:9", "profile": "creme"}
    settings = build_settings({"tenant": {tenant: crm}, "keys": section}, tmp_path / "crmgate.toml")
    for secret, expected in (
        (token("serving"), []),
        (token("serving", WIDE), ["keys-too-much"]),
        (token("serving", default=False), ["keys-rights-unknown"]),
    ):
        await asyncio.to_thread(file.write_text, secret)
        file.chmod(0o600)
        found = await _key_section(settings, "keys", "")
        assert [one.id for one in found] == ["keys-fine", *expected]
        assert all(one.weight is Weight.WARNING for one in found[1:])
