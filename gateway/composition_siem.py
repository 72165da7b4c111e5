"""Builds what carries the trail to a SIEM: one forwarder for each tenant and [siem.NAME]."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from audit.siem import cef, ecs, ocsf, syslog
from audit.siem.file_sink import FileSink
from audit.siem.forwarder import Forwarder, Render
from audit.siem.https_sink import HttpsSink
from audit.siem.sink import Sink
from audit.siem.tls_sink import TlsSink
from audit.siem.view import View
from gateway.accounts import utc_now
from gateway.settings import Settings
from gateway.siem_config import SYSLOG_TLS_PORT, SiemFormat, SiemSettings
from gateway.toml_tree import SettingInvalid

_JSON = (SiemFormat.OCSF, SiemFormat.ECS)


def forwarders_of(settings: Settings, conninfo: str) -> Sequence[Forwarder]:
    """Not yet started; raises SettingInvalid for certificates that cannot be read."""
    host = socket.gethostname()
    return [
        Forwarder(
            conninfo, tenant, name, sink_of(one, f"siem.{name}"), render_of(one, host),
            clock=utc_now, loop_time=asyncio.get_running_loop().time,
        )
        for name, one in settings.siem.items()
        for tenant in settings.tenants
        if not one.tenants or tenant in one.tenants
    ]  # fmt: skip


def sink_of(one: SiemSettings, name: str) -> Sink:
    """The way out that `to` names; raises SettingInvalid."""
    place = urlsplit(one.to)
    if place.scheme == "file":
        return FileSink(Path(unquote(place.path)))
    context = _context(one, name)
    if place.scheme == "tls":
        return TlsSink(place.hostname or "", place.port or SYSLOG_TLS_PORT, context)
    kind = "application/x-ndjson" if one.format in _JSON else "text/plain; charset=utf-8"
    return HttpsSink(one.to, context, one.authorization_file, kind=kind)


def render_of(one: SiemSettings, host: str) -> Render:
    """The format; what goes over syslog's TLS has syslog's header, whatever it is."""
    if one.format is SiemFormat.SYSLOG:
        return partial(syslog.render, host=host)
    render = {SiemFormat.CEF: cef.render, SiemFormat.OCSF: ocsf.render, SiemFormat.ECS: ecs.render}[one.format]
    return partial(_wrapped, render=render, host=host) if one.to.startswith("tls:") else render


def _wrapped(view: View, *, render: Render, host: str) -> bytes:
    return syslog.wrap(view, host, render(view))


def _context(one: SiemSettings, name: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=one.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if one.certificate is not None:
            context.load_cert_chain(one.certificate, one.key)
    except (OSError, ssl.SSLError):
        raise SettingInvalid(name, "the certificates or the key cannot be read") from None
    return context
