"""Composition of gateway.egress: the listeners for what goes past the browser, none that is not configured."""

import secrets
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from audit.flood import RefusalCounter
from audit.log import AuditLog
from gateway.access.sessions import Sessions
from gateway.access.tokens import new_id
from gateway.access.users import Users
from gateway.accounts import utc_now
from gateway.app import Listening
from gateway.binding import Binding
from gateway.body.limits import Limits as BodyLimits
from gateway.collaborators import Limits
from gateway.database import Pool as Database
from gateway.egress.config import InboundSettings, LeadsSettings, Leg, ProxySettings, SmtpSettings, tenant_of
from gateway.egress.forward import Destination, Forward
from gateway.egress.http_server import HttpServer
from gateway.egress.judge import Judgement
from gateway.egress.leads import Lead, Leads
from gateway.egress.listener import MailServer, Rules
from gateway.egress.reception import Reception
from gateway.egress.recipient import Recipients
from gateway.egress.relay import Relay
from gateway.egress.scanning import TenantScanner
from gateway.egress.smarthost import SmartHost
from gateway.egress.staff import Staff
from gateway.egress.store import EgressStore
from gateway.egress.submission import Submission
from gateway.installation import Installation
from gateway.inward import Inward
from gateway.kept import KeptFields
from gateway.listener import ListenerLimits
from gateway.network import Allowlist, Tenant
from gateway.opening import open_certificate, read_secret
from gateway.records import Records
from gateway.search import Search
from gateway.settings import ListenerSettings, Settings
from gateway.tls import client_context, server_context
from gateway.tokenise import Tokeniser
from gateway.upstream import Pool, Timeouts
from kms.keyring import Keyring
from kms.scanner import Scanner
from kms.tokens import SurrogateVault
from policies.enforcer import Bundle

REST = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class EgressNeeds:
    """What the listeners are built of; all of it is started and closed by gateway.composition."""

    settings: Settings
    database: Database
    audit: AuditLog
    vault: SurrogateVault
    keyring: Keyring
    scanners: Mapping[str, Scanner]
    bundles: Mapping[str, Bundle]
    users: Users
    records: Records
    refusals: RefusalCounter
    limits: BodyLimits
    all_limits: Limits
    sessions: Sessions
    installations: Mapping[str, Installation]
    tenants: Collection[Tenant]
    kept: KeptFields
    migrated: Callable[[str], bool]


def egress_of(needs: EgressNeeds) -> tuple[Listening, ...]:
    """Listeners for what goes past the browser; raises SettingInvalid, OSError."""
    found: list[Listening] = []
    if needs.settings.egress.smtp is not None:
        found.append(smtp_of(needs, needs.settings.egress.smtp))
    if needs.settings.egress.inbound is not None:
        found.append(inbound_of(needs, needs.settings.egress.inbound))
    if needs.settings.egress.proxy is not None:
        found.append(proxy_of(needs, needs.settings.egress.proxy))
    if needs.settings.egress.leads is not None:
        found.append(leads_of(needs, needs.settings.egress.leads))
    return tuple(found)


def leads_of(needs: EgressNeeds, leads: LeadsSettings) -> Listening:
    """Where forms of the web site come in."""
    settings, name = needs.settings, tenant_of(leads.tenant, needs.settings.tenants)
    count, upstream = refusal_count(needs.refusals, name), settings.tenants[name].upstream
    tenant = next(one for one in needs.tenants if one.name == name)
    by_name = needs.scanners.__getitem__
    forms = {
        one.path: Lead(
            one.to,
            read_secret("egress.lead.authorization_file", one.authorization_file).decode()
            if one.authorization_file is not None
            else "",
            one.thanks,
        )
        for one in settings.egress.lead
    }
    application = Leads(
        name,
        forms,
        Inward(
            Tokeniser(needs.vault, needs.records, by_name, kept=needs.kept),
            Search(needs.vault, needs.records, needs.migrated),
            by_name,
            needs.all_limits,
        ),
        Binding(needs.vault, needs.records, needs.sessions, utc_now, kept=needs.kept),
        lambda: needs.installations[name].current,
        tenant.pool,
        urlsplit(upstream).netloc,
        needs.audit,
        allowlist=Allowlist(leads.allow_networks),
        size=leads.body_kb * 1024,
        clock=utc_now,
        new_id=lambda: new_id("x", secrets.token_bytes),
        count=count,
    )
    context = None
    if leads.tls:
        own = ListenerSettings(tls_certificate=leads.tls_certificate, tls_key=leads.tls_key)
        files = open_certificate(settings, own, utc_now())
        assert files is not None
        context = server_context(files.certificate, files.key)
    limits = settings.limits
    bounds = ListenerLimits(head=limits.head_kb * 1024, idle_s=limits.idle_client_s, connections=limits.clients)
    server = HttpServer(application, bounds, count, context)
    return Listening(leads.listen, server.start, server.close)


def proxy_of(needs: EgressNeeds, proxy: ProxySettings) -> Listening:
    """The forward proxy for calls to listed services."""
    settings = needs.settings
    tenant = tenant_of(proxy.tenant, settings.tenants)
    count = refusal_count(needs.refusals, tenant)
    destinations = [
        Destination(
            one,
            Pool(
                one.url,
                timeouts=Timeouts(connect=one.connect_timeout_s, read=one.answer_timeout_s),
                tls=client_context(one.ca) if one.url.startswith("https:") else None,
            ),
            urlsplit(one.url).netloc,
        )
        for one in settings.egress.http
    ]
    forward = Forward(
        tenant,
        destinations,
        needs.vault,
        EgressStore(needs.database),
        TenantScanner(needs.scanners, tenant),
        needs.audit,
        allowlist=Allowlist(proxy.allow_networks),
        size=proxy.body,
        limits=needs.limits,
        rest=timedelta(hours=settings.egress.smtp.address_rest_hours) if settings.egress.smtp else REST,
        clock=utc_now,
        new_id=lambda: new_id("x", secrets.token_bytes),
        count=count,
    )
    limits = settings.limits
    bounds = ListenerLimits(head=limits.head_kb * 1024, idle_s=limits.idle_client_s, connections=limits.clients)
    server = HttpServer(forward, bounds, count)

    async def close() -> None:
        await server.close()
        for one in destinations:
            await one.pool.close()

    return Listening(proxy.listen, server.start, close)


def inbound_of(needs: EgressNeeds, inbound: InboundSettings) -> Listening:
    """The way in for mail to the CRM's mailboxes."""
    tenant = tenant_of(inbound.tenant, needs.settings.tenants)
    box, count = inbound.deliver_to, refusal_count(needs.refusals, tenant)
    handler = Reception(
        tenant,
        needs.vault,
        TenantScanner(needs.scanners, tenant),
        needs.audit,
        SmartHost(
            box.host, box.port, inbound.deliver_tls, client_context(inbound.deliver_ca), timeout_s=inbound.timeout_s
        ),
        mailboxes=inbound.mailboxes,
        own_domains=inbound.own_domains,
        limits=needs.limits,
        clock=utc_now,
        new_id=mail_id,
        count=count,
    )
    rules = Rules(Allowlist(inbound.allow_networks), inbound.message, inbound.tls, server_tls(needs.settings, inbound))
    server = MailServer(handler, rules, count)
    return Listening(inbound.listen, server.start, server.close)


def smtp_of(needs: EgressNeeds, smtp: SmtpSettings) -> Listening:
    """The relay for mail the CRM sends."""
    tenant = tenant_of(smtp.tenant, needs.settings.tenants)
    store, scanner = EgressStore(needs.database), TenantScanner(needs.scanners, tenant)
    recipients = Recipients(
        needs.vault,
        store,
        Staff(needs.users),
        lambda name, roles: needs.bundles[name].view(name, roles),
        scanner,
        staff_domains=smtp.staff_domains,
        allowed=smtp.allow_recipients,
    )
    relay = Relay(
        Judgement(needs.vault, store, needs.records, utc_now, timedelta(hours=smtp.address_rest_hours)),
        store,
        needs.audit,
        smart_host_of(smtp),
        scanner,
        lambda: delivery_keys(needs.keyring, tenant),
        clock=utc_now,
        new_id=mail_id,
        limits=needs.limits,
        bounce=smtp.bounce_address,
    )
    count = refusal_count(needs.refusals, tenant)
    handler = Submission(
        tenant,
        recipients,
        relay,
        scanner,
        new_id=mail_id,
        count=count,
        most=smtp.recipients,
        bounce=smtp.bounce_address,
    )
    server = MailServer(handler, mail_rules(needs.settings, smtp), count)
    return Listening(smtp.listen, server.start, server.close)


def mail_id() -> str:
    """A fresh id of one message."""
    return new_id("m", secrets.token_bytes)


def refusal_count(refusals: RefusalCounter, tenant: str) -> Callable[[str, str], None]:
    """Counts refusals of mail and calls; the trail gets them by the minute."""

    def count(client: str, reason: str) -> None:
        refusals.note(tenant, client, reason, 550, utc_now())

    return count


async def delivery_keys(keyring: Keyring, tenant: str) -> list[bytes]:
    """Secrets of the digests of delivered mail, the current one first; raises KeysUnavailable."""
    return [key.secret for key in await keyring.field_keys(tenant, "egress", "token")]


def smart_host_of(smtp: SmtpSettings) -> SmartHost:
    """The mail server behind the relay; raises SettingInvalid, OSError."""
    secret = smtp.smart_host_password_file
    return SmartHost(
        smtp.smart_host.host,
        smtp.smart_host.port,
        smtp.smart_host_tls,
        client_context(smtp.smart_host_ca),
        smtp.smart_host_user,
        read_secret("egress.smtp.smart_host_password_file", secret).decode() if secret is not None else "",
        smtp.timeout_s,
    )


def server_tls(settings: Settings, part: SmtpSettings | InboundSettings) -> ssl.SSLContext | None:
    """The certificate of a mail listener: the one named, or crmgate's own; None without TLS."""
    if part.tls is Leg.OFF:
        return None
    files = open_certificate(
        settings, ListenerSettings(tls_certificate=part.tls_certificate, tls_key=part.tls_key), utc_now()
    )
    assert files is not None
    return server_context(files.certificate, files.key)


def mail_rules(settings: Settings, smtp: SmtpSettings) -> Rules:
    """Who may hand mail in; raises SettingInvalid, OSError."""
    return Rules(
        Allowlist(smtp.allow_networks),
        smtp.message,
        smtp.tls,
        server_tls(settings, smtp),
        smtp.user,
        read_secret("egress.smtp.password_file", smtp.password_file) if smtp.password_file is not None else b"",
    )
