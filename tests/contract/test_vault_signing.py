"""Signing in the transit engine of a real OpenBao: the key stays there, and serving may sign but not make it."""

import secrets
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kms.provider import KeyringLocked, KeysUnavailable
from kms.vault import TransitProvider
from kms.vault_signing import TransitSigning
from tests.contract.conftest import token_with
from tests.real.bao import Bao

POLICY = """
    path "transit/keys/{name}" {{ capabilities = ["read"] }}
    path "transit/sign/{name}" {{ capabilities = ["update"] }}
"""


@pytest.fixture
def name() -> str:
    return f"audit-{secrets.token_hex(6)}"


@pytest.fixture
async def operating(bao: Bao) -> AsyncIterator[TransitProvider]:
    provider = TransitProvider(bao.address, bao.client.token, timeout_s=60)
    yield provider
    await provider.close()


@pytest.fixture
async def serving(bao: Bao, name: str) -> AsyncIterator[TransitProvider]:
    bao.client.sys.create_or_update_policy(f"signs-{name}", POLICY.format(name=name))
    provider = TransitProvider(bao.address, token_with(bao, f"signs-{name}"), timeout_s=60)
    yield provider
    await provider.close()


async def test_what_it_signs_is_ed25519_over_the_message_and_the_key_is_made_once(
    operating: TransitProvider, serving: TransitProvider, name: str
) -> None:
    public = await TransitSigning(operating, name).create()
    assert await TransitSigning(operating, name).create() == public
    message = b"crmgate-audit/main\n1\nAAAA\n"
    signature = await TransitSigning(serving, name).sign(message, public)
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


async def test_the_key_cannot_be_taken_out(operating: TransitProvider, bao: Bao, name: str) -> None:
    await TransitSigning(operating, name).create()
    about = bao.client.secrets.transit.read_key(name)["data"]
    assert (about["type"], about["exportable"], about["allow_plaintext_backup"]) == ("ed25519", False, False)


async def test_after_a_rotation_the_known_version_goes_on_signing(
    operating: TransitProvider, serving: TransitProvider, bao: Bao, name: str
) -> None:
    public = await TransitSigning(operating, name).create()
    bao.client.secrets.transit.rotate_key(name)
    signature = await TransitSigning(serving, name).sign(b"x", public)
    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"x")


async def test_serving_may_not_make_the_key(serving: TransitProvider, name: str) -> None:
    with pytest.raises(KeysUnavailable) as found:
        await TransitSigning(serving, name).create()
    assert found.value.problem == "vault-denied"


async def test_a_key_that_is_missing_other_or_unfit_is_named(
    operating: TransitProvider, serving: TransitProvider, bao: Bao, name: str
) -> None:
    signing = TransitSigning(serving, name)
    with pytest.raises(KeyringLocked) as found:
        await signing.sign(b"x", bytes(32))
    assert found.value.problem == "signing-key-missing"
    bao.client.secrets.transit.create_key(name, key_type="ecdsa-p256")
    with pytest.raises(KeyringLocked) as found:
        await signing.sign(b"x", bytes(32))
    assert found.value.problem == "signing-key-unfit"
    bao.client.secrets.transit.update_key_configuration(name, deletion_allowed=True)
    bao.client.secrets.transit.delete_key(name)
    await TransitSigning(operating, name).create()
    with pytest.raises(KeyringLocked) as found:
        await signing.sign(b"x", bytes(32))
    assert found.value.problem == "signing-key-other"


async def test_a_server_that_says_nothing_costs_the_time_limit(bao: Bao, operating: TransitProvider, name: str) -> None:
    public = await TransitSigning(operating, name).create()
    impatient = TransitProvider(bao.address, bao.client.token, timeout_s=1)
    try:
        with bao.silent(), pytest.raises(KeysUnavailable) as found:
            await TransitSigning(impatient, name).sign(b"x", public)
        assert found.value.problem == "vault-slow"
    finally:
        await impatient.close()
