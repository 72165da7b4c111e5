"""[audit.anchor] of the settings: where signed checkpoints of the audit trail are kept outside the database."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from audit.note import NoteInvalid
from audit.witness import Cosigner
from gateway.egress.config import Leg, is_local
from gateway.toml_tree import Address, SettingInvalid, read_section, setting

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


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
    s3_bucket: str = setting("", "S3 bucket with object lock that keeps checkpoints under compliance retention")
    s3_prefix: str = setting("crmgate", "what their names begin with in the bucket")
    s3_endpoint: str = setting("", "address of an S3 service that is not AWS")
    s3_region: str = setting("", "region of the bucket; default: us-east-1")
    s3_credentials_file: Path | None = setting(None, "file with the access key, as the AWS tools write it ([default])")
    s3_ca: Path | None = setting(None, "PEM file with the CA of the S3 service when it is not a public one")
    s3_retention_days: int = setting(1827, "how long each checkpoint is locked; cannot be shortened later", least=1)
    s3_minutes: float = setting(60.0, "time between two in the bucket", least=0.05)


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
    _check_bucket(read)
    return read


def _check_bucket(read: AnchorSettings) -> None:
    if bool(read.s3_bucket) != (read.s3_credentials_file is not None):
        raise SettingInvalid("audit.anchor.s3_bucket", "s3_bucket and s3_credentials_file go together")
    if read.s3_bucket and not _BUCKET.fullmatch(read.s3_bucket):
        raise SettingInvalid("audit.anchor.s3_bucket", "a bucket's name has 3 to 63 of a-z, 0-9, dot and hyphen")
    if read.s3_endpoint:
        _check_url("audit.anchor.s3_endpoint", read.s3_endpoint)
        parts = urlsplit(read.s3_endpoint)
        # Requests are signed, not hidden; still nobody on the way shall choose what we read back.
        if parts.scheme != "https" and not is_local(parts.hostname or ""):
            raise SettingInvalid("audit.anchor.s3_endpoint", "must be https, except on this machine")


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
