"""The text form of a cell: `~G1.` and base64url of the envelope without padding.

Text that a person types may begin like that, too. `read` therefore gives bytes only for the one spelling an envelope
can have, and whoever writes a field never decides by the looks: everything that does not open in its place is text,
and is sealed like any other text.
"""

import base64
import binascii

from kms.envelope import SUITES

PREFIX = "~G1."
_HEAD_BYTES = 6


def write(blob: bytes) -> str:
    """The text an envelope is stored as; 4 + ceil(4 n / 3) characters."""
    return PREFIX + base64.urlsafe_b64encode(blob).rstrip(b"=").decode()


def read(text: str) -> bytes | None:
    """The envelope, if this is the text form of something that could be one; it is proved by opening it only."""
    if not text.startswith(PREFIX) or not text.isascii():
        return None
    body = text[len(PREFIX) :]
    try:
        blob = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    suite = SUITES.get(blob[0]) if blob else None
    if suite is None or len(blob) < _HEAD_BYTES + suite.least:
        return None
    return blob if write(blob) == text else None  # not two texts for one envelope


def characters(plain: int, *, deterministic: bool = False, cell: bool = False, committed: bool = False) -> int:
    """Characters a cell of so many (padded) bytes of plaintext takes in the CRM's column."""
    blob = _HEAD_BYTES + (16 if deterministic else 28) + (8 if cell else 0) + (16 if committed else 0) + plain
    return len(PREFIX) + -(-4 * blob // 3)
