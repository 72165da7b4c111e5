"""[egress.…] of the settings: who may submit mail, where it goes, which services the CRM may call, what may come in.

Plain values, read once by gateway.settings_file. A leg without TLS is accepted on the same machine only.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.toml_tree import Address, Network, SettingInvalid, read_section, setting
from policies.taxonomy import Kind

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
MEGABYTE = 1024 * 1024
LOCAL = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Leg(StrEnum):
    """How a connection is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """[egress.smtp]: the relay that the CRM sends its mail to."""

    smart_host: Address = setting(..., "host:port of the mail server that delivers to people")
    tenant: str = setting("", "which [tenant.NAME] sends; may be left out when there is one")
    listen: Address = setting(Address("127.0.0.1", 2525), "address and port the CRM submits mail to")
    allow_networks: tuple[Network, ...] = setting(LOCAL, "networks that may submit mail")
    user: str = setting("", "name the CRM signs in with; empty means the network decides alone")
    password_file: Path | None = setting(None, "file with the password that belongs to user")
    tls: Leg = setting(Leg.OFF, "from the CRM: starttls (required), tls, or off (same machine only)")
    tls_certificate: Path | None = setting(None, "PEM chain; without it crmgate makes a certificate of its own")
    tls_key: Path | None = setting(None, "PEM key that belongs to tls_certificate")
    smart_host_tls: Leg = setting(Leg.STARTTLS, "to the smart host: starttls, tls, or off (same machine only)")
    smart_host_ca: Path | None = setting(None, "PEM file with the CA of the smart host when it is not a public one")
    smart_host_user: str = setting("", "name to sign in with at the smart host")
    smart_host_password_file: Path | None = setting(None, "file with the password for the smart host")
    timeout_s: float = setting(30.0, "seconds the smart host may take for one answer", least=0.1)
    staff_domains: tuple[str, ...] = setting((), "mail domains of the company; login@domain is that gateway user")
    allow_recipients: tuple[str, ...] = setting((), 'other clear recipients: "a@b.example" or "@b.example"; masks only')
    bounce_address: str = setting("", "envelope sender for what cannot be delivered; empty keeps the CRM's")
    message_mb: int = setting(10, "size of one message", least=1)
    recipients: int = setting(100, "recipients of one message", least=1)
    address_rest_hours: float = setting(
        24.0, "hours a changed address of a record must stand before older values are mailed to it", least=0
    )

    @property
    def message(self) -> int:
        """Bytes of one message."""
        return self.message_mb * MEGABYTE


@dataclass(frozen=True, slots=True)
class InboundSettings:
    """[egress.inbound]: mail to the CRM's mailbox; personal values become surrogates before it is stored there."""

    deliver_to: Address = setting(..., "host:port of the mail server that holds the CRM's mailbox")
    own_domains: tuple[str, ...] = setting(..., "mail domains of the company: their addresses stay as they are")
    mailboxes: tuple[str, ...] = setting(..., "addresses of the CRM's mailboxes; mail to others is refused")
    tenant: str = setting("", "which [tenant.NAME] receives; may be left out when there is one")
    listen: Address = setting(Address("127.0.0.1", 2526), "address and port mail for the CRM is handed to")
    allow_networks: tuple[Network, ...] = setting(LOCAL, "networks that may hand mail in")
    tls: Leg = setting(Leg.OFF, "from the mail server: starttls (required), tls, or off (same machine only)")
    tls_certificate: Path | None = setting(None, "PEM chain; without it crmgate makes a certificate of its own")
    tls_key: Path | None = setting(None, "PEM key that belongs to tls_certificate")
    deliver_tls: Leg = setting(Leg.STARTTLS, "to the mailbox: starttls, tls, or off (same machine only)")
    deliver_ca: Path | None = setting(None, "PEM file with the CA of the mailbox server when it is not a public one")
    timeout_s: float = setting(30.0, "seconds the mailbox server may take for one answer", least=0.1)
    message_mb: int = setting(25, "size of one message", least=1)

    @property
    def message(self) -> int:
        """Bytes of one message."""
        return self.message_mb * MEGABYTE


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """[egress.proxy]: the forward proxy for calls of the CRM to the services in [[egress.http]]."""

    tenant: str = setting("", "which [tenant.NAME] calls; may be left out when there is one")
    listen: Address = setting(Address("127.0.0.1", 3128), "address and port the CRM uses as its HTTP proxy")
    allow_networks: tuple[Network, ...] = setting(LOCAL, "networks that may call")
    body_mb: int = setting(4, "size of one call, and of its answer", least=1)

    @property
    def body(self) -> int:
        """Bytes of one call, and of its answer."""
        return self.body_mb * MEGABYTE


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """[[egress.http]]: one service the CRM may call, and what is opened for it."""

    name: str = setting(..., "short name for the trail, and for calls to http://PROXY/to/NAME/…")
    url: str = setting(..., "address of the service: https://host, http on this machine only")
    kinds: tuple[str, ...] = setting(..., "kinds of values that are opened: name, email, phone, address…")
    fields: tuple[str, ...] = setting((), "names of form fields, parameters or JSON keys to open in; empty: any")
    recipient: str = setting("", "field with the address or number of the person; then only that person's values open")
    paths: tuple[str, ...] = setting(("/",), "beginnings of paths that may be called")
    methods: tuple[str, ...] = setting(("POST",), "methods that may be used")
    ca: Path | None = setting(None, "PEM file with the CA of the service when it is not a public one")
    connect_timeout_s: float = setting(5.0, "seconds to reach the service", least=0.1)
    answer_timeout_s: float = setting(30.0, "seconds of silence before the service counts as slow", least=0.1)

    @property
    def hosts(self) -> frozenset[str]:
        """How the CRM names it in Host: with the port or, where it is the scheme's own, without."""
        parts = urlsplit(self.url)
        host = (parts.hostname or "").lower()
        return frozenset({parts.netloc.lower()} | ({host} if parts.port is None else set()))


@dataclass(frozen=True, slots=True)
class LeadsSettings:
    """[egress.leads]: where forms of the web site are handed in for the CRM."""

    allow_networks: tuple[Network, ...] = setting(..., "networks that may hand forms in: the web site's servers")
    tenant: str = setting("", "which [tenant.NAME] receives; may be left out when there is one")
    listen: Address = setting(Address("127.0.0.1", 8446), "address and port forms are posted to")
    tls: bool = setting(True, "false only on the same machine")
    tls_certificate: Path | None = setting(None, "PEM chain; without it crmgate makes a certificate of its own")
    tls_key: Path | None = setting(None, "PEM key that belongs to tls_certificate")
    body_kb: int = setting(256, "size of one form", least=1)


@dataclass(frozen=True, slots=True)
class LeadSettings:
    """[[egress.lead]]: one form, and the operation of the CRM that it becomes."""

    path: str = setting(..., "path the form is posted to")
    to: str = setting(..., "path of the CRM it goes on to; the profile must know it as the creation of a record")
    authorization_file: Path | None = setting(None, "file with the Authorization the CRM wants for it")
    thanks: str = setting("", "address the visitor's browser is sent to; empty answers 202")


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """[egress]: None for every part that is not configured."""

    smtp: SmtpSettings | None = None
    inbound: InboundSettings | None = None
    proxy: ProxySettings | None = None
    http: tuple[DestinationSettings, ...] = ()
    leads: LeadsSettings | None = None
    lead: tuple[LeadSettings, ...] = ()


def read_egress(raw: object, folder: Path, tenants: Mapping[str, Any]) -> EgressSettings:
    """The section from its TOML table; raises SettingInvalid."""
    if not isinstance(raw, Mapping):
        raise SettingInvalid("egress", "must be sections: [egress.smtp], [egress.inbound], [egress.proxy]")
    known = ("smtp", "inbound", "proxy", "http", "leads", "lead")
    for key in raw:
        if key not in known:
            raise SettingInvalid(f"egress.{key}", f"there is no such section; known here: {', '.join(known)}")
    smtp = read_section(SmtpSettings, raw["smtp"], "egress.smtp", folder) if "smtp" in raw else None
    inbound = read_section(InboundSettings, raw["inbound"], "egress.inbound", folder) if "inbound" in raw else None
    if smtp is not None:
        _check_smtp(smtp)
        _check_tenant("egress.smtp.tenant", smtp.tenant, tenants)
    if inbound is not None:
        _check_listener("egress.inbound", inbound)
        _check_leg("egress.inbound.deliver_tls", inbound.deliver_tls, inbound.deliver_to)
        _check_tenant("egress.inbound.tenant", inbound.tenant, tenants)
        if not inbound.mailboxes:
            raise SettingInvalid("egress.inbound.mailboxes", "name at least one address")
    proxy = read_section(ProxySettings, raw["proxy"], "egress.proxy", folder) if "proxy" in raw else None
    http = _destinations(raw.get("http", []), folder)
    if (proxy is None) != (not http):
        raise SettingInvalid("egress.http", "[egress.proxy] and at least one [[egress.http]] go together")
    if proxy is not None:
        _check_leg("egress.proxy.listen", Leg.OFF, proxy.listen)
        _check_tenant("egress.proxy.tenant", proxy.tenant, tenants)
    leads = read_section(LeadsSettings, raw["leads"], "egress.leads", folder) if "leads" in raw else None
    lead = _leads(raw.get("lead", []), folder)
    if (leads is None) != (not lead):
        raise SettingInvalid("egress.lead", "[egress.leads] and at least one [[egress.lead]] go together")
    if leads is not None:
        _check_leg("egress.leads.tls", Leg.TLS if leads.tls else Leg.OFF, leads.listen)
        _check_tenant("egress.leads.tenant", leads.tenant, tenants)
    return EgressSettings(smtp, inbound, proxy, http, leads, lead)


def _leads(raw: object, folder: Path) -> tuple[LeadSettings, ...]:
    if not isinstance(raw, list):
        raise SettingInvalid("egress.lead", "write one section for each form: [[egress.lead]]")
    found: dict[str, LeadSettings] = {}
    for number, one in enumerate(raw, 1):
        place = f"egress.lead #{number}"
        made = read_section(LeadSettings, one, place, folder)
        for name, path in (("path", made.path), ("to", made.to)):
            if not path.startswith("/") or "?" in path:
                raise SettingInvalid(f"{place}.{name}", "must begin with / and have no ?")
        if made.thanks and urlsplit(made.thanks).scheme not in ("http", "https"):
            raise SettingInvalid(f"{place}.thanks", "must be an address such as https://www.example.org/thanks")
        if made.path in found:
            raise SettingInvalid(f"{place}.path", "another [[egress.lead]] has this path")
        found[made.path] = made
    return tuple(found.values())


def _destinations(raw: object, folder: Path) -> tuple[DestinationSettings, ...]:
    if not isinstance(raw, list):
        raise SettingInvalid("egress.http", "write one section for each service: [[egress.http]]")
    found: dict[str, DestinationSettings] = {}
    hosts: set[str] = set()
    for number, one in enumerate(raw, 1):
        place = f"egress.http #{number}"
        made = read_section(DestinationSettings, one, place, folder)
        parts = urlsplit(made.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise SettingInvalid(
                f"{place}.url", f"must be an address such as https://sms.example.org, not {made.url!r}"
            )
        if parts.scheme == "http" and not is_local(parts.hostname):
            raise SettingInvalid(f"{place}.url", "http is for this machine only: use https")
        if not _NAME.fullmatch(made.name) or made.name in found:
            raise SettingInvalid(f"{place}.name", "must be a short name of its own: letters, digits, - and _")
        if not made.kinds or not set(made.kinds) <= {str(kind) for kind in Kind}:
            raise SettingInvalid(f"{place}.kinds", f"must be some of {', '.join(Kind)}")
        if not set(made.methods) <= METHODS:
            raise SettingInvalid(f"{place}.methods", f"must be some of {', '.join(sorted(METHODS))}")
        if not all(path.startswith("/") for path in made.paths):
            raise SettingInvalid(f"{place}.paths", "must begin with /")
        if made.hosts & hosts:
            raise SettingInvalid(f"{place}.url", "another [[egress.http]] has this host")
        hosts |= made.hosts
        found[made.name] = made
    return tuple(found.values())


def is_local(host: str) -> bool:
    """Whether a host is this machine for certain."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tenant_of(given: str, tenants: Mapping[str, Any]) -> str:
    """The tenant a part works for: the one named, else the only one."""
    return given or next(iter(tenants))


def _check_smtp(smtp: SmtpSettings) -> None:
    _check_listener("egress.smtp", smtp)
    _check_leg("egress.smtp.smart_host_tls", smtp.smart_host_tls, smtp.smart_host)
    for name, user, file in (
        ("password_file", smtp.user, smtp.password_file),
        ("smart_host_password_file", smtp.smart_host_user, smtp.smart_host_password_file),
    ):
        if bool(user) != (file is not None):
            raise SettingInvalid(f"egress.smtp.{name}", "a user and a password file go together")
    for allowed in smtp.allow_recipients:
        if allowed.count("@") != 1 or allowed.endswith("@"):
            raise SettingInvalid("egress.smtp.allow_recipients", 'write "name@domain" or "@domain"')
    for domain in smtp.staff_domains:
        if "@" in domain or "." not in domain:
            raise SettingInvalid("egress.smtp.staff_domains", f"must be a mail domain, not {domain!r}")


def _check_listener(section: str, part: SmtpSettings | InboundSettings) -> None:
    _check_leg(f"{section}.tls", part.tls, part.listen)
    if (part.tls_certificate is None) != (part.tls_key is None):
        raise SettingInvalid(f"{section}.tls_key", "tls_certificate and tls_key go together")


def _check_leg(name: str, leg: Leg, address: Address) -> None:
    if leg is Leg.OFF and not is_local(address.host):
        raise SettingInvalid(name, f"off is for this machine only, not for {address.host}: use starttls or tls")


def _check_tenant(name: str, given: str, tenants: Mapping[str, Any]) -> None:
    if given and given not in tenants:
        raise SettingInvalid(name, f"there is no [tenant.{given}]")
    if not given and len(tenants) > 1:
        raise SettingInvalid(name, "say which CRM this is for; there are several")
