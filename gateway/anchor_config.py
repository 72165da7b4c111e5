"""[audit.anchor] of the settings: where signed checkpoints of the audit trail are kept outside the database."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from audit.note import NoteInvalid
from audit.witness import Cosigner
from gateway.egress.config import Leg, is_local
from gateway.toml_tree import Address, SettingInvalid, read_section, setting


@dataclass(frozen=True, slots=True)
class AnchorSettings:
    """[audit.anchor]."""

    folder: Path | None = setting(
        None, "folder for checkpoints, best on a share of somebody else; default: beside the key"
    )
    folder_minutes: float = setting(1.0, "time between two in the folder", least=0.05)
    witnesses: tuple[str, ...] = setting((), 'witnesses that cosign (C2SP tlog-witness), each "KEY URL"')
    witness_minutes: float = setting(5.0, "time between two cosignatures of a witness", least=0.05)
    timestamp_url: str = setting("", "time-stamping authority (RFC 3161)")
    timestamp_ca: Path | None = setting(None, "PEM file with the roots of the authority")
    timestamp_hours: float = setting(24.0, "time between two time-stamps", least=0.01)
    mail_to: str = setting("", "address of the auditor who gets checkpoints by mail")
    mail_from: str = setting("", "sender of these mails")
    mail_server: Address | None = setting(None, "host:port of the mail server that delivers them")
    mail_tls: Leg = setting(Leg.STARTTLS, "to the mail server: starttls, tls, or off (same machine only)")
    mail_ca: Path | None = setting(None, "PEM file with the CA of the mail server when it is not a public one")
    mail_user: str = setting("", "name to sign in with at the mail server")
    mail_password_file: Path | None = setting(None, "file with the password that belongs to mail_user")
    mail_hours: float = setting(24.0, "time between two mails", least=0.01)


def read_anchors(raw: object, folder: Path) -> AnchorSettings:
    """The section; raises SettingInvalid."""
    read = read_section(AnchorSettings, raw, "audit.anchor", folder)
    for one in read.witnesses:
        witness_of(one)
    if bool(read.timestamp_url) != (read.timestamp_ca is not None):
        raise SettingInvalid("audit.anchor.timestamp_ca", "timestamp_url and timestamp_ca go together")
    if read.timestamp_url:
        _check_url("audit.anchor.timestamp_url", read.timestamp_url)
    mail = (bool(read.mail_to), bool(read.mail_from), read.mail_server is not None)
    if len(set(mail)) > 1:
        raise SettingInvalid("audit.anchor.mail_to", "mail_to, mail_from and mail_server go together")
    for name, address in (("mail_to", read.mail_to), ("mail_from", read.mail_from)):
        if address and (address.count("@") != 1 or not address.isprintable() or " " in address):
            raise SettingInvalid(f"audit.anchor.{name}", "must be one address, name@domain")
    if bool(read.mail_user) != (read.mail_password_file is not None):
        raise SettingInvalid("audit.anchor.mail_user", "mail_user and mail_password_file go together")
    if read.mail_server is not None and read.mail_tls is Leg.OFF and not is_local(read.mail_server.host):
        raise SettingInvalid("audit.anchor.mail_tls", "off is for this machine only: use starttls or tls")
    return read


def witness_of(text: str) -> tuple[Cosigner, str]:
    """The witness and its address; raises SettingInvalid."""
    key, _, url = text.strip().partition(" ")
    try:
        cosigner = Cosigner.from_vkey(key)
    except NoteInvalid as fault:
        raise SettingInvalid("audit.anchor.witnesses", f'write "KEY URL"; the key is {fault}') from None
    _check_url("audit.anchor.witnesses", url.strip())
    return cosigner, url.strip()


def _check_url(name: str, url: str) -> None:
    # What comes back is signed and nothing personal goes out, so http is enough, and usual among authorities.
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
        raise SettingInvalid(name, "must be an address such as https://www.example.org/path")
