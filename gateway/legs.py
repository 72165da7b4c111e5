"""Every leg and every disk that carries protected data, as the settings name them, with what looks at each.

Part of the composition: probes and contexts are built here, from settings only, and nowhere else.
"""

import ssl
from functools import partial

from gateway.accounts import utc_now
from gateway.certificate import file_expiry
from gateway.evidence.luks import LuksProbe
from gateway.evidence.mysql import MysqlProbe
from gateway.evidence.probe import Probe
from gateway.evidence.store import MysqlClient
from gateway.evidence.tls import PostgresTlsProbe, TlsProbe
from gateway.key_config import KeyStore
from gateway.opening import Database, read_secret
from gateway.settings import ConsoleSettings, CrmDatabase, ListenerSettings, Settings, TenantSettings
from gateway.tls import Expiry, client_context

_KEY_SERVICE = "crmgate → key service"


def upstream_tls(settings: TenantSettings) -> ssl.SSLContext:
    """TLS with a CRM, as the settings want it; raises OSError (ssl.SSLError) for files that cannot be used."""
    return client_context(
        settings.upstream_ca,
        settings.upstream_certificate,
        settings.upstream_key,
        settings.upstream_tls_minimum,
        settings.upstream_ciphers,
    )


def encryption_probes(settings: Settings, database: Database) -> list[Probe]:
    """What looks at the disks of the databases and at every connection. database: crmgate's own."""
    probes: list[Probe] = []
    for name, tenant in settings.tenants.items():
        about, access = f"tenant.{name}: database of the CRM", tenant.crm_database_access
        if tenant.crm_database is CrmDatabase.MYSQL and access is not None:
            probes.append(MysqlProbe(about, tenant.crm_database_name, MysqlClient(access)))
        elif tenant.crm_database is CrmDatabase.POSTGRESQL and access is not None:
            given = read_secret(f"tenant.{name}.crm_database_access", access).decode()
            probes += [LuksProbe(about, given), PostgresTlsProbe(f"{about}, this look itself", given)]
    # Where its files are, an embedded server tells its administrator only.
    asked = database.embedded.admin_dsn if database.embedded is not None else database.dsn
    probes += [LuksProbe("database of crmgate", asked), *tls_probes(settings)]
    probes.append(PostgresTlsProbe("crmgate → its database", database.dsn))
    return probes


def tls_probes(settings: Settings) -> list[TlsProbe]:
    """Every leg that is spoken over HTTP: clients to us, us to the CRMs, us to the key service."""

    def ours(listener: ListenerSettings | ConsoleSettings) -> ssl.SSLContext:
        own = settings.state / "tls" / "authority.pem"
        return client_context(own if listener.tls and listener.tls_certificate is None else None)

    gateway, console = settings.gateway, settings.console
    probes = []
    for name, tenant in settings.tenants.items():
        probes.append(TlsProbe(f"clients → {name}", tenant.public_url, partial(ours, gateway), utc_now))
        probes.append(TlsProbe(f"crmgate → CRM of {name}", tenant.upstream, partial(upstream_tls, tenant), utc_now))
    probes.append(TlsProbe("clients → console", console.public_url, partial(ours, console), utc_now))
    services = {one.address: one for one in (settings.keys_of(name) for name in settings.tenants)}
    for address, keys in services.items():
        if keys.provider is KeyStore.OPENBAO:
            probes.append(TlsProbe(_KEY_SERVICE, address, partial(client_context, keys.ca), utc_now))
    return probes


def certificate_ends(settings: Settings, tenant: str) -> list[Expiry]:
    """When every certificate in the files and on the legs of a tenant ends; blocks for some seconds at most."""
    found = []
    own = settings.state / "tls" / "gateway.pem"
    for section, listener in (("gateway", settings.gateway), ("console", settings.console)):
        if listener.tls:
            found.append(file_expiry(f"{section}.tls_certificate", listener.tls_certificate or own))
    given = settings.tenants[tenant]
    if given.upstream_certificate is not None:
        found.append(file_expiry(f"tenant.{tenant}.upstream_certificate", given.upstream_certificate))
    outward = [one for one in tls_probes(settings) if one.about in (f"crmgate → CRM of {tenant}", _KEY_SERVICE)]
    return found + [one.expiry() for one in outward if one.url.startswith("https:")]
