"""`crmgate init`: a commented crmgate.toml and the secrets it refers to; never overwrites anything.

What can be guessed is not asked: the CRM's profile is told from the answers of the CRM itself.
"""

import dataclasses
import http.client
import os
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.settings import SECTIONS, Settings, TenantSettings
from gateway.settings_file import read_settings
from gateway.toml_tree import Address
from kms.local import LocalProvider

# What a CRM answers to GET without signing in: (path, status, text in Location or body) → shipped profile.
_SIGNS = (
    ("/creme_login/", 200, "creme", "creme"),
    ("/", 405, "Method Not Allowed", "tryton"),
    ("/en/123/789-login/", 200, "djangocrm.github.io", "djangocrm"),
    ("/api/contacts/", 403, "Organization context is required", "bottle"),
)
_LEAD = {
    "gateway": "Where the users of the CRM connect.",
    "console": "The console for administrators, auditors and data protection officers.",
    "network": "Who stands between the clients and crmgate.",
    "database": "PostgreSQL. Without a line here crmgate runs a private one of its own.",
    "keys": "Where encryption keys come from.",
    "access": "Sign-in and sessions.",
    "limits": "What is refused for its size.",
    "audit": "The audit trail.",
}


@dataclass(frozen=True, slots=True)
class Start:
    """What `init` is told or guessed."""

    upstream: str
    profile: str
    public_url: str
    console_url: str


def guess_profile(upstream: str, timeout_s: float = 5.0) -> str | None:
    """Name of the shipped profile that fits what the CRM answers; None when it does not answer or none fits."""
    parts = urlsplit(upstream)
    for path, status, sign, profile in _SIGNS:
        connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            seen = (answer.getheader("location") or "") + answer.read(65536).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if answer.status == status and sign.lower() in seen.lower():
            return profile
    return None


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> http.client.HTTPConnection:
    if scheme == "https":
        # Only asks which CRM it is; whether its certificate is good is what `crmgate check` says.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout_s)


_BESIDE = (
    "# Beside the browser: mail the CRM sends and receives, services it calls, forms of the web site. Each is off",
    "# until its section stands here: [egress.smtp], [egress.inbound], [egress.proxy] with [[egress.http]],",
    "# [egress.leads] with [[egress.lead]]. gateway/egress/README.md describes them.",
)


def render_file(start: Start) -> str:
    """The text of a commented crmgate.toml: what differs from the defaults is set, the rest stands as comments."""
    lines = [
        "# Settings of crmgate. Every line that starts with # shows a default; remove the # to change it.",
        "# Check with: crmgate check          Run with: crmgate serve",
        "",
        "# Folder for what crmgate keeps: keyring, certificates, embedded database.",
        '# state = "state"',
        "",
        "# One section for each CRM behind the gateway.",
        "[tenant.main]",
    ]
    given = {"upstream": start.upstream, "profile": start.profile, "public_url": start.public_url}
    lines += _section(TenantSettings, given)
    for name, lead in _LEAD.items():
        section = {"public_url": start.console_url} if name == "console" else {}
        lines += ["", f"# {lead}", f"[{name}]", *_section(SECTIONS[name], section)]
    return "\n".join([*lines, "", *_BESIDE]) + "\n"


def _section(kind: type[Any], given: dict[str, str]) -> Iterator[str]:
    for item in dataclasses.fields(kind):
        if item.name in given:
            yield f"# {item.metadata['help']}"
            yield f"{item.name} = {_toml(given[item.name])}"
        elif item.default is None:
            yield f"# {item.name}: {item.metadata['help']}"
        else:
            yield f"# {item.name} = {_toml(item.default)}  # {item.metadata['help']}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, int | float):
        return str(value)
    assert isinstance(value, str | StrEnum | Address | Path)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_files(file: Path, start: Start) -> Settings:
    """Write settings, passphrase and keyring; raises FileExistsError (naming the file) and writes nothing then."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w", encoding="utf-8") as out:
        out.write(render_file(start))
    settings = read_settings(file)
    ensure_secrets(settings)
    return settings


def ensure_secrets(settings: Settings) -> None:
    """The state folder, a random passphrase and a keyring, where they are missing; existing ones stay as they are."""
    # Started by root, the embedded database runs as another account, which has to pass through to its own folder.
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    passphrase, keyring = settings.passphrase_path, settings.keyring_path
    if keyring.exists():
        return
    if not passphrase.exists():
        descriptor = os.open(passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(secrets.token_urlsafe(32) + "\n")
    LocalProvider.create(keyring, passphrase.read_bytes())
