"""Bodies in other charsets: brought to UTF-8 for looking into them, and back without losing a byte."""

import codecs
from functools import lru_cache

from gateway.body.fault import BodyUnreadable

_ALIASES = {
    "": "utf-8",
    "utf8": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    # Python's latin-1 keeps every byte; what windows-1252 has in addition is written as an escape, right in both.
    "iso-8859-1": "latin-1",
    "iso8859-1": "latin-1",
    "us-ascii": "latin-1",
    "ascii": "latin-1",
    "gb2312": "gbk",
    "utf-16": "utf-16-le",
}
# Stateful charsets can make harmless bytes mean something else; browsers support few of them.
_STATEFUL = ("iso2022", "hz", "utf_7", "utf-7", "unicode_escape", "raw_unicode_escape", "idna", "punycode")


@lru_cache(maxsize=64)
def codec_of(label: str) -> str:
    """Python codec for a charset label; unknown labels are read as latin-1, as only ASCII is written then."""
    label = label.strip().lower()
    name = _ALIASES.get(label, label)
    try:
        info = codecs.lookup(name)
    except LookupError:
        return "latin-1"
    if info.name.startswith(_STATEFUL) or not info._is_text_encoding:
        raise BodyUnreadable("charset")
    return {"iso8859-1": "latin-1"}.get(info.name, info.name)


def to_utf8(body: bytes, codec: str) -> bytes:
    """The body as UTF-8; broken bytes are kept so that `from_utf8` gives them back. Raises BodyUnreadable."""
    if codec == "utf-8" or (body.isascii() and not codec.startswith(("utf-16", "utf-32"))):
        return body
    try:
        text = body.decode(codec, "surrogateescape")
        if text.encode(codec, "surrogateescape") != body:
            raise BodyUnreadable("charset-lossy")
    except UnicodeError:
        raise BodyUnreadable("charset-lossy") from None
    return text.encode("utf-8", "surrogatepass")


def from_utf8(data: bytes, codec: str) -> bytes:
    """The rendered body in its own charset."""
    if codec == "utf-8" or (data.isascii() and not codec.startswith(("utf-16", "utf-32"))):
        return data
    return data.decode("utf-8", "surrogatepass").encode(codec, "surrogateescape")


def fitted(text: str, codec: str) -> str:
    """The text with a question mark for every character the charset lacks; for formats that have no escapes."""
    if codec == "utf-8" or text.isascii():
        return text
    try:
        text.encode(codec, "surrogateescape")
    except UnicodeEncodeError:
        return "".join(one if _fits(one, codec) else "?" for one in text)
    return text


def _fits(character: str, codec: str) -> bool:
    try:
        character.encode(codec, "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
