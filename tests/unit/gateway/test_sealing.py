"""Second-factor secrets are sealed with the suite of their tenant, and open whatever it was when they were sealed."""

import secrets
import time
from pathlib import Path

import pytest

from gateway.database import Pool
from gateway.opening import sealing_of
from gateway.sealing import KeyringSealer
from gateway.settings import Settings
from gateway.settings_file import build_settings
from kms.envelope import EnvelopeInvalid
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.store import Store


def settings(**keys: object) -> Settings:
    tenant = {"main": {"upstream": "http://127.0.0.1:9"}}
    return build_settings({"tenant": tenant, "keys": keys}, Path("/nowhere/crmgate.toml"))


def test_settings_become_a_sealing() -> None:
    plain = sealing_of(settings(), "main")
    assert (plain.suite.name, plain.committed, plain.legacy) == ("aes-256-gcm", False, False)
    own = sealing_of(settings(suite="sm4-gcm", commitment=True), "main")
    assert (own.suite.name, own.committed, own.legacy) == ("sm4-gcm", True, False)
    old = sealing_of(settings(suite="3des-cbc-hmac", legacy_3des=True), "main")
    assert (old.suite.name, old.legacy) == ("3des-cbc-hmac", True)


def test_a_tenant_may_have_a_suite_of_its_own() -> None:
    own = {"suite": "sm4-gcm", "commitment": True}
    tenants = {
        "main": {"upstream": "http://127.0.0.1:9", "public_url": "https://a.localhost", "keys": own},
        "rest": {"upstream": "http://127.0.0.1:9", "public_url": "https://b.localhost"},
    }
    both = build_settings({"tenant": tenants}, Path("/nowhere/crmgate.toml"))
    assert (sealing_of(both, "main").suite.name, sealing_of(both, "main").committed) == ("sm4-gcm", True)
    assert (sealing_of(both, "rest").suite.name, sealing_of(both, "rest").committed) == ("aes-256-gcm", False)


async def test_secrets_open_after_the_suite_changed(pool: Pool, tmp_path: Path) -> None:
    provider = LocalProvider.create(tmp_path / "keyring", b"correct horse battery staple")
    keyring = Keyring(provider, Store(pool), clock=time.monotonic)
    before = KeyringSealer(keyring, secrets.token_bytes, lambda tenant: sealing_of(settings(), tenant))
    after = KeyringSealer(keyring, secrets.token_bytes, lambda tenant: sealing_of(settings(suite="sm4-gcm"), tenant))
    old, new = await before.seal("main", b"secret", b"u1"), await after.seal("main", b"secret", b"u1")
    assert (old[0], new[0]) == (0x11, 0x21)
    for sealed in (old, new):
        assert await after.open("main", sealed, b"u1") == b"secret"
        with pytest.raises(EnvelopeInvalid):
            await after.open("main", sealed, b"u2")
    await keyring.close()
