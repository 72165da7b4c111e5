"""What `crmgate check` finds about [egress]: mail servers, services and listeners; the findings are those of check.py.

Nothing is sent: a mail server is greeted and asked for TLS, a service is only looked up and connected to.
"""

import ipaddress
import shutil
import smtplib
import socket
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gateway.egress.config import DestinationSettings, EgressSettings, Leg
from gateway.finding import Finding, Weight, finding, reason_of
from gateway.settings import Settings
from gateway.tls import client_context
from gateway.toml_tree import Address, Network
from policies.profile import ProfileInvalid, load_profile

TIMEOUT_S = 5.0
_NARROWEST = {4: 8, 6: 16}  # a wider network than this is not one of the company's


def check_egress(settings: Settings, timeout_s: float = TIMEOUT_S) -> Iterator[Finding]:
    """Everything found, in the order of the file."""
    egress = settings.egress
    if egress.smtp is not None:
        smtp = egress.smtp
        yield from _mail_server(
            "egress.smtp.smart_host", smtp.smart_host, smtp.smart_host_tls, smtp.smart_host_ca, timeout_s
        )
        if not smtp.staff_domains:
            yield finding("staff-missing", Weight.WARNING, "egress.smtp.staff_domains")
    if egress.inbound is not None:
        one = egress.inbound
        yield from _mail_server("egress.inbound.deliver_to", one.deliver_to, one.deliver_tls, one.deliver_ca, timeout_s)
    for service in egress.http:
        yield from _service(service, timeout_s)
    yield from _open_listeners(egress)
    yield from _room(settings)


def _mail_server(place: str, address: Address, leg: Leg, ca: Path | None, timeout_s: float) -> Iterator[Finding]:
    shown = str(address)
    if ca is not None and not ca.is_file():
        yield finding("file-missing", Weight.PROBLEM, f"{place.rpartition('.')[0]}", file=ca)
        return
    try:
        context = client_context(ca) if leg is not Leg.OFF else None
        if leg is Leg.TLS:
            assert context is not None
            with smtplib.SMTP_SSL(address.host, address.port, timeout=timeout_s, context=context) as server:
                server.noop()
        else:
            with smtplib.SMTP(address.host, address.port, timeout=timeout_s) as server:
                if context is not None:
                    server.starttls(context=context)
    except smtplib.SMTPNotSupportedError:
        yield finding("mail-no-tls", Weight.PROBLEM, place, host=shown)
    except ssl.SSLCertVerificationError as fault:
        yield finding("mail-certificate", Weight.PROBLEM, place, host=shown, reason=fault.verify_message)
    except ssl.SSLError:
        yield finding("mail-no-tls", Weight.PROBLEM, place, host=shown)
    except socket.gaierror:
        yield finding("mail-name", Weight.PROBLEM, place, host=address.host)
    except smtplib.SMTPException:
        yield finding("mail-not-smtp", Weight.PROBLEM, place, host=shown)
    except OSError as fault:
        yield finding("mail-unreachable", Weight.PROBLEM, place, host=shown, reason=reason_of(fault))
    else:
        yield finding("mail-fine", Weight.FINE, place, host=shown)


def _service(service: DestinationSettings, timeout_s: float) -> Iterator[Finding]:
    parts, place = urlsplit(service.url), f"egress.http {service.name}"
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=min(timeout_s, service.connect_timeout_s)):
            pass
    except socket.gaierror:
        yield finding("service-name", Weight.PROBLEM, place, host=host)
    except OSError as fault:
        yield finding("service-unreachable", Weight.WARNING, place, host=f"{host}:{port}", reason=reason_of(fault))


def _open_listeners(egress: EgressSettings) -> Iterator[Finding]:
    """Listeners that any machine may reach: whoever does can send mail as the CRM, or ask for values."""
    parts: Mapping[str, tuple[Address, tuple[Network, ...]] | None] = {
        "smtp": (egress.smtp.listen, egress.smtp.allow_networks) if egress.smtp is not None else None,
        "inbound": (egress.inbound.listen, egress.inbound.allow_networks) if egress.inbound is not None else None,
        "proxy": (egress.proxy.listen, egress.proxy.allow_networks) if egress.proxy is not None else None,
        "leads": (egress.leads.listen, egress.leads.allow_networks) if egress.leads is not None else None,
    }
    for name, part in parts.items():
        wide = [one for one in part[1] if one.prefixlen < _NARROWEST[one.version]] if part is not None else []
        if part is not None and wide and not _is_loopback(part[0].host):
            yield finding(
                "egress-open",
                Weight.PROBLEM,
                f"egress.{name}.allow_networks",
                listen=part[0],
                networks=", ".join(map(str, wide)),
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _room(settings: Settings) -> Iterator[Finding]:
    """Files that a profile marks are held on disk, sealed, until they are whole."""
    free = shutil.disk_usage(tempfile.gettempdir()).free // 1024**2
    for name, tenant in settings.tenants.items():
        try:
            profile = load_profile(tenant.profile)
        except (ProfileInvalid, OSError):
            continue  # told already
        if profile.seals and free < settings.limits.upload_mb:
            yield finding(
                "files-no-room",
                Weight.WARNING,
                f"tenant.{name}.profile",
                free=free,
                folder=tempfile.gettempdir(),
                most=settings.limits.upload_mb,
            )
