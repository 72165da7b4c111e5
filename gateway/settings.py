"""Every setting of crmgate: one frozen tree, read once from `crmgate.toml`.

An unknown key is an error that names the closest valid one; a wrong value is an error that says what fits. Secrets
never stand in the file: it names files that hold them. CRMGATE_CONFIG is the only environment variable.
Relative paths count from the folder of the file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from gateway.access.device import Approval, Binding
from gateway.access.session_rules import WhenFull
from gateway.anchor_config import AnchorSettings
from gateway.archive_config import ArchiveSettings, RetentionSettings
from gateway.disclosure.config import RevealSettings
from gateway.egress.config import EgressSettings
from gateway.entry_config import EntrySettings
from gateway.federation.config import SignInSettings
from gateway.identity.config import IdentitySettings
from gateway.key_config import KeySettings, PersonSettings
from gateway.siem_config import SiemSettings
from gateway.tls import CIPHERS, TlsFloor
from gateway.toml_tree import Address, Network, setting

CONFIG_VARIABLE = "CRMGATE_CONFIG"
FILE_NAME = "crmgate.toml"
MEGABYTE = 1024 * 1024


class Posture(StrEnum):
    """What happens to reads that no profile rule matches."""

    SCAN = "scan"
    DENY = "deny"


class CrmDatabase(StrEnum):
    """What the CRM keeps its data in; asked for evidence only."""

    UNKNOWN = "unknown"
    MYSQL = "mysql"
    POSTGRESQL = "postgresql"


class Separation(StrEnum):
    """Whether administrators' duties are kept in different accounts."""

    NONE = "none"
    THREE_ROLES = "three-roles"


class Grants(StrEnum):
    """How many people it takes to give somebody rights."""

    ONE_PERSON = "one-person"
    TWO_PEOPLE = "two-people"


class KeySigner(StrEnum):
    """Where the key is that signs checkpoints."""

    FILE = "file"
    SERVER = "key-server"


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """[gateway]: the listener that users of the CRM reach."""

    listen: Address = setting(Address("127.0.0.1", 8443), "address and port of the CRM side")
    tls_certificate: Path | None = setting(None, "PEM chain; without it crmgate makes a certificate of its own")
    tls_key: Path | None = setting(None, "PEM key that belongs to tls_certificate")
    tls: bool = setting(True, "false only behind a front proxy on the same machine that ends TLS")
    tls_minimum: TlsFloor = setting(TlsFloor.V1_2, "oldest TLS version that is spoken: 1.2 or 1.3")
    tls_ciphers: str = setting(CIPHERS, "ciphers of TLS 1.2, as OpenSSL writes them; those of 1.3 are always on")
    client_ca: Path | None = setting(
        None, "PEM file with the CA of the certificates that programs show (crmgate client add --certificate)"
    )


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """[console]: the listener for administrators, auditors and data protection officers, on a host of its own."""

    listen: Address = setting(Address("127.0.0.1", 8444), "address and port of the console")
    public_url: str = setting("https://console.localhost:8444", "the address people type; its host must not be a CRM's")
    tls_certificate: Path | None = setting(None, "PEM chain; without it crmgate makes a certificate of its own")
    tls_key: Path | None = setting(None, "PEM key that belongs to tls_certificate")
    tls: bool = setting(True, "false only behind a front proxy on the same machine that ends TLS")
    tls_minimum: TlsFloor = setting(TlsFloor.V1_2, "oldest TLS version that is spoken: 1.2 or 1.3")
    tls_ciphers: str = setting(CIPHERS, "ciphers of TLS 1.2, as OpenSSL writes them; those of 1.3 are always on")

    @property
    def host(self) -> str:
        """Host and, unless it is the scheme's own, port, as browsers send them."""
        return urlsplit(self.public_url).netloc.lower()


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """[tenant.NAME]: one CRM behind the gateway."""

    upstream: str = setting(..., "address of the CRM itself, reachable from here only")
    public_url: str = setting("https://crm.localhost:8443", "the address people type instead")
    profile: str = setting("generic", "name of a shipped CRM profile, or path of a profile file of your own")
    policy: Path | None = setting(None, "policy file (CSV); without it the shipped one applies")
    arrivals_s: float = setting(
        15.0, "seconds between two looks at what came into the CRM past crmgate (needs protect credential); 0: none"
    )
    posture: Posture = setting(Posture.SCAN, "reads that no profile rule matches: scan (shown after scanning) or deny")
    migrated: bool = setting(
        False, "the CRM holds no value in clear any more, whether or not `crmgate protect verify` proved it"
    )
    allow_networks: tuple[Network, ...] = setting((), "networks people may come from; empty means any")
    upstream_ca: Path | None = setting(None, "PEM file with the CA of the CRM when it is not a public one")
    upstream_certificate: Path | None = setting(None, "PEM chain that crmgate shows to a CRM that asks for one (mTLS)")
    upstream_key: Path | None = setting(None, "PEM key that belongs to upstream_certificate")
    upstream_tls_minimum: TlsFloor = setting(TlsFloor.V1_2, "oldest TLS version spoken with the CRM: 1.2 or 1.3")
    upstream_ciphers: str = setting(CIPHERS, "ciphers of TLS 1.2 with the CRM, as OpenSSL writes them")
    crm_database: CrmDatabase = setting(
        CrmDatabase.UNKNOWN, "the CRM's own database, for evidence: mysql (MariaDB too), postgresql or unknown"
    )
    crm_database_access: Path | None = setting(
        None, "file with a read-only access to it: my.cnf with a [client] section, or a PostgreSQL connection string"
    )
    crm_database_name: str = setting("", "mysql: schema of the CRM; empty means every schema but the server's own")
    max_connections: int = setting(64, "connections to the CRM at the same time", least=1)
    connect_timeout_s: float = setting(5.0, "seconds to reach the CRM", least=0.1)
    answer_timeout_s: float = setting(60.0, "seconds of silence from the CRM before it counts as slow", least=0.1)
    keep_idle_s: float = setting(30.0, "seconds an unused connection to the CRM is kept", least=0)
    forward_client_address: bool = setting(False, "tell the CRM the client's address in X-Forwarded-For")

    @property
    def host(self) -> str:
        """Host and, unless it is the scheme's own, port, as browsers send them."""
        return urlsplit(self.public_url).netloc.lower()


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """[network]: who stands between the clients and crmgate."""

    trusted_proxies: tuple[Network, ...] = setting((), "front proxies whose X-Forwarded-For is believed")
    proxy_protocol: tuple[Network, ...] = setting(
        (), "load balancers that begin each connection with a PROXY header (v1 or v2); it is required from them"
    )


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """[database]: PostgreSQL; the embedded one unless a dsn is given."""

    dsn: str = setting("", "connection string of your own PostgreSQL 16 or newer, without a password (use passfile=)")
    dsn_file: Path | None = setting(None, "file holding that connection string, which may have a password then")
    owner_dsn_file: Path | None = setting(
        None, "file holding the connection string of the account that owns the tables, for upgrades only"
    )
    folder: Path | None = setting(None, "folder of the embedded PostgreSQL; default: database in the state folder")
    max_connections: int = setting(16, "connections of this node", least=2)


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """[access]: sign-in and sessions."""

    idle_minutes: int = setting(30, "a session ends after this time without use", least=1)
    absolute_hours: int = setting(12, "a session ends after this time in any case", least=1)
    lock_minutes: int = setting(
        0,
        "a session is locked after this time without use, until its person proves a factor; 0: only on demand",
        least=0,
    )
    unlock_password: bool = setting(False, "true asks for the password as well before a locked session opens")
    proof_minutes: int = setting(
        10, "how old a proof of a factor may be for sensitive pages of the console, and for exports by policy", least=1
    )
    sessions_most: int = setting(50, "sessions that one account may have at a time", least=1)
    sessions_full: WhenFull = setting(
        WhenFull.END_OLDEST, "one more sign-in than that: end-oldest (session) or refuse (the sign-in)"
    )
    separation: Separation = setting(
        Separation.NONE,
        "three-roles: no account has powers of two of system, security and audit administrator, and the shipped policy "
        "is three_roles.csv (三员分立); none",
    )
    grants: Grants = setting(
        Grants.ONE_PERSON,
        "two-people: a second person agrees before somebody gets roles, departments, positions or a CRM key; always so "
        "with separation",
    )
    emergency_hours: float = setting(2.0, "hours that an emergency role lasts at most (8 at the most)", least=0.25)
    emergency_delay_minutes: int = setting(
        15, "minutes of alarm before an emergency role opens that no second person agreed to", least=5
    )
    devices: Binding = setting(
        Binding.OFF,
        "off; known (a session opens nothing before its browser showed a key that is let in); or bound (it shows it "
        "again every few minutes, and before sensitive acts)",
    )
    devices_approval: Approval = setting(
        Approval.NONE, "who lets a new browser in: none (nobody has to), user (from a known one) or administrator"
    )
    devices_most: int = setting(10, "browsers that one account may have; each host counts as one", least=1)
    devices_renew_minutes: int = setting(5, "bound: how long the session's cookie works without a new proof", least=1)
    devices_programs: bool = setting(
        False, "true lets people sign in by a program (/.crmgate/api/sign-in), which has no device to be bound to"
    )
    issuer: str = setting("crmgate", "name shown in the authenticator app")
    breached_passwords: Path | None = setting(
        None, "file of breached passwords: SHA-1 in hexadecimal, one a line, in order, as public corpora have them"
    )
    uniqueness_per_hour: int = setting(
        30, "answers that a value is taken already, for each person who does not see the value", least=1
    )
    searches_per_hour: int = setting(1000, "searches for values that a person does not see, for each person", least=1)

    @property
    def separated(self) -> bool:
        """Whether the duties of administrators are kept apart."""
        return self.separation is Separation.THREE_ROLES

    @property
    def two_people(self) -> bool:
        """Whether nobody gets rights before a second person agreed."""
        return self.separated or self.grants is Grants.TWO_PEOPLE


class PasswordPreset(StrEnum):
    """Whose idea of a good password holds."""

    ASVS = "asvs"
    MLPS = "mlps"


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """[passwords]: what is asked of passwords beside length, lists of known ones and guessing."""

    preset: PasswordPreset = setting(
        PasswordPreset.ASVS, "asvs (no composition, no end) or mlps (等保: three kinds of characters, and what follows)"
    )
    least_chars: int = setting(12, "mlps: characters at least", least=12)
    expire_days: int = setting(90, "mlps: days after which a new one has to be chosen at sign-in", least=1)
    remember: int = setting(5, "mlps: earlier passwords, beside the one in use, that are not taken again", least=1)


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """[limits]: what is refused for its size."""

    body_mb: int = setting(8, "request bodies that have to be read (forms, JSON, imports)", least=1)
    upload_mb: int = setting(1024, "files in a multipart upload, streamed", least=1)
    answer_mb: int = setting(32, "answers that have to be read (pages, JSON, exports), after decompression", least=1)
    ratio: int = setting(100, "times a compressed body may grow", least=2)
    depth: int = setting(64, "nesting of JSON", least=4)
    leaves: int = setting(200_000, "values in one body", least=100)
    head_kb: int = setting(64, "request line and headers together", least=8)
    clients: int = setting(1024, "client connections at the same time", least=1)
    idle_client_s: float = setting(60.0, "seconds a quiet client connection is kept", least=1)

    @property
    def body(self) -> int:
        """Bytes of a request body that has to be read."""
        return self.body_mb * MEGABYTE

    @property
    def upload(self) -> int:
        """Bytes of a streamed upload."""
        return self.upload_mb * MEGABYTE

    @property
    def answer(self) -> int:
        """Bytes of an answer that has to be read."""
        return self.answer_mb * MEGABYTE


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """[audit]: the trail."""

    checkpoint_key: Path | None = setting(None, "Ed25519 key that signs checkpoints; default: audit.key in state")
    checkpoint_signer: KeySigner = setting(
        KeySigner.FILE,
        "where it is: file, or key-server (of [keys]; run crmgate audit key --create first)",
    )
    checkpoint_key_name: str = setting("audit-checkpoint", "name of the key on the key server")
    checkpoint_seconds: int = setting(3, "time between signed checkpoints", least=1)
    tiles_networks: tuple[Network, ...] = setting(
        (), "networks that may read the signed log over HTTP (C2SP tlog-tiles) on the console's listener; none: off"
    )
    tiles_seconds: int = setting(10, "time between two states of the log over HTTP", least=1)
    tiles_entries: bool = setting(False, "whether they may read the entries too, not only their hashes")
    watch_entries: int = setting(10_000, "old entries verified again between two checkpoints, of all CRMs", least=200)
    watch_percent: int = setting(25, "of one core, for holding all entries against their imprints; 1 to 100", least=1)
    query_rows: int = setting(1_000, "rows of an auditor's statement that has no LIMIT of its own", least=1)
    query_seconds: int = setting(60, "how long an auditor's statement may run", least=1)
    query_memory_mb: int = setting(512, "memory of an auditor's statement, in MB", least=128)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree; paths are absolute and defaults filled in."""

    file: Path
    state: Path
    gateway: ListenerSettings = field(default_factory=ListenerSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    tenants: Mapping[str, TenantSettings] = field(default_factory=lambda: MappingProxyType({}))
    network: NetworkSettings = field(default_factory=NetworkSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    keys: KeySettings = field(default_factory=KeySettings)
    tenant_keys: Mapping[str, KeySettings] = field(default_factory=lambda: MappingProxyType({}))
    tenant_identity: Mapping[str, IdentitySettings] = field(default_factory=lambda: MappingProxyType({}))
    tenant_entry: Mapping[str, EntrySettings] = field(default_factory=lambda: MappingProxyType({}))
    tenant_reveal: Mapping[str, RevealSettings] = field(default_factory=lambda: MappingProxyType({}))
    persons: PersonSettings = field(default_factory=PersonSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    passwords: PasswordSettings = field(default_factory=PasswordSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    anchors: AnchorSettings = field(default_factory=AnchorSettings)
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)
    retention: Mapping[str, RetentionSettings] = field(default_factory=lambda: MappingProxyType({}))
    egress: EgressSettings = field(default_factory=EgressSettings)
    siem: Mapping[str, SiemSettings] = field(default_factory=lambda: MappingProxyType({}))
    sign_in: SignInSettings = field(default_factory=SignInSettings)

    @property
    def database_folder(self) -> Path:
        """Folder of the embedded PostgreSQL."""
        return self.database.folder or self.state / "database"

    def keys_of(self, tenant: str) -> KeySettings:
        """Where the keys of a tenant come from, and what its values are sealed with: [keys] with [tenant.NAME.keys]."""
        return self.tenant_keys.get(tenant, self.keys)

    def identity_of(self, tenant: str) -> IdentitySettings:
        """How a CRM learns who a person is: [tenant.NAME.identity]."""
        return self.tenant_identity.get(tenant, IdentitySettings())

    @property
    def keyring_path(self) -> Path:
        """File of the local keyring."""
        return self.keys.path or self.state / "keyring"

    @property
    def passphrase_path(self) -> Path:
        """File that holds the passphrase of the local keyring."""
        return self.keys.passphrase_file or self.state / "keyring.pass"

    @property
    def person_store_path(self) -> Path:
        """File of the keys of data subjects, where they are in one."""
        return self.persons.path or self.state / "persons.db"

    @property
    def epochs_path(self) -> Path:
        """Sealed file of the epoch keys above them, for CRMs with local keys."""
        return self.persons.epochs or self.state / "persons.keyring"

    @property
    def checkpoint_key_path(self) -> Path:
        """File of the key that signs the audit trail's checkpoints."""
        return self.audit.checkpoint_key or self.state / "audit.key"

    @property
    def checkpoint_folder(self) -> Path:
        """Where the newest checkpoint of each CRM is kept outside the database."""
        return self.checkpoint_key_path.parent / "checkpoints"


SECTIONS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "gateway": ListenerSettings,
        "console": ConsoleSettings,
        "tenant": TenantSettings,
        "network": NetworkSettings,
        "database": DatabaseSettings,
        "keys": KeySettings,
        "persons": PersonSettings,
        "access": AccessSettings,
        "passwords": PasswordSettings,
        "limits": LimitSettings,
        "audit": AuditSettings,
    }
)


def find_file(given: Path | None) -> Path:
    """The settings file: the one given, else $CRMGATE_CONFIG, else crmgate.toml in the current folder."""
    chosen = given or Path(os.environ.get(CONFIG_VARIABLE) or FILE_NAME)
    return chosen.absolute()


def cache_folder() -> Path:
    """Where what can be fetched again is kept: ${XDG_CACHE_HOME:-~/.cache}/crmgate."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "crmgate"
