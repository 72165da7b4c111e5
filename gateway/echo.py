"""A search box shows again what was typed: the CRM only knows the surrogate it searched for.

A value that belongs to nobody has no entry that could be rendered, and one that was found would come back in the
spelling of its record. Only fields of forms that carry exactly what the gateway put there are changed.
"""

import re
from collections.abc import Mapping

from privacy.render import Context, encode

_INPUT = re.compile(rb"<input\b[^<>]*>", re.IGNORECASE)


def typed_again(body: bytes | bytearray, echoes: Mapping[str, tuple[str, str]]) -> bytes:
    """The page with the typed text in each search field. echoes: field name → surrogate sent, text typed."""
    fields = {
        f'name="{name}"'.encode(): (f'value="{sent}"'.encode(), f'value="{_written(typed)}"'.encode())
        for name, (sent, typed) in echoes.items()
    }

    def field(match: re.Match[bytes]) -> bytes:
        tag = bytes(match.group())
        for name, (sent, typed) in fields.items():
            if b" " + name in tag:
                return tag.replace(sent, typed)
        return tag

    page = bytes(body)
    return _INPUT.sub(field, page) if any(sent in page for sent, _ in fields.values()) else page


def _written(text: str) -> str:
    return encode(text, Context.HTML_ATTRIBUTE)
