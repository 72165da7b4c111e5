"""Pseudonyms of persons in the trail: made from the person key of a holder, found again through its epoch. Pure.

Whoever has the person key can make the pseudonym, and nobody else can tell it from chance. The way back is an *alias*:
the same pseudonym under the epoch key, kept in the person store beside the holder. Erasing the holder destroys the key
and the alias; turning the epoch does so to every copy of the store.
"""

import hmac
import re
from base64 import urlsafe_b64encode

from kms.person import HOLDER_BYTES

PREFIX = "ds_"
ALIAS_BYTES = 16
_PSEUDONYM_BYTES = 16
_SHAPE = re.compile(r"ds_[A-Za-z0-9_-]{22}\Z")


def pseudonym(person_key: bytes, tenant: str, holder: bytes) -> str:
    """The name a holder has in the trail: "ds_" and 22 signs, HMAC-SHA-256 cut to 128 bits."""
    if len(holder) != HOLDER_BYTES:
        raise ValueError("a holder has 16 bytes")
    digest = hmac.digest(person_key, b"crmgate trail pseudonym 1\0" + holder + tenant.encode(), "sha256")
    return PREFIX + urlsafe_b64encode(digest[:_PSEUDONYM_BYTES]).decode().rstrip("=")


def alias(epoch_key: bytes, tenant: str, name: str) -> bytes:
    """What a pseudonym is found by in the person store while its epoch lives."""
    place = tenant.encode() + b"\0" + name.encode()
    return hmac.digest(epoch_key, b"crmgate trail alias 1\0" + place, "sha256")[:ALIAS_BYTES]


def is_pseudonym(text: str) -> bool:
    """Whether a text has the shape of a pseudonym."""
    return _SHAPE.match(text) is not None
