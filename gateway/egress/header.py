"""Header fields of a mail, read as a mail program reads them and written anew where something in them changed.

What is put into a field cannot leave it: line breaks and direction marks are gone, what is not ASCII or looks like an
encoded word becomes an encoded word (RFC 2047), a display name is quoted. A field that cannot be read stays as it is.
"""

import re
from collections.abc import Callable
from email.errors import HeaderParseError
from email.header import Header, decode_header
from email.utils import getaddresses

from privacy.render import Context, encode

TEXT_FIELDS = frozenset({"subject", "comments", "keywords", "thread-topic", "content-description"})
ADDRESS_FIELDS = frozenset(
    {
        *("from", "to", "cc", "reply-to", "sender", "errors-to", "resent-from", "resent-to", "resent-cc"),
        *("resent-sender", "resent-reply-to", "disposition-notification-to", "return-receipt-to"),
        *("mail-reply-to", "mail-followup-to"),
    }
)
# Ids that look like addresses but tie threads together, and what says how the mail is built.
STRUCTURAL = frozenset(
    {
        *("message-id", "in-reply-to", "references", "date", "mime-version", "content-type", "content-id"),
        *("content-transfer-encoding", "content-disposition", "content-language"),
    }
)
LINE_CHARS = 76  # RFC 2047, section 2
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_BREAK = re.compile(r"[\r\n]+")
_SPECIAL = re.compile(r'[()<>@,:;\\".\[\]]')
_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~.]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")

Change = Callable[[str], str]  # a decoded text → the same with what changed in it


def unfolded(raw: str) -> str:
    """A field on one line; 8-bit bytes (RFC 6532, or a sender that does not care) as UTF-8, else as Latin-1."""
    line = _BREAK.sub(" ", _FOLD.sub("", raw))
    if line.isascii():
        return line
    data = line.encode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decoded(text: str) -> str:
    """Unfolded text with its encoded words read; raises ValueError where one cannot be."""
    if "=?" not in text:
        return text
    out: list[str] = []
    try:
        for part, charset in decode_header(text):
            if isinstance(part, str):
                out.append(part)
            elif charset is None:
                out.append(part.decode("raw-unicode-escape"))
            else:
                out.append(part.decode(charset, "replace"))
    except (HeaderParseError, LookupError, UnicodeError) as fault:
        raise ValueError("an encoded word that cannot be read") from fault
    return "".join(out)


def written(text: str, name: str) -> str:
    """A text as the body of a field, folded; ASCII only."""
    text = encode(text, Context.HEADER).strip()
    if text.isascii() and "=?" not in text:
        return Header(text, "us-ascii", LINE_CHARS, name).encode(linesep="\r\n")
    return Header(text, "utf-8", LINE_CHARS, name).encode(linesep="\r\n")


def change_text(raw: str, name: str, change: Change) -> str:
    """An unstructured field with its text changed; the same object where nothing did."""
    try:
        before = decoded(unfolded(raw))
    except ValueError:
        return raw
    after = change(before)
    return raw if after == before else written(after, name)


def addresses_of(raw: str) -> list[tuple[str, str]] | None:
    """(display name, address) of a field; None where it is not a plain list of addresses."""
    parsed = getaddresses([unfolded(raw)])
    if not parsed or any(not _ADDRESS.fullmatch(address) for _, address in parsed):
        return None
    try:
        return [(decoded(phrase), address) for phrase, address in parsed]
    except ValueError:
        return None


def change_addresses(raw: str, phrase: Change, address: Change) -> str:
    """An address field with names and addresses changed; an address that is none afterwards stays what it was."""
    before = addresses_of(raw)
    if before is None:
        return raw
    after = [(phrase(name), _plain(address(given), given)) for name, given in before]
    return raw if after == before else ",\r\n ".join(_mailbox(name, given) for name, given in after)


def is_plain_address(text: str) -> bool:
    """Whether an address can stand in an envelope and in a field as it is (ASCII dot-atom and host)."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def _plain(new: str, old: str) -> str:
    return new if is_plain_address(new) else old


def _mailbox(name: str, address: str) -> str:
    name = encode(name, Context.HEADER).strip()
    if not name:
        return address
    if not name.isascii() or "=?" in name:
        return f"{Header(name, 'utf-8', LINE_CHARS - 8).encode(linesep=chr(13) + chr(10))}\r\n <{address}>"
    if _SPECIAL.search(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"
