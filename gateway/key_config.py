"""[keys] and [persons] of the settings: where keys come from, and where those of data subjects are."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.toml_tree import setting

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class KeyStore(StrEnum):
    """Where the root of all keys is."""

    LOCAL = "local"
    OPENBAO = "openbao"


class SealSuite(StrEnum):
    """What new values are sealed with; stored values open whatever stands here."""

    AES_256_GCM = "aes-256-gcm"
    SM4_GCM = "sm4-gcm"
    TRIPLE_DES = "3des-cbc-hmac"


class KeyLogin(StrEnum):
    """How crmgate comes by its token for OpenBao or Vault."""

    TOKEN_FILE = "token-file"  # noqa: S105 - a name, not a secret
    APPROLE = "approle"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class KeySettings:
    """[keys], and [tenant.NAME.keys] for what is different for one CRM: where keys come from."""

    provider: KeyStore = setting(KeyStore.LOCAL, "local (a sealed file) or openbao (OpenBao or Vault, transit engine)")
    path: Path | None = setting(None, "local: the sealed keyring; default: keyring in the state folder")
    passphrase_file: Path | None = setting(None, "local: file with the passphrase; default: keyring.pass in state")
    address: str = setting("", "openbao: https://host:8200")
    login: KeyLogin = setting(KeyLogin.TOKEN_FILE, "openbao: token-file, approle or kubernetes")
    token_file: Path | None = setting(None, "login token-file: the file; it is read again when it changes")
    role_id: str = setting("", "login approle: the role id")
    secret_id_file: Path | None = setting(None, "login approle: file with the secret id, read at each login")
    role: str = setting("", "login kubernetes: name of the role")
    jwt_file: Path = setting(_SERVICE_ACCOUNT, "login kubernetes: the pod's service account token, read at each login")
    login_mount: str = setting("", "where the login method is mounted; default: approle or kubernetes")
    mount: str = setting("transit", "openbao: mount path of the transit engine")
    key: str = setting(
        "", "openbao: name of a key that its owner keeps there; default: crmgate-TENANT, made at first use"
    )
    namespace: str = setting("", "openbao: namespace, if you use them")
    ca: Path | None = setting(None, "openbao: PEM file with its CA")
    client_certificate: Path | None = setting(None, "openbao: PEM certificate of crmgate for mutual TLS")
    client_key: Path | None = setting(None, "openbao: PEM key that belongs to client_certificate")
    timeout_s: float = setting(5.0, "openbao: seconds to wait for an answer", least=0.1)
    cache_s: float = setting(300.0, "seconds that opened keys stay in memory when the provider is away", least=1)
    suite: SealSuite = setting(
        SealSuite.AES_256_GCM, "seals new values: aes-256-gcm, sm4-gcm, or 3des-cbc-hmac behind legacy_3des"
    )
    commitment: bool = setting(False, "true where a tenant brings keys: each new value commits to its key (16 bytes)")
    legacy_3des: bool = setting(False, "true allows suite 3des-cbc-hmac to encrypt; old values are read without it")
    destroy_after_hours: float = setting(
        168.0, "hours between the approval of a destruction and the earliest end", least=1
    )


class PersonStoreKind(StrEnum):
    """What keeps the keys of data subjects."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class PersonSettings:
    """[persons]: where the keys of data subjects are, apart from the main database and from its backups."""

    store: PersonStoreKind = setting(PersonStoreKind.SQLITE, "sqlite (a file of its own) or postgresql")
    path: Path | None = setting(None, "sqlite: the file; default: persons.db in the state folder")
    dsn_file: Path | None = setting(None, "postgresql: file holding the connection string of a database of its own")
    epochs: Path | None = setting(
        None, "local keys: sealed file of the epoch keys; default: persons.keyring in the state folder"
    )
    backup_days: int = setting(
        30,
        "days that backups (of OpenBao or the file of the epoch keys, and of the main database) are kept; "
        "certificates count them, and keys that nothing names wait so long",
        least=0,
    )
