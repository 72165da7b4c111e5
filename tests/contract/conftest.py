"""Key providers of every kind for the contract: the local file, and real OpenBao servers by every way of logging in."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kms.local import LocalProvider
from kms.provider import KeyProvider
from kms.vault import Tls, TransitProvider
from kms.vault_login import AppRole, Kubernetes, TokenFile
from tests.real.bao import Bao
from tests.real.bao import bao as running_bao
from tests.real.certificates import Authority, Pair
from tests.real.kept_bao import KeptBao, ServerTls, kept_bao
from tests.real.token_review import TokenReview, token_review

SECRET = b"correct horse battery staple"
POLICY = """
    path "transit/keys/crmgate-*" { capabilities = ["create", "update", "read"] }
    path "transit/encrypt/crmgate-*" { capabilities = ["create", "update"] }
    path "transit/decrypt/crmgate-*" { capabilities = ["create", "update"] }
"""
KEPT_POLICY = """
    path "transit/keys/held-*" { capabilities = ["read"] }
    path "transit/encrypt/held-*" { capabilities = ["update"] }
    path "transit/decrypt/held-*" { capabilities = ["update"] }
"""


@pytest.fixture(scope="session")
def bao() -> Iterator[Bao]:
    """A server in development mode with AppRole, a namespace, and two keys that their owner keeps."""
    with running_bao() as running:
        client = running.client
        client.sys.create_or_update_policy("crmgate", POLICY)
        client.sys.create_or_update_policy("crmgate-kept", KEPT_POLICY)
        client.sys.enable_auth_method("approle")
        client.auth.approle.create_or_update_approle("crmgate", token_policies=["crmgate"], token_ttl="20m")
        client.secrets.transit.create_key("held-plain", key_type="aes256-gcm96")
        client.secrets.transit.create_key("held-derived", key_type="aes256-gcm96", derived=True)
        client.secrets.transit.create_key("held-rsa", key_type="rsa-2048")
        client.adapter.post("/v1/sys/namespaces/acme")
        inside = {"X-Vault-Namespace": "acme"}
        client.adapter.post("/v1/sys/mounts/transit", json={"type": "transit"}, headers=inside)
        client.adapter.post("/v1/sys/policies/acl/crmgate", json={"policy": POLICY}, headers=inside)
        yield running


@pytest.fixture(scope="session")
def keyring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local keyring sealed with SECRET."""
    path = tmp_path_factory.mktemp("keys") / "keyring"
    LocalProvider.create(path, SECRET)
    return path


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server behind mutual TLS that admits service accounts which a TokenReview server vouches for."""

    server: KeptBao
    review: TokenReview
    authority: Authority
    client: Pair

    def tls(self) -> Tls:
        """What a client needs."""
        return Tls(str(self.authority.ca), str(self.client.certificate), str(self.client.key))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Mutual TLS and Kubernetes logins; the role's tokens live for 20 minutes."""
    authority = Authority(tmp_path_factory.mktemp("ca"))
    client = authority.pair("crmgate")
    tls = ServerTls(authority.pair("server"), authority.ca, client)
    with token_review(authority.pair("kubernetes")) as review, kept_bao(tls) as server, server.client() as admin:
        admin.sys.create_or_update_policy("crmgate", POLICY)
        admin.sys.enable_auth_method("kubernetes")
        admin.auth.kubernetes.configure(
            f"https://127.0.0.1:{review.port}",
            kubernetes_ca_cert=authority.ca.read_text(),
            token_reviewer_jwt=review.service_account("kube-system", "reviewer"),
            disable_local_ca_jwt=True,
        )
        admin.auth.kubernetes.create_role("crmgate", "crmgate", "crm", policies=["crmgate"], ttl="20m")
        yield Cluster(server, review, authority, client)


def approle(bao: Bao, folder: Path, role: str = "crmgate", **limits: object) -> AppRole:
    """A login by AppRole with a fresh secret id in a file."""
    file = folder / f"secret-id-{role}"
    file.write_text(bao.client.auth.approle.generate_secret_id(role, **limits)["data"]["secret_id"] + "\n")
    return AppRole(bao.client.auth.approle.read_role_id(role)["data"]["role_id"], file)


def token_with(bao: Bao, *policies: str, **about: object) -> str:
    """A token with these policies and the default one."""
    return str(bao.client.auth.token.create(policies=list(policies), **about)["auth"]["client_token"])


Make = Callable[[pytest.FixtureRequest, Path], KeyProvider]


def _local(request: pytest.FixtureRequest, _: Path) -> KeyProvider:
    return LocalProvider(request.getfixturevalue("keyring_path"), SECRET)


def _token_file(request: pytest.FixtureRequest, folder: Path) -> KeyProvider:
    bao = request.getfixturevalue("bao")
    (folder / "token").write_text(token_with(bao, "crmgate") + "\n")
    return TransitProvider(bao.address, TokenFile(folder / "token"))


def _approle(request: pytest.FixtureRequest, folder: Path) -> KeyProvider:
    bao = request.getfixturevalue("bao")
    return TransitProvider(bao.address, approle(bao, folder))


def _kubernetes(request: pytest.FixtureRequest, folder: Path) -> KeyProvider:
    cluster: Cluster = request.getfixturevalue("cluster")
    (folder / "jwt").write_text(cluster.review.service_account("crm", "crmgate"))
    return TransitProvider(cluster.server.address, Kubernetes("crmgate", folder / "jwt"), tls=cluster.tls())


def _namespace(request: pytest.FixtureRequest, folder: Path) -> KeyProvider:
    bao = request.getfixturevalue("bao")
    inside = {"X-Vault-Namespace": "acme"}
    made = bao.client.adapter.post("/v1/auth/token/create", json={"policies": ["crmgate"]}, headers=inside)
    (folder / "token").write_text(made["auth"]["client_token"])
    return TransitProvider(bao.address, TokenFile(folder / "token"), namespace="acme")


def _kept(name: str) -> Make:
    def make(request: pytest.FixtureRequest, folder: Path) -> KeyProvider:
        bao = request.getfixturevalue("bao")
        (folder / "token").write_text(token_with(bao, "crmgate-kept"))
        return TransitProvider(bao.address, TokenFile(folder / "token"), key=name)

    return make


PROVIDERS: dict[str, Make] = {
    "local": _local,
    "token-file": _token_file,
    "approle": _approle,
    "kubernetes-mtls": _kubernetes,
    "namespace": _namespace,
    "kept-derived": _kept("held-derived"),
    "kept-plain": _kept("held-plain"),
    "kept-rsa": _kept("held-rsa"),
}


@pytest.fixture(params=PROVIDERS)
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyProvider]:
    """Each kind of provider in turn."""
    made = PROVIDERS[request.param](request, tmp_path)
    yield made
    await made.close()
