"""What an operator can do to a tenant's key, proved on the local keyring and on a real OpenBao server."""

import base64
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from kms.custody import CustodyRefused, KeyCustody, RootState, Wrapped, read_key
from kms.local import LocalProvider
from kms.local_custody import LocalCustody
from kms.provider import KeyDestroyed, KeyProvider, KeyringLocked, KeysUnavailable
from kms.vault import TransitProvider
from kms.vault_custody import TransitCustody, sealed_for_import
from kms.vault_login import TokenFile
from tests.contract.conftest import SECRET, token_with
from tests.real.bao import Bao

OPERATOR_POLICY = """
    path "transit/keys/crmgate-*" { capabilities = ["create", "update", "read", "delete"] }
    path "transit/wrapping_key" { capabilities = ["read"] }
"""


@dataclass
class Kept:
    """A provider as the gateway has it, and the custody as the operator has it."""

    provider: KeyProvider
    custody: KeyCustody
    tenant: str
    other: str


@pytest.fixture(params=["local", "openbao"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    name = f"t-{secrets.token_hex(6)}"
    if request.param == "local":
        LocalProvider.create(tmp_path / "keyring", SECRET)
        local, operators = LocalProvider(tmp_path / "keyring", SECRET), LocalProvider(tmp_path / "keyring", SECRET)
        yield Kept(local, LocalCustody(operators, [name, f"{name}-new"]), name, f"{name}-other")
        return
    bao: Bao = request.getfixturevalue("bao")
    bao.client.sys.create_or_update_policy("operator", OPERATOR_POLICY)
    (tmp_path / "serving").write_text(token_with(bao, "crmgate"))
    (tmp_path / "operator").write_text(token_with(bao, "operator"))
    serving = TransitProvider(bao.address, TokenFile(tmp_path / "serving"))
    operating = TransitProvider(bao.address, TokenFile(tmp_path / "operator"), timeout_s=60)
    yield Kept(serving, TransitCustody(operating), name, f"{name}-other")
    await serving.close()
    await operating.close()


async def wrapped(kept: Kept) -> tuple[bytes, list[Wrapped]]:
    mine = await kept.provider.wrap(kept.tenant, b"m" * 32, b"c")
    others = [
        Wrapped(kept.other, await kept.provider.wrap(kept.other, bytes([n]) * 32, b"%d" % n), b"%d" % n) for n in (1, 2)
    ]
    return mine, others


async def test_a_key_in_use_is_described_without_a_secret(kept: Kept) -> None:
    await wrapped(kept)
    about = await kept.custody.describe(kept.tenant)
    assert (about.state, about.newest, about.oldest) == (RootState.LIVE, 1, 1)


async def test_a_key_set_aside_neither_wraps_nor_opens_until_it_is_restored(kept: Kept) -> None:
    mine, others = await wrapped(kept)
    assert await kept.custody.suspend(kept.tenant)
    assert (await kept.custody.describe(kept.tenant)).state is RootState.SUSPENDED
    for attempt in (kept.provider.unwrap(kept.tenant, mine, b"c"), kept.provider.wrap(kept.tenant, bytes(32), b"c")):
        with pytest.raises(KeyringLocked) as caught:
            await attempt
        assert caught.value.problem == "key-suspended"
    for one in others:
        await kept.provider.unwrap(*one)
    await kept.custody.restore(kept.tenant)
    assert await kept.provider.unwrap(kept.tenant, mine, b"c") == b"m" * 32


@pytest.mark.parametrize("aside", [True, False])
async def test_a_destroyed_key_opens_nothing_and_the_keys_of_others_open_as_before(kept: Kept, *, aside: bool) -> None:
    mine, others = await wrapped(kept)
    if aside:
        await kept.custody.suspend(kept.tenant)
    await kept.custody.destroy(kept.tenant, others)
    await kept.custody.destroy(kept.tenant, others)  # again, after a crash
    assert (await kept.custody.describe(kept.tenant)).state in (RootState.DESTROYED, RootState.ABSENT)
    with pytest.raises(KeysUnavailable):
        await kept.provider.unwrap(kept.tenant, mine, b"c")
    assert [await kept.provider.unwrap(*one) for one in others] == [b"\x01" * 32, b"\x02" * 32]
    assert (await kept.custody.describe(kept.other)).state is RootState.LIVE
    later = await kept.provider.wrap("a tenant that comes later", bytes(32), b"c")
    assert await kept.provider.unwrap("a tenant that comes later", later, b"c") == bytes(32)


# the local keyring alone


async def test_the_destroyed_secret_is_in_no_byte_of_the_new_file_and_never_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    provider = LocalProvider.create(path, SECRET)
    mine = await provider.wrap("gone", b"m" * 32, b"c")
    kept = Wrapped("stays", await provider.wrap("stays", b"s" * 32, b"c"), b"c")
    before = await provider.roots()
    old = path.open("rb")  # what was the file before
    await LocalCustody(provider, ["gone", "stays", "unused"]).destroy("gone", [kept])
    after = await LocalProvider(path, SECRET).roots()
    assert before.root != after.root
    assert "gone" not in after.tenants
    assert before.of("gone") not in (*after.tenants.values(), after.root)
    assert after.of("stays") == before.of("stays")
    assert after.of("unused") == before.of("unused")
    with pytest.raises(KeyDestroyed) as caught:
        after.of("gone")
    assert caught.value.permanent
    with pytest.raises(KeyDestroyed):
        await LocalProvider(path, SECRET).unwrap("gone", mine, b"c")
    assert b"crmgate-keyring" not in old.read()
    old.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_name("keyring.new").exists()


async def test_two_tenants_destroyed_one_after_the_other_leave_the_third(tmp_path: Path) -> None:
    provider = LocalProvider.create(tmp_path / "keyring", SECRET)
    kept = [
        Wrapped(name, await provider.wrap(name, name.encode().ljust(32), b"c"), b"c") for name in ("a", "b", "third")
    ]
    custody = LocalCustody(provider)
    await custody.destroy("a", kept[1:])
    await custody.suspend("third")
    await custody.destroy("b", kept[2:])
    await custody.restore("third")
    assert await provider.unwrap(*kept[2]) == b"third".ljust(32)
    for one in kept[:2]:
        with pytest.raises(KeyDestroyed):
            await provider.unwrap(*one)


async def test_a_file_that_is_being_changed_is_left_alone(tmp_path: Path) -> None:
    import fcntl

    provider = LocalProvider.create(tmp_path / "keyring", SECRET)
    with (tmp_path / "keyring.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CustodyRefused) as caught:
            await LocalCustody(provider).suspend("a")
    assert caught.value.problem == "keyring-busy"


async def test_a_customers_key_is_not_for_the_local_keyring(tmp_path: Path) -> None:
    custody = LocalCustody(LocalProvider.create(tmp_path / "keyring", SECRET))
    with pytest.raises(CustodyRefused) as caught:
        await custody.import_key("a", bytes(32), rotatable=False)
    assert caught.value.problem == "key-local"


# OpenBao alone: customers' keys


@pytest.fixture
async def operator(bao: Bao, tmp_path: Path) -> AsyncIterator[TransitCustody]:
    bao.client.sys.create_or_update_policy("operator", OPERATOR_POLICY)
    (tmp_path / "token").write_text(token_with(bao, "operator"))
    # The first import lets the server make an RSA-4096 key.
    provider = TransitProvider(bao.address, TokenFile(tmp_path / "token"), timeout_s=60)
    yield TransitCustody(provider)
    await provider.close()


@pytest.fixture
async def serving(bao: Bao, tmp_path: Path) -> AsyncIterator[TransitProvider]:
    (tmp_path / "serving").write_text(token_with(bao, "crmgate"))
    provider = TransitProvider(bao.address, TokenFile(tmp_path / "serving"))
    yield provider
    await provider.close()


def tenant_name() -> str:
    return f"byok-{secrets.token_hex(6)}"


async def test_an_imported_key_wraps_field_keys_and_derives_per_context(
    operator: TransitCustody, serving: TransitProvider
) -> None:
    tenant = tenant_name()
    about = await operator.import_key(tenant, secrets.token_bytes(32), rotatable=False)
    assert (about.origin, about.newest, about.derived, about.state) == ("imported", 1, True, RootState.LIVE)
    wrapped = await serving.wrap(tenant, b"k" * 32, b"context")
    assert await serving.unwrap(tenant, wrapped, b"context") == b"k" * 32
    with pytest.raises(KeysUnavailable):
        await serving.unwrap(tenant, wrapped, b"other")


async def test_the_server_holds_the_very_key_that_was_imported(bao: Bao, operator: TransitCustody) -> None:
    """Import a key by our wrapping under a name that is not derived, and open what it sealed without the server."""
    key = secrets.token_bytes(32)
    public = bao.client.adapter.get("/v1/transit/wrapping_key")["data"]["public_key"]
    given = {"ciphertext": sealed_for_import(public, key, secrets.token_bytes(32)), "hash_function": "SHA256"}
    name = tenant_name()
    bao.client.adapter.post(f"/v1/transit/keys/{name}/import", json=given | {"type": "aes256-gcm96"})
    plain = base64.b64encode(b"a value").decode()
    sealed = bao.client.secrets.transit.encrypt_data(name, plaintext=plain)["data"]["ciphertext"]
    raw = base64.b64decode(sealed.split(":")[2])
    assert AESGCM(key).decrypt(raw[:12], raw[12:], None) == b"a value"


async def test_a_next_version_is_imported_and_both_open(operator: TransitCustody, serving: TransitProvider) -> None:
    tenant = tenant_name()
    await operator.import_key(tenant, secrets.token_bytes(32), rotatable=False)
    first = await serving.wrap(tenant, b"1" * 32, b"c")
    assert (await operator.import_key(tenant, secrets.token_bytes(32), rotatable=False)).newest == 2
    second = await serving.wrap(tenant, b"2" * 32, b"c")
    assert (first[:9], second[:9]) == (b"vault:v1:", b"vault:v2:")
    assert await serving.unwrap(tenant, first, b"c") == b"1" * 32
    assert await serving.unwrap(tenant, second, b"c") == b"2" * 32


async def test_once_rotated_inside_no_version_can_be_imported_and_it_is_said(
    bao: Bao, operator: TransitCustody
) -> None:
    tenant = tenant_name()
    await operator.import_key(tenant, secrets.token_bytes(32), rotatable=True)
    bao.client.secrets.transit.rotate_key(f"crmgate-{tenant}")
    with pytest.raises(CustodyRefused) as caught:
        await operator.import_key(tenant, secrets.token_bytes(32), rotatable=True)
    assert caught.value.problem == "key-not-imported"


async def test_without_the_option_the_server_does_not_rotate_an_imported_key(
    bao: Bao, operator: TransitCustody
) -> None:
    tenant = tenant_name()
    await operator.import_key(tenant, secrets.token_bytes(32), rotatable=False)
    with pytest.raises(Exception, match="rotation"):
        bao.client.secrets.transit.rotate_key(f"crmgate-{tenant}")


async def test_a_key_the_server_made_is_not_replaced(operator: TransitCustody, serving: TransitProvider) -> None:
    tenant = tenant_name()
    await serving.wrap(tenant, bytes(32), b"c")
    with pytest.raises(CustodyRefused) as caught:
        await operator.import_key(tenant, secrets.token_bytes(32), rotatable=False)
    assert caught.value.problem == "key-not-imported"
    assert "import one before this CRM is used" in str(caught.value)


async def test_the_serving_token_can_neither_import_nor_destroy(serving: TransitProvider) -> None:
    tenant = tenant_name()
    await serving.wrap(tenant, bytes(32), b"c")
    with pytest.raises(KeysUnavailable) as caught:
        await TransitCustody(serving).destroy(tenant, [])
    assert caught.value.problem == "vault-denied"
    assert await TransitCustody(serving).describe(tenant)
    with pytest.raises(KeysUnavailable) as caught:
        await TransitCustody(serving).import_key(tenant_name(), bytes(32), rotatable=False)
    assert caught.value.problem == "vault-denied"


async def test_a_key_its_owner_keeps_is_never_touched(bao: Bao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token_with(bao, "crmgate-kept"))
    provider = TransitProvider(bao.address, TokenFile(tmp_path / "token"), key="held-plain")
    custody = TransitCustody(provider)
    about = await custody.describe("any")
    assert (about.name, about.origin, about.derived) == ("held-plain", "owner", False)
    for attempt in (
        custody.destroy("any", []),
        custody.suspend("any"),
        custody.import_key("any", bytes(32), rotatable=False),
    ):
        with pytest.raises(CustodyRefused) as caught:
            await attempt  # type: ignore[misc]
        assert caught.value.problem == "key-external"
    await provider.close()


async def test_a_kept_key_that_is_not_there_is_never_made(bao: Bao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token_with(bao, "crmgate-kept"))
    provider = TransitProvider(bao.address, TokenFile(tmp_path / "token"), key="held-missing")
    with pytest.raises(KeyringLocked) as caught:
        await provider.wrap("any", bytes(32), b"c")
    assert caught.value.problem == "vault-key-missing"
    assert "held-missing" not in bao.client.secrets.transit.list_keys()["data"]["keys"]
    await provider.close()


def test_the_import_format_is_oaep_of_an_ephemeral_key_and_the_key_under_aes_kwp() -> None:
    """OpenBao documentation, "Bring your own key": 512 bytes RSA-OAEP with SHA-256, then AES-KWP (RFC 5649)."""
    private = rsa.generate_private_key(65537, 4096)
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public = private.public_key().public_bytes(encoding, form).decode()
    raw = base64.b64decode(sealed_for_import(public, b"k" * 32, b"e" * 32))
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert private.decrypt(raw[:512], scheme) == b"e" * 32
    assert aes_key_unwrap_with_padding(b"e" * 32, raw[512:]) == b"k" * 32


@pytest.mark.parametrize(
    "data", [bytes(range(32)), bytes(range(32)).hex().encode() + b"\n", base64.b64encode(bytes(range(32)))]
)
def test_key_files_are_bytes_digits_or_base64(data: bytes) -> None:
    assert read_key(data) == bytes(range(32))


@pytest.mark.parametrize(
    "data", [b"", b"x" * 31, b"x" * 33, b"zz" * 32, b"00" * 16, b"\xff" * 64, base64.b64encode(bytes(16))]
)
def test_what_is_no_key_is_refused_without_repeating_it(data: bytes) -> None:
    with pytest.raises(CustodyRefused) as caught:
        read_key(data)
    assert caught.value.problem == "key-file-unfit"
    assert "64 hexadecimal digits" in str(caught.value)
