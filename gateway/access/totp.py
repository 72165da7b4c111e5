"""The second factor: time-based codes (RFC 6238, SHA-1, 6 digits, 30 s) as authenticator apps make them.

Pure: time is an argument and nothing is stored here. A code is found in a window of one step to either side (phone
clocks drift and people type slowly; ASVS 6.5.5 wants a reason written down for more than the 30 s of one step, and this
is it). That a step is used only once is settled by the database in one statement (`store.use_totp_step`), because only
there parallel attempts on several nodes meet.
"""

import hmac
from base64 import b32encode
from datetime import datetime
from io import BytesIO

import pyotp
import segno

from gateway.access.tokens import Randomness

STEP_S = 30
WINDOW_STEPS = 1
# RFC 4226, section 4, R6: 160 bits recommended.
SECRET_BYTES = 20
CODE_DIGITS = 6


class CodeWrong(Exception):  # noqa: N818 - an outcome of verification, named as the audit trail names it
    """The code belongs to no step in the window."""

    permanent = True


class CodeReplayed(Exception):  # noqa: N818
    """The code was right, but it or a later one was used before."""

    permanent = True


def new_secret(randomness: Randomness) -> str:
    """A fresh shared secret in base32 (32 characters)."""
    return b32encode(randomness(SECRET_BYTES)).decode("ascii")


def step_at(now: datetime) -> int:
    """Number of the 30-second step that contains this moment."""
    return int(now.timestamp()) // STEP_S


def match(secret: str, code: str, now: datetime) -> int:
    """The step a code belongs to; raises CodeWrong.

    code: as typed; spaces between the groups are ignored. Every step of the window is compared, in constant time.
    """
    typed = "".join(code.split())
    if len(typed) != CODE_DIGITS or not typed.isascii() or not typed.isdigit():
        raise CodeWrong
    maker = pyotp.TOTP(secret)
    found: int | None = None
    here = step_at(now)
    for step in range(here - WINDOW_STEPS, here + WINDOW_STEPS + 1):
        if hmac.compare_digest(maker.generate_otp(step), typed):
            found = step
    if found is None:
        raise CodeWrong
    return found


def enrolment_uri(secret: str, login: str, issuer: str) -> str:
    """The `otpauth://` address an authenticator app reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=issuer)


def qr_data_uri(uri: str) -> str:
    """The address as a QR code: SVG in a data URI for an `img`, dark on white whatever the page's colours are."""
    picture = BytesIO()
    segno.make(uri, error="m", micro=False).save(
        picture, kind="svg", scale=5, border=4, dark="#000", light="#fff", xmldecl=False, svgns=True, nl=False
    )
    encoded = picture.getvalue().decode("ascii")
    return "data:image/svg+xml," + _quote(encoded)


def grouped(secret: str) -> str:
    """The secret in groups of four, for typing it by hand."""
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))


def _quote(svg: str) -> str:
    """Percent-encode what must not stand in a data URI inside a double-quoted attribute."""
    return "".join({"%": "%25", "#": "%23", '"': "'", "<": "%3C", ">": "%3E", "&": "%26"}.get(c, c) for c in svg)
