"""`crmgate check`: looks at everything the settings name and says in plain words what is wrong.

A finding is an id with parameters, so that it can be said in two languages (check_words.py). Nothing is changed:
no certificate is made, no database is migrated, no key is created. Errors carry names of things, never secrets.
"""

import asyncio
import contextlib
import errno
import importlib.metadata
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from gateway.certificate import read_certificate
from gateway.check_directory import check_directories
from gateway.check_duties import check_duties
from gateway.check_egress import check_egress
from gateway.check_entry import check_entry
from gateway.check_passwords import check_passwords
from gateway.check_shared import check_shared
from gateway.check_sign_in import check_sign_in
from gateway.check_trail import check_trail
from gateway.database import WALL_BINDS
from gateway.finding import Finding, Weight, finding, reason_of
from gateway.key_config import KeyStore, PersonStoreKind, SealSuite
from gateway.opening import embedded_folder, open_keys, own_dsn, public_hosts
from gateway.person_keys import open_persons
from gateway.settings import ConsoleSettings, ListenerSettings, Settings, TenantSettings
from gateway.tls import URGENT_DAYS, WARN_DAYS, Expiry, client_context, end_of, weak_ciphers
from gateway.toml_tree import SettingInvalid
from kms.provider import KeysUnavailable
from kms.vault import TransitProvider
from kms.vault_rights import beyond_serving
from policies.profile import ProfileInvalid, load_profile

PACKAGES = ("gateway", "policies", "kms", "audit", "privacy", "rules")
DISTRIBUTION = "crmgate"
FRONT_END = Path(__file__).resolve().parent / "console" / "static" / "vendor"
TIMEOUT_S = 5.0
_SHOWN = 4
# What OpenSSL calls the alert of a server, and the finding.
_TLS_FAULTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "upstream-wants-certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "upstream-wants-certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "upstream-tls-differs",
    "TLSV1_ALERT_UNKNOWN_CA": "upstream-wants-certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "upstream-tls-differs",
    "UNSUPPORTED_PROTOCOL": "upstream-tls-differs",
}


async def check(settings: Settings, now: datetime) -> list[Finding]:
    """Everything found, in the order of the file; a part that is in order leaves one FINE finding."""
    found = [*foreign_packages(), *_front_end()]
    for name, tenant in settings.tenants.items():
        found += await asyncio.to_thread(_all_of_tenant, f"tenant.{name}", tenant, now)
    for section, listener in (("gateway", settings.gateway), ("console", settings.console)):
        found += _certificate(section, settings, listener, now)
        found += _port(section, listener)
    found += await asyncio.to_thread(_database, settings)
    found += await check_shared(settings)
    found += await asyncio.to_thread(lambda: list(check_egress(settings)))
    found += await asyncio.to_thread(lambda: list(check_entry(settings, now)))
    found += await asyncio.to_thread(lambda: list(check_duties(settings)))
    found += check_passwords(settings)
    found += await check_sign_in(settings)
    found += [one async for one in check_directories(settings)]
    found += await _keys(settings)
    found += await _persons(settings)
    found += [one async for one in check_trail(settings)]
    found += _legacy(settings)
    return found


def foreign_packages(owners: Callable[[], object] = importlib.metadata.packages_distributions) -> list[Finding]:
    """Another distribution that owns one of our package names: its code would run in our place."""
    table = owners()
    assert isinstance(table, dict)
    foreign = [
        (package, other) for package in PACKAGES for other in table.get(package, []) if _normal(other) != DISTRIBUTION
    ]
    return [finding("package-foreign", Weight.PROBLEM, package, other=other) for package, other in foreign]


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def _front_end() -> list[Finding]:
    if FRONT_END.is_dir() and any(FRONT_END.iterdir()):
        return []
    return [finding("front-end-missing", Weight.PROBLEM, "console", folder=FRONT_END)]


def _all_of_tenant(place: str, tenant: TenantSettings, now: datetime) -> list[Finding]:
    return list(_tenant(place, tenant, now))


def _tenant(place: str, tenant: TenantSettings, now: datetime) -> Iterator[Finding]:
    try:
        load_profile(tenant.profile)
    except ProfileInvalid as fault:
        yield finding("profile-invalid", Weight.PROBLEM, f"{place}.profile", problem="; ".join(fault.problems[:3]))
    except OSError:
        yield finding("profile-unknown", Weight.PROBLEM, f"{place}.profile", profile=tenant.profile)
    if tenant.policy is not None and not tenant.policy.is_file():
        yield finding("file-missing", Weight.PROBLEM, f"{place}.policy", file=tenant.policy)
    broken = list(_client_certificate(place, tenant, now))
    yield from broken
    if not any(one.weight is Weight.PROBLEM for one in broken):
        yield from upstream_state(f"{place}.upstream", tenant, now)
    yield from _weak(f"{place}.upstream_ciphers", tenant.upstream_ciphers)


def _client_certificate(place: str, tenant: TenantSettings, now: datetime) -> Iterator[Finding]:
    """Files of TLS with the CRM: readable, of one pair, not at their end."""
    if tenant.upstream_ca is not None and not tenant.upstream_ca.is_file():
        yield finding("file-missing", Weight.PROBLEM, f"{place}.upstream_ca", file=tenant.upstream_ca)
    elif tenant.upstream_certificate is not None and tenant.upstream_key is not None:
        yield from _pair(f"{place}.upstream_certificate", tenant.upstream_certificate, tenant.upstream_key, now)


def _weak(place: str, ciphers: str) -> Iterator[Finding]:
    if weak := weak_ciphers(ciphers):
        yield finding("tls-weak", Weight.WARNING, place, ciphers=", ".join(weak[:6]))


def upstream_state(
    place: str, tenant: TenantSettings, now: datetime, timeout_s: float = TIMEOUT_S
) -> Iterator[Finding]:
    """Whether the CRM answers, in the scheme that was configured, and with a certificate that lasts."""
    parts = urlsplit(tenant.upstream)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    shown = f"{host}:{port}"
    try:
        plain = socket.create_connection((host, port), timeout=min(timeout_s, tenant.connect_timeout_s))
    except socket.gaierror:
        yield finding("upstream-name", Weight.PROBLEM, place, host=host)
        return
    except OSError as fault:
        yield finding("upstream-unreachable", Weight.PROBLEM, place, host=shown, reason=reason_of(fault))
        return
    with plain:
        plain.settimeout(timeout_s)
        if parts.scheme == "https":
            yield from _secure_upstream(place, tenant, plain, host, shown, now)
        else:
            yield _plain_upstream(place, plain, host, shown)


def _secure_upstream(
    place: str, tenant: TenantSettings, plain: socket.socket, host: str, shown: str, now: datetime
) -> Iterator[Finding]:
    context = client_context(
        tenant.upstream_ca,
        tenant.upstream_certificate,
        tenant.upstream_key,
        tenant.upstream_tls_minimum,
        tenant.upstream_ciphers,
    )
    try:
        with context.wrap_socket(plain, server_hostname=host) as secure:
            # With TLS 1.3 a server says only after the handshake that it wants a certificate.
            # It may have hung up by the time we write; its alert is still there to be read.
            with contextlib.suppress(OSError):
                secure.sendall(f"GET / HTTP/1.1\r\nHost: {shown}\r\nConnection: close\r\n\r\n".encode())
            secure.recv(1)
            yield finding("upstream-fine", Weight.FINE, place, host=shown)
            yield from _ending(place, end_of(secure.getpeercert()), now)
    except ssl.SSLCertVerificationError as fault:
        yield finding("upstream-certificate", Weight.PROBLEM, place, host=shown, reason=fault.verify_message)
    except ssl.SSLError as fault:
        yield finding(_TLS_FAULTS.get(fault.reason or "", "upstream-not-tls"), Weight.PROBLEM, place, host=shown)
    except OSError as fault:
        yield finding("upstream-unreachable", Weight.PROBLEM, place, host=shown, reason=reason_of(fault))


def _plain_upstream(place: str, plain: socket.socket, host: str, shown: str) -> Finding:
    try:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {shown}\r\nConnection: close\r\n\r\n".encode())
        first = plain.recv(512)
    except OSError as fault:
        first, reason = b"", reason_of(fault)
    else:
        reason = "connection closed"
    # nginx tells in a page that its port is for TLS; others answer with an alert or just close.
    if b"plain HTTP request was sent to HTTPS port" in first:
        return finding("upstream-is-tls", Weight.PROBLEM, place, host=shown)
    if first.startswith(b"HTTP/1."):
        return finding("upstream-fine", Weight.FINE, place, host=shown)
    if _speaks_tls((host, int(shown.rpartition(":")[2]))):
        return finding("upstream-is-tls", Weight.PROBLEM, place, host=shown)
    if first:
        return finding("upstream-not-http", Weight.PROBLEM, place, host=shown)
    return finding("upstream-silent", Weight.PROBLEM, place, host=shown, reason=reason)


def _speaks_tls(address: tuple[str, int]) -> bool:
    """Whether a TLS handshake succeeds there; whose certificate it is does not matter for this question."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address[0]),
        ):
            return True
    except OSError:
        return False


def _certificate(
    section: str, settings: Settings, listener: ListenerSettings | ConsoleSettings, now: datetime
) -> Iterator[Finding]:
    if not listener.tls:
        if listener.listen.host not in ("127.0.0.1", "::1", "localhost"):
            yield finding("tls-off", Weight.PROBLEM, f"{section}.tls", listen=listener.listen)
        return
    place = f"{section}.tls_certificate"
    if listener.tls_certificate is None or listener.tls_key is None:
        yield finding("certificate-own", Weight.FINE, place, folder=settings.state / "tls")
        return
    yield from _weak(f"{section}.tls_ciphers", listener.tls_ciphers)
    broken = list(_pair(place, listener.tls_certificate, listener.tls_key, now))
    yield from broken
    if any(one.id in ("certificate-key", "certificate-unreadable") for one in broken):
        return
    state = read_certificate(listener.tls_certificate)
    hosts = public_hosts(settings) if section == "gateway" else [urlsplit(settings.console.public_url).hostname or ""]
    wanted = [host for host in hosts if section == "console" or host != urlsplit(settings.console.public_url).hostname]
    for host in wanted:
        if not state.covers(host):
            yield finding("certificate-host", Weight.PROBLEM, place, host=host)


def _pair(place: str, certificate: Path, key: Path, now: datetime) -> Iterator[Finding]:
    """A certificate and its key: readable, belonging together, not at their end."""
    try:
        state = read_certificate(certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError:
        yield finding("certificate-key", Weight.PROBLEM, place, file=certificate, key=key)
    except (OSError, ValueError):
        yield finding("certificate-unreadable", Weight.PROBLEM, place, file=certificate)
    else:
        yield from _ending(place, state.not_after, now)


def _ending(place: str, not_after: datetime | None, now: datetime) -> Iterator[Finding]:
    """What is to be said of a certificate's end: nothing while it is far away."""
    if not_after is None:
        return
    days = Expiry(place, not_after).days(now)
    if not_after <= now:
        yield finding("certificate-expired", Weight.PROBLEM, place, until=not_after.date())
    elif days < URGENT_DAYS:
        yield finding("certificate-urgent", Weight.WARNING, place, until=not_after.date(), days=days)
    elif days < WARN_DAYS:
        yield finding("certificate-ends", Weight.WARNING, place, until=not_after.date(), days=days)


def _port(section: str, listener: ListenerSettings | ConsoleSettings) -> Iterator[Finding]:
    address = listener.listen
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as fault:
            found = {errno.EADDRINUSE: "port-busy", errno.EACCES: "port-forbidden"}.get(
                fault.errno or 0, "port-address"
            )
            weight = Weight.WARNING if found == "port-busy" else Weight.PROBLEM
            yield finding(found, weight, f"{section}.listen", listen=address)


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        dsn = own_dsn(settings)
    except SettingInvalid as fault:
        yield finding("file-missing", Weight.PROBLEM, fault.name, file=settings.database.dsn_file)
        return
    if not dsn:
        folder = embedded_folder(settings)
        existing = next(parent for parent in [folder, *folder.parents] if parent.exists())
        if not os.access(existing, os.W_OK):
            yield finding("database-folder", Weight.PROBLEM, "database.folder", folder=existing)
        else:
            yield finding("database-embedded", Weight.FINE, "database", folder=folder)
        return
    try:
        with psycopg.connect(dsn, connect_timeout=int(TIMEOUT_S)) as connection:
            version = connection.info.server_version // 10000
            bound = connection.execute(WALL_BINDS.encode()).fetchone()
    except (psycopg.OperationalError, psycopg.ProgrammingError):
        # The driver's own text can repeat the connection string.
        yield finding("database-unreachable", Weight.PROBLEM, "database.dsn")
        return
    if version < 16:
        yield finding("database-old", Weight.PROBLEM, "database.dsn", version=version)
    else:
        yield finding("database-fine", Weight.FINE, "database.dsn", version=version)
    if bound != (True,):
        yield finding("database-wall-off", Weight.WARNING, "database.dsn")


async def _keys(settings: Settings) -> list[Finding]:
    found = [] if settings.tenants.keys() <= settings.tenant_keys.keys() else await _key_section(settings, "keys", "")
    for name in settings.tenant_keys:
        found += await _key_section(settings, f"tenant.{name}.keys", name)
    return found


async def _rights(section: str, provider: TransitProvider, served: list[str]) -> AsyncIterator[Finding]:
    """Whether the token may do more to our keys than serving needs."""
    try:
        beyond = await beyond_serving(provider, served)
    except KeysUnavailable as fault:
        yield finding("keys-rights-unknown", Weight.WARNING, f"{section}.login", problem=fault)
        return
    if beyond:
        shown = ", ".join(beyond[:_SHOWN]) + (" …" if len(beyond) > _SHOWN else "")
        yield finding("keys-too-much", Weight.WARNING, f"{section}.login", paths=shown)


async def _key_section(settings: Settings, section: str, tenant: str) -> list[Finding]:
    keys = settings.keys_of(tenant)
    local = keys.provider is KeyStore.LOCAL
    place = f"{section}.path" if local else f"{section}.address"
    try:
        provider = open_keys(settings, tenant)
    except (SettingInvalid, KeysUnavailable) as fault:
        return [finding("keys-unavailable", Weight.PROBLEM, place, problem=fault)]
    excess: list[Finding] = []
    try:
        await provider.check()
        if isinstance(provider, TransitProvider):
            served = [name for name in settings.tenants if settings.keys_of(name) is keys]
            excess = [one async for one in _rights(section, provider, served)]
    except KeysUnavailable as fault:
        known = fault.problem in ("keyring-missing", "keyring-wrong-secret", "keyring-readable-by-others")
        found = fault.problem if known else "keys-unavailable"
        return [finding(found, Weight.PROBLEM, place, file=keys.path or settings.keyring_path, problem=fault)]
    finally:
        await provider.close()
    return [finding("keys-fine", Weight.FINE, place, provider=provider.name), *excess]


async def _persons(settings: Settings) -> list[Finding]:
    """Whether the store of person keys answers, and the keepers of its epochs open the current one."""
    place = "persons.path" if settings.persons.store is PersonStoreKind.SQLITE else "persons.dsn_file"
    if settings.persons.store is PersonStoreKind.SQLITE and not settings.person_store_path.exists():
        return [finding("persons-none", Weight.FINE, place, file=settings.person_store_path)]
    try:
        persons = open_persons(settings)
    except (SettingInvalid, KeysUnavailable) as fault:
        return [finding("persons-unavailable", Weight.PROBLEM, place, problem=fault)]
    keys = 0
    try:
        for tenant in settings.tenants:
            if await persons.store.epochs(tenant):
                await persons.current(tenant)
                keys += (await persons.store.counts(tenant)).keys
    except KeysUnavailable as fault:
        return [finding("persons-unavailable", Weight.PROBLEM, place, problem=fault)]
    finally:
        await persons.close()
    return [finding("persons-fine", Weight.FINE, place, keys=keys)]


def _legacy(settings: Settings) -> Iterator[Finding]:
    of_place = {
        "keys" if (keys := settings.keys_of(name)) is settings.keys else f"tenant.{name}.keys": keys
        for name in settings.tenants
    }
    for place, keys in of_place.items():
        if keys.legacy_3des:
            found = "keys-legacy-used" if keys.suite is SealSuite.TRIPLE_DES else "keys-legacy"
            yield finding(found, Weight.WARNING, f"{place}.legacy_3des")
