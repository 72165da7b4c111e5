"""What a device is and what it signs: a browser that holds a P-256 key which cannot leave it; pure.

The browser makes the key with WebCrypto as not extractable and keeps it in its database of this very host. A proof is a
signature (ECDSA with SHA-256, r and s of 32 bytes each, as WebCrypto gives it) over the origin and a challenge that was
made for one session. The key is known by its thumbprint after RFC 7638.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

POINT_BYTES = 65
SIGNATURE_BYTES = 64
RENEWAL_MAX = timedelta(minutes=5)
CHALLENGE_LIFETIME = timedelta(minutes=1)
OVERLAP = timedelta(seconds=30)
"""How long the token before a renewal is still taken: requests that were on their way with it."""
FRESH_LIFETIME = timedelta(minutes=1)
"""How long a proof waits to be used by the one sensitive act it is for."""
UNUSED_DAYS = 90
_CONTEXT = "crmgate device 1"


class Binding(StrEnum):
    """How much a session hangs on its device."""

    OFF = "off"
    KNOWN = "known"
    BOUND = "bound"


class Approval(StrEnum):
    """Who lets a new device in."""

    NONE = "none"
    USER = "user"
    ADMINISTRATOR = "administrator"


class Lack(StrEnum):
    """Why a session opens nothing yet: no device, one nobody approved, or no proof of it lately."""

    NO_DEVICE = "no-device"
    NOT_APPROVED = "not-approved"
    NO_PROOF = "no-proof"


class ProofInvalid(Exception):  # noqa: N818 - an outcome the page explains
    """A key or signature that is none, or one that does not fit."""

    permanent = True


@dataclass(frozen=True, slots=True)
class DeviceRules:
    """The settings. most: live devices of one account; renewal: how long one proof keeps a session's cookie alive.

    programs: whether people may sign in by a program, which has no device.
    """

    binding: Binding = Binding.OFF
    approval: Approval = Approval.NONE
    most: int = 10
    renewal: timedelta = RENEWAL_MAX
    programs: bool = False

    def __post_init__(self) -> None:
        if not timedelta(minutes=1) <= self.renewal <= RENEWAL_MAX:
            raise ValueError("a proof of a device lives one to five minutes")
        if self.most < 1:
            raise ValueError("an account must be allowed a device")

    @property
    def on(self) -> bool:
        """Whether sessions need a device at all."""
        return self.binding is not Binding.OFF

    @property
    def bound(self) -> bool:
        """Whether the device is proved again and again."""
        return self.binding is Binding.BOUND

    @property
    def programs_allowed(self) -> bool:
        """Whether somebody may sign in without a device."""
        return self.programs or not self.on

    def lack(self, device: str, approved: bool, until: datetime | None, by_program: bool, now: datetime) -> Lack | None:
        """What keeps a session from opening anything; until: of its latest proof."""
        if not self.on or (by_program and self.programs):
            return None
        if not device:
            return Lack.NO_DEVICE
        if not approved:
            return Lack.NOT_APPROVED
        if self.bound and (until is None or now >= until):
            return Lack.NO_PROOF
        return None


def signed_text(origin: str, challenge: str) -> bytes:
    """What a device signs: which site it believes to be at, and the challenge it got there."""
    return f"{_CONTEXT}\n{origin}\n{challenge}".encode()


def decode(text: str, size: int) -> bytes:
    """Base64url without padding of exactly `size` bytes; raises ProofInvalid."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as fault:
        raise ProofInvalid from fault
    if len(raw) != size or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ProofInvalid
    return raw


def check_proof(point: bytes, signature: bytes, text: bytes) -> None:
    """Raise ProofInvalid unless the key of this point signed the text (FIPS 186-5, section 6.4)."""
    if len(signature) != SIGNATURE_BYTES:
        raise ProofInvalid
    half = SIGNATURE_BYTES // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key.verify(encode_dss_signature(r, s), text, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature) as fault:
        raise ProofInvalid from fault


def thumbprint(point: bytes) -> str:
    """Thumbprint of the key (RFC 7638) of an uncompressed point; raises ProofInvalid for what is none."""
    if len(point) != POINT_BYTES or point[0] != 4:
        raise ProofInvalid
    x, y = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (point[1:33], point[33:]))
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


_BROWSERS = (("edg/", "Edge"), ("firefox/", "Firefox"), ("chrome/", "Chromium"), ("safari/", "Safari"))
_SYSTEMS = (
    ("android", "Android"),
    ("iphone", "iOS"),
    ("ipad", "iOS"),
    ("windows", "Windows"),
    ("mac os", "macOS"),
    ("cros", "ChromeOS"),
    ("linux", "Linux"),
)


def name_of(user_agent: str) -> str:
    """A coarse name such as `Chromium on Linux`, so that its owner knows it again; nothing more is kept."""
    told = user_agent.lower()
    browser = next((name for mark, name in _BROWSERS if mark in told), "Browser")
    system = next((name for mark, name in _SYSTEMS if mark in told), "")
    return f"{browser} on {system}" if system else browser
