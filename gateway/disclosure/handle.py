"""The handle of a page's masks: which masked values a page has shown to one session, sealed so that only we read it.

A handle is no right: what opens a value is decided when it is asked for. It is bound to the tenant and the session it
was made for (both are authenticated), lives minutes, and holds no clear value; surrogates and record ids in it are
encrypted. It stands in the CRM's page, where the CRM's own scripts can read it: they learn nothing from it.
"""

import binascii
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.access.sealer import Sealer
from kms.envelope import EnvelopeInvalid

LIFETIME = timedelta(minutes=30)
MASKS_LIMIT = 40
HANDLE_LIMIT_CHARS = 6_000
_INFLATED_LIMIT_BYTES = 64 * 1024


class HandleInvalid(Exception):  # noqa: N818 - an outcome the person is told
    """Not a handle of this session, changed, or too old."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Mask:
    """A value that was shown in another form than clear. kind: what it is; the rest says whose value it is."""

    surrogate: str
    kind: str
    entity: str
    field: str
    record: str


async def seal_handle(sealer: Sealer, tenant: str, session_id: str, masks: Sequence[Mask], now: datetime) -> str:
    """The handle of these masks; raises KeysUnavailable."""
    rows = [[one.surrogate, one.kind, one.entity, one.field, one.record] for one in masks[:MASKS_LIMIT]]
    content = json.dumps([int((now + LIFETIME).timestamp()), rows], separators=(",", ":")).encode()
    sealed = await sealer.seal(tenant, zlib.compress(content, 6), _context(session_id))
    return urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


async def open_handle(sealer: Sealer, tenant: str, session_id: str, handle: str, now: datetime) -> Sequence[Mask]:
    """The masks of a handle of this session; raises HandleInvalid, KeysUnavailable."""
    if not handle or len(handle) > HANDLE_LIMIT_CHARS or not handle.isascii():
        raise HandleInvalid
    try:
        sealed = urlsafe_b64decode(handle + "=" * (-len(handle) % 4))
        content = await sealer.open(tenant, sealed, _context(session_id))
    except (binascii.Error, ValueError, EnvelopeInvalid) as fault:
        raise HandleInvalid from fault
    # Authentic from here on: what follows was written by `seal_handle`.
    until, rows = json.loads(zlib.decompressobj().decompress(content, _INFLATED_LIMIT_BYTES))
    if now >= datetime.fromtimestamp(until, UTC):
        raise HandleInvalid
    return tuple(Mask(*row) for row in rows)


def _context(session_id: str) -> bytes:
    return b"reveal.handle:" + session_id.encode("utf-8")
