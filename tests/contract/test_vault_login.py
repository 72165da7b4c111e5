"""Logging in to a real OpenBao: every method, renewal, what happens when tokens and secrets end or are replaced."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kms.provider import KeysUnavailable
from kms.vault import Tls, TransitProvider
from kms.vault_login import AppRole, Kubernetes, TokenFile
from tests.contract.conftest import Cluster, approle, token_with
from tests.real.bao import Bao

PATIENCE_S = 60.0


class Clock:
    """Real time and what a test adds to it."""

    def __init__(self) -> None:
        self.more = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.more


async def problem(provider: TransitProvider) -> str:
    with pytest.raises(KeysUnavailable) as caught:
        await provider.check()
    return caught.value.problem


async def until(so: Callable[[], bool]) -> None:
    """Wait for a state; how fast it comes is not what is tested."""
    end = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_token_file_is_read_again_when_it_is_replaced(bao: Bao, tmp_path: Path) -> None:
    file = tmp_path / "token"
    first = token_with(bao, "crmgate")
    file.write_text(first)
    provider = TransitProvider(bao.address, TokenFile(file))
    wrapped = await provider.wrap("acme", bytes(32), b"c")
    bao.client.auth.token.revoke(first)
    assert await problem(provider) == "vault-denied"
    fresh = tmp_path / "fresh"
    fresh.write_text(token_with(bao, "crmgate") + "\n")
    fresh.rename(file)
    assert await provider.unwrap("acme", wrapped, b"c") == bytes(32)
    file.unlink()  # for a moment: the token in use is good
    assert await provider.unwrap("acme", wrapped, b"c") == bytes(32)
    await provider.close()


async def test_a_missing_or_empty_secret_file_is_named_and_needs_no_restart(bao: Bao, tmp_path: Path) -> None:
    file = tmp_path / "token"
    provider = TransitProvider(bao.address, TokenFile(file))
    for content in (None, "", "two words", "ключ"):
        if content is not None:
            file.write_text(content)
        with pytest.raises(KeysUnavailable, match=str(file)) as caught:
            await provider.check()
        assert caught.value.problem == "vault-login-file"
    file.write_text(token_with(bao, "crmgate"))
    await provider.check()
    await provider.close()


async def test_a_token_is_renewed_while_nobody_asks_for_keys(bao: Bao, tmp_path: Path) -> None:
    """An idle gateway with a periodic token in a file has no other way to it once it has ended."""
    token = token_with(bao, "crmgate", period="8s")
    (tmp_path / "token").write_text(token)
    provider = TransitProvider(bao.address, TokenFile(tmp_path / "token"))
    await provider.check()

    def renewed() -> bool:
        return "last_renewal" in bao.client.auth.token.lookup(token)["data"]

    await until(renewed)
    await provider.check()
    await provider.close()


async def test_a_token_is_renewed_at_half_of_its_life_and_not_before(bao: Bao, tmp_path: Path) -> None:
    token = token_with(bao, "crmgate", ttl="1h")
    (tmp_path / "token").write_text(token)
    clock = Clock()
    provider = TransitProvider(bao.address, TokenFile(tmp_path / "token"), clock=clock)
    await provider.check()
    admission = provider._admission  # the clock can only be turned from here
    clock.more = 1700
    admission.tend()
    assert "last_renewal" not in bao.client.auth.token.lookup(token)["data"]
    clock.more = 1900
    admission.tend()
    assert "last_renewal" in bao.client.auth.token.lookup(token)["data"]
    left = provider.login_status().left_s
    assert left is not None
    assert left > 3500
    await provider.close()


def tokens_of(bao: Bao, role: str) -> set[str]:
    """Accessors of the tokens that a role has given out."""
    found = set()
    for accessor in bao.client.auth.token.list_accessors()["data"]["keys"]:
        about = bao.client.auth.token.lookup_accessor(accessor)["data"]
        if about["path"] == "auth/approle/login" and about["meta"].get("role_name") == role:
            found.add(accessor)
    return found


async def test_when_renewal_ends_there_is_a_new_login_before_the_token_does(bao: Bao, tmp_path: Path) -> None:
    bao.client.auth.approle.create_or_update_approle(
        "short", token_policies=["crmgate"], token_ttl="10m", token_max_ttl="11m"
    )
    clock = Clock()
    provider = TransitProvider(bao.address, approle(bao, tmp_path, "short"), clock=clock)
    await provider.check()
    (first,) = tokens_of(bao, "short")
    bao.client.auth.token.revoke_accessor(first)  # what the server says then is what it says at the end of renewal
    clock.more = 310
    provider._admission.tend()
    (second,) = tokens_of(bao, "short")
    assert second != first
    await provider.check()
    await provider.close()


async def test_a_token_that_the_server_forgot_is_replaced_within_the_call(bao: Bao, tmp_path: Path) -> None:
    """After the server was away: restored from a backup, or longer away than the token lived."""
    bao.client.auth.approle.create_or_update_approle("forgotten", token_policies=["crmgate"], token_ttl="1h")
    provider = TransitProvider(bao.address, approle(bao, tmp_path, "forgotten"))
    wrapped = await provider.wrap("acme", bytes(32), b"c")
    for accessor in tokens_of(bao, "forgotten"):
        bao.client.auth.token.revoke_accessor(accessor)
    assert await provider.unwrap("acme", wrapped, b"c") == bytes(32)
    await provider.close()


async def test_many_callers_cost_one_login(bao: Bao, tmp_path: Path) -> None:
    bao.client.auth.approle.create_or_update_approle("many", token_policies=["crmgate"], token_ttl="1h")
    provider = TransitProvider(bao.address, approle(bao, tmp_path, "many"))
    await asyncio.gather(*(provider.check() for _ in range(20)))
    assert len(tokens_of(bao, "many")) == 1
    await provider.close()


async def test_a_secret_id_that_is_used_up_is_said_and_a_new_one_needs_no_restart(bao: Bao, tmp_path: Path) -> None:
    bao.client.auth.approle.create_or_update_approle("once", token_policies=["crmgate"], secret_id_num_uses=1)
    login = approle(bao, tmp_path, "once")
    first = TransitProvider(bao.address, login)
    await first.check()
    await first.close()
    provider = TransitProvider(bao.address, login)
    with pytest.raises(KeysUnavailable) as caught:
        await provider.check()
    assert caught.value.problem == "vault-login"
    assert (tmp_path / "secret-id-once").read_text().strip() not in str(caught.value)
    approle(bao, tmp_path, "once")  # writes a new secret id
    await provider.check()
    await provider.close()


async def test_the_policy_decides_and_a_login_does_not_help(bao: Bao, tmp_path: Path) -> None:
    bao.client.auth.approle.create_or_update_approle("powerless", token_policies=["default"])
    provider = TransitProvider(bao.address, approle(bao, tmp_path, "powerless"))
    for _ in range(5):
        assert await problem(provider) == "vault-denied"
    assert len(tokens_of(bao, "powerless")) <= 2  # one, and one more because a token may have been forgotten
    await provider.close()


async def test_a_login_that_is_not_mounted_is_a_login_problem(bao: Bao, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    provider = TransitProvider(bao.address, AppRole("r", tmp_path / "secret", "nowhere"))
    assert await problem(provider) in ("vault-login", "vault-denied")
    await provider.close()


async def test_a_pod_logs_in_and_others_do_not(cluster: Cluster, tmp_path: Path) -> None:
    """Against a loopback server that speaks TokenReview, not a Kubernetes cluster (tests/real/token_review.py)."""

    def provider(jwt: str) -> TransitProvider:
        (tmp_path / "jwt").write_text(jwt)
        login = Kubernetes("crmgate", tmp_path / "jwt")
        return TransitProvider(cluster.server.address, login, tls=cluster.tls())

    good = provider(cluster.review.service_account("crm", "crmgate"))
    asked = cluster.review.asked
    await good.check()
    assert cluster.review.asked == asked + 1
    assert good.login_status().method == "kubernetes"
    left = good.login_status().left_s
    assert left is not None
    assert 1100 < left <= 1200
    await good.close()
    unknown = cluster.review.service_account("crm", "crmgate")
    cluster.review.valid.discard(unknown)
    for jwt in (cluster.review.service_account("other", "crmgate"), unknown, "no.jwt.atall"):
        other = provider(jwt)
        assert await problem(other) in ("vault-login", "vault-fault")
        await other.close()


async def test_tls_is_checked_both_ways(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(cluster.server.root)
    complete = cluster.tls()
    for tls in (
        Tls(None, complete.certificate, complete.key),  # the server's CA is not known
        Tls(complete.ca, None, None),  # crmgate shows no certificate
        Tls(complete.ca, str(tmp_path / "none"), str(tmp_path / "none")),
    ):
        provider = TransitProvider(cluster.server.address, TokenFile(tmp_path / "token"), tls=tls)
        assert await problem(provider) in ("vault-certificate", "vault-unreachable")
        await provider.close()
    provider = TransitProvider(cluster.server.address, TokenFile(tmp_path / "token"), tls=complete)
    await provider.check()
    await provider.close()


async def test_nothing_is_taken_from_the_environment(bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """hvac would take a token, a certificate and a namespace from it."""
    for name, value in {"VAULT_TOKEN": "x", "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_NAMESPACE": "n"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("hvac.v1.VAULT_CLIENT_CERT", "/none")
    monkeypatch.setattr("hvac.v1.VAULT_CLIENT_KEY", "/none")
    (tmp_path / "token").write_text(token_with(bao, "crmgate"))
    provider = TransitProvider(bao.address, TokenFile(tmp_path / "token"))
    await provider.check()
    await provider.close()


async def test_a_kept_key_stored_for_one_tenant_opens_for_no_other(bao: Bao, tmp_path: Path) -> None:
    """One key for all tenants: tenant and context are bound inside, and the mark cannot be taken off."""
    (tmp_path / "token").write_text(token_with(bao, "crmgate-kept"))
    for name in ("held-plain", "held-rsa", "held-derived"):
        provider = TransitProvider(bao.address, TokenFile(tmp_path / "token"), key=name)
        wrapped = await provider.wrap("a", b"k" * 32, b"c")
        assert wrapped.endswith(b";bound") is (name != "held-derived")
        for tenant, context, data in (("b", b"c", wrapped), ("a", b"d", wrapped), ("", b"ac", wrapped)):
            with pytest.raises(KeysUnavailable):
                await provider.unwrap(tenant, data, context)
        if wrapped.endswith(b";bound"):
            try:
                stripped = await provider.unwrap("a", wrapped.removesuffix(b";bound"), b"c")
            except KeysUnavailable:
                pass
            else:
                assert len(stripped) != 32  # the keyring refuses it
        await provider.close()
