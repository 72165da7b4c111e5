"""What somebody searched for, in the links of their own answer.

In links of the CRM a surrogate stays, because the CRM knows nothing else. The reserved one that stood for a name nobody
shows this person would say there that somebody has that name, so the link gets the words as they were typed, in as many
layers of percent-encoding as it stands in.
"""

import re
from collections.abc import Mapping
from html import escape
from urllib.parse import quote, quote_plus

_LAYERS = 4
_PARAMETER = rb"([?&;][A-Za-z0-9_.-]{1,80}=)"
_BEFORE = rb"(=|(?:%(?:25){0,2}3[Dd]))"


def in_links(page: bytes, own_words: Mapping[str, str]) -> bytes:
    """The rendered page with the words in place of what is left of the reserved surrogates after an equals sign."""
    for reserved, words in own_words.items():
        page = _typed(page, reserved.encode(), words)
    return page


def _typed(page: bytes, reserved: bytes, words: str) -> bytes:
    def link(found: re.Match[bytes]) -> bytes:
        return found[1] + _encoded(words, _depth(found[1]))

    page = re.sub(_BEFORE + re.escape(reserved), link, page)
    # Where an address stands as a text (the value of an option), the walk of the page has put the words as they are.
    shown = "|".join(dict.fromkeys(re.escape(one) for one in (escape(words), words))).encode()
    return re.sub(_PARAMETER + b"(?:" + shown + b")(?=[&\"'#]|$)", link, page)


def _depth(sign: bytes) -> int:
    """How often a text after this spelling of the equals sign is percent-encoded."""
    return 1 if sign.endswith(b"=") else 2 + sign.count(b"25")


def _encoded(words: str, depth: int) -> bytes:
    text = quote_plus(words)
    for _ in range(1, min(depth, _LAYERS)):
        text = quote(text, safe="")
    return text.encode("ascii")
