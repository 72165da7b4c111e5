"""[siem.NAME] of the settings: where the trail goes besides the database, and in which format."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from gateway.toml_tree import SettingInvalid, read_section, setting

SYSLOG_TLS_PORT = 6514  # RFC 5425, section 4.1


class SiemFormat(StrEnum):
    """How an entry is written."""

    SYSLOG = "syslog"
    CEF = "cef"
    OCSF = "ocsf"
    ECS = "ecs"


@dataclass(frozen=True, slots=True)
class SiemSettings:
    """[siem.NAME]."""

    to: str = setting(..., 'where: "file:///var/log/crmgate.log", "tls://siem.example.org:6514" or "https://…"')
    format: SiemFormat = setting(SiemFormat.SYSLOG, "syslog, cef, ocsf or ecs")
    tenants: tuple[str, ...] = setting((), "which CRMs' trails; empty means all")
    ca: Path | None = setting(None, "certificates that vouch for the other side; default: those of the system")
    certificate: Path | None = setting(None, "client certificate we show, with `key`")
    key: Path | None = setting(None, "private key of `certificate`")
    authorization_file: Path | None = setting(None, "https: file with the value of the Authorization header")


def read_siem(raw: object, folder: Path, tenants: Mapping[str, object]) -> Mapping[str, SiemSettings]:
    """Every [siem.NAME] section; raises SettingInvalid."""
    if not isinstance(raw, Mapping) or not all(isinstance(value, Mapping) for value in raw.values()):
        raise SettingInvalid("siem", "write one section for each way out, for example [siem.soc]")
    found = {name: read_section(SiemSettings, value, f"siem.{name}", folder) for name, value in raw.items()}
    for name, one in found.items():
        _check(one, f"siem.{name}", tenants)
    return MappingProxyType(found)


def _check(one: SiemSettings, name: str, tenants: Mapping[str, object]) -> None:
    for tenant in one.tenants:
        if tenant not in tenants:
            raise SettingInvalid(f"{name}.tenants", f"there is no [tenant.{tenant}]")
    try:
        place = urlsplit(one.to)
        port = place.port
    except ValueError:
        raise SettingInvalid(f"{name}.to", "is no address") from None
    if place.scheme == "file":
        if place.netloc or not place.path.startswith("/") or port:
            raise SettingInvalid(f"{name}.to", "must be written like file:///var/log/crmgate.log")
    elif place.scheme in ("tls", "https"):
        if not place.hostname or place.username or place.password:
            raise SettingInvalid(f"{name}.to", "must name a host, and no account: use authorization_file")
    else:
        raise SettingInvalid(f"{name}.to", "must begin with file://, tls:// or https://; nothing leaves unencrypted")
    if (one.certificate is None) is not (one.key is None):
        raise SettingInvalid(f"{name}.certificate", "certificate and key belong together")
    if one.authorization_file is not None and place.scheme != "https":
        raise SettingInvalid(f"{name}.authorization_file", "is for https only")
