"""Opens what the settings name, for the server and the commands alike: database, key provider, certificates.

Each function does one thing and says in plain words why it could not; nothing is kept in this module.
"""

import hashlib
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from gateway.certificate import TlsFiles, ensure_certificate
from gateway.database import EmbeddedPostgres, Pool, migrate, suitable_folder
from gateway.key_config import KeyLogin, KeySettings, KeyStore
from gateway.settings import ConsoleSettings, ListenerSettings, Settings
from gateway.toml_tree import SettingInvalid
from kms.envelope import SUITES, Sealing
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.provider import KeyProvider, KeyringLocked
from kms.store import Store
from kms.vault import Tls, TransitProvider
from kms.vault_login import AppRole, Kubernetes, Login, TokenFile


@dataclass(frozen=True, slots=True)
class Database:
    """A database ready for use; `close` lets the embedded server go when nobody else uses it."""

    dsn: str
    embedded: EmbeddedPostgres | None = None

    def close(self) -> None:
        """Stop the embedded server unless another process needs it."""
        if self.embedded is not None:
            self.embedded.stop()


def open_database(settings: Settings) -> Database:
    """Start the embedded server or find the configured one, and bring the schema up to date. Blocks.

    Raises DatabaseUnavailable, EmbeddedServerFault, SettingInvalid.
    """
    if settings.database.dsn or settings.database.dsn_file:
        database = Database(own_dsn(settings))
    else:
        server = EmbeddedPostgres(embedded_folder(settings))
        database = Database(server.start(), server)
    try:
        migrate(_owner_dsn(settings) or database.dsn)
    except BaseException:
        database.close()
        raise
    return database


def embedded_folder(settings: Settings) -> Path:
    """Folder of the embedded database: the one in the settings, or a shared one where its account cannot enter that."""
    folder = settings.database_folder
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return suitable_folder(folder, f"database-{mark}")


def _owner_dsn(settings: Settings) -> str:
    """Connection string of the account that upgrades the schema; "" where the serving account does."""
    file = settings.database.owner_dsn_file
    return "" if file is None else read_secret("database.owner_dsn_file", file).decode()


def own_dsn(settings: Settings) -> str:
    """Connection string of the configured PostgreSQL; "" for the embedded one."""
    if settings.database.dsn_file is not None:
        return read_secret("database.dsn_file", settings.database.dsn_file).decode()
    return settings.database.dsn


def open_keys(settings: Settings, tenant: str = "") -> KeyProvider:
    """The key provider of a tenant, or of all that have none of their own; not yet asked for anything.

    Raises KeyringLocked.
    """
    keys = settings.keys_of(tenant)
    if keys.provider is KeyStore.LOCAL:
        return LocalProvider(keys.path or settings.keyring_path, read_passphrase(settings, keys))
    return open_transit(keys)


def read_passphrase(settings: Settings, keys: KeySettings) -> bytes:
    """The passphrase of a local keyring; raises KeyringLocked."""
    path = keys.passphrase_file or settings.passphrase_path
    try:
        return path.read_bytes()
    except OSError as fault:
        message = f"the passphrase of the keyring cannot be read from {path}: {fault.strerror}"
        raise KeyringLocked("passphrase-unreadable", message) from None


def open_transit(keys: KeySettings, token_file: Path | None = None) -> TransitProvider:
    """The transit provider of a section; token_file: an operator's token, instead of the login of the settings."""
    certificate, key = keys.client_certificate, keys.client_key
    return TransitProvider(
        keys.address,
        _login(keys) if token_file is None else TokenFile(token_file),
        keys.mount,
        keys.namespace or None,
        Tls(
            None if keys.ca is None else str(keys.ca),
            None if certificate is None else str(certificate),
            None if key is None else str(key),
        ),
        keys.timeout_s,
        key=keys.key,
    )


def operated(settings: Settings, tenant: str, token_file: Path | None) -> Settings:
    """The settings with an operator's token for the keys of a tenant, instead of what serves; None: as they are."""
    if token_file is None:
        return settings
    keys = replace(settings.keys_of(tenant), login=KeyLogin.TOKEN_FILE, token_file=token_file)
    return replace(settings, tenant_keys={**settings.tenant_keys, tenant: keys})


def sealing_of(settings: Settings, tenant: str) -> Sealing:
    """What new values of a tenant are sealed with."""
    keys = settings.keys_of(tenant)
    suite = next(one for one in SUITES.values() if one.name == keys.suite)
    return Sealing(suite, keys.commitment, keys.legacy_3des)


def _login(keys: KeySettings) -> Login:
    if keys.login is KeyLogin.APPROLE:
        assert keys.secret_id_file is not None
        return AppRole(keys.role_id, keys.secret_id_file, keys.login_mount or "approle")
    if keys.login is KeyLogin.KUBERNETES:
        return Kubernetes(keys.role, keys.jwt_file, keys.login_mount or "kubernetes")
    assert keys.token_file is not None
    return TokenFile(keys.token_file)


def open_keyring(settings: Settings, pool: Pool) -> Keyring:
    """The keyring with a provider for each tenant; raises KeyringLocked."""
    made: dict[KeySettings, KeyProvider] = {}
    for tenant in settings.tenants:
        keys = settings.keys_of(tenant)
        if keys not in made:
            made[keys] = open_keys(settings, tenant)
    own = {tenant: made[keys] for tenant, keys in settings.tenant_keys.items()}
    shared = made.get(settings.keys, next(iter(made.values())))
    return Keyring(shared, Store(pool), own, ttl_s=settings.keys.cache_s, clock=time.monotonic)


def read_secret(name: str, file: Path) -> bytes:
    """Content of a file that a setting names, without the line end; raises SettingInvalid."""
    try:
        return file.read_bytes().rstrip(b"\r\n")
    except OSError as fault:
        raise SettingInvalid(name, f"cannot read {file}: {fault.strerror}") from fault


def public_hosts(settings: Settings) -> list[str]:
    """Host names (no ports) that a certificate has to be good for: every CRM's and the console's."""
    urls = [tenant.public_url for tenant in settings.tenants.values()] + [settings.console.public_url]
    return sorted({urlsplit(url).hostname or "" for url in urls})


def open_certificate(
    settings: Settings, listener: ListenerSettings | ConsoleSettings, now: datetime
) -> TlsFiles | None:
    """Files for a listener: the configured ones, or a pair of our own in the state folder; None without TLS."""
    if not listener.tls:
        return None
    if listener.tls_certificate is not None and listener.tls_key is not None:
        return TlsFiles(listener.tls_certificate, listener.tls_key)
    return ensure_certificate(settings.state / "tls", public_hosts(settings), now)
