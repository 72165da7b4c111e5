"""A search box shows again what was typed: the CRM only knows the surrogate it searched for.

A value that belongs to nobody has no entry that could be rendered, and one that was found would come back in the
spelling of its record. Only fields of forms that carry exactly what the gateway put there are changed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from gateway.exchange import Narrowed
from privacy.render import Context, encode

_VALUE = re.compile(rb"""\s+value\s*=\s*(?:"[^"]*"|'[^']*')""")
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


def named_again(body: bytes | bytearray, member: str, echoes: Mapping[str, tuple[str, str]]) -> bytes:
    """A JSON answer whose member of this name repeats what was searched for, with the typed text in it."""
    answer = bytes(body)
    for sent, typed in echoes.values():
        written = json.dumps(typed, ensure_ascii=False).encode("utf-8", "surrogatepass")
        for space in (b"", b" "):
            name = json.dumps(member).encode() + b":" + space
            answer = answer.replace(name + json.dumps(sent).encode(), name + written, 1)
    return answer


def widened_again(
    body: bytes | bytearray, narrowed: Sequence[Narrowed], restored: Mapping[str, tuple[str, str]]
) -> bytes:
    """The page with each emptied box as it was typed, and the CRM's parameter as it was given.

    Both would be sent again with the next page or search, and the page's links (exports) carry them as well.
    restored: parameter → what was sent, what was given.
    """
    boxes = {f' name="{one.box}"'.encode(): f'value="{_written(one.typed)}"'.encode() for one in narrowed}
    inputs = {
        f' name="{name}"'.encode(): f'value="{_written(given)}"'.encode() for name, (_, given) in restored.items()
    }

    def field(match: re.Match[bytes]) -> bytes:
        tag = bytes(match.group())
        for name, typed in boxes.items():
            if name in tag:
                tag = _VALUE.sub(b"", tag)
                return tag.replace(name, name + b" " + typed, 1)
        for name, given in inputs.items():
            if name in tag:
                return _VALUE.sub(b"", tag).replace(name, name + b" " + given, 1)
        return tag

    page = _INPUT.sub(field, bytes(body))
    for one in narrowed:
        page = _in_links(page, one, restored[one.parameter][1])
    return page


def _in_links(page: bytes, one: Narrowed, given: str) -> bytes:
    """The same inside addresses: any parameter that carries our condition, and the empty box beside it."""
    typed, own = quote(one.typed, safe="").encode(), quote(given, safe="").encode()
    condition = b"(=)%7B%22op%22[^&\"']*%22" + re.escape(one.lookup).encode() + b"__in%22[^&\"']*"
    page = re.sub(condition, lambda found: found.group(1) + own, page)
    box = b"([?&;]" + re.escape(one.box).encode() + b"=)(?=[&\"'])"
    return re.sub(box, lambda found: found.group(1) + typed, page)


def _written(text: str) -> str:
    return encode(text, Context.HTML_ATTRIBUTE)
