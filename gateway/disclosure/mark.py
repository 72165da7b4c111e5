"""The mark on a page of the CRM: one element before `</body>` that offers to reveal what the page shows masked.

Nothing else of the page changes. The element works without a script: a button opens a popover (a part of HTML that
stands above everything of the page and closes with Escape) with a frame of the console's host, which is loaded only
then. Where frames are forbidden by a policy in the page itself, the link beside it opens the same in a window.
The page's own Content-Security-Policy stays; the two addresses of the frame are added to what it lets be framed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

Fields = list[tuple[str, str]]
POLICY = "content-security-policy"
_CHARSETS = re.compile(r"utf-8|ascii|iso8859-\d+|cp125\d|latin-1|gb2312|gbk|gb18030|big5")
_PARENTS = ("frame-src", "child-src", "default-src")  # CSP level 3, section 6.1: frame-src falls back in this order


@dataclass(frozen=True, slots=True)
class Words:
    """What the element says, in the person's language. lang: its tag."""

    lang: str
    button: str
    title: str
    window: str
    close: str


def takes_mark(codec: str) -> bool:
    """Whether ASCII text stands for itself in a charset, and no byte of another character can be a bracket."""
    return _CHARSETS.fullmatch(codec) is not None


def element(words: Words, address: str, style: str, *, copy_to: str = "") -> bytes:
    """The element, in ASCII. address: of the frame; style: of its style sheet; copy_to: origin that may copy."""
    src, allow = escape(address), f' allow="clipboard-write {escape(copy_to)}"' if copy_to else ""
    text = (
        f'<crmgate-reveal lang="{escape(words.lang)}"><link rel="stylesheet" href="{escape(style)}">'
        f'<button type="button" popovertarget="crmgate-reveal-panel">{escape(words.button)}</button>'
        f'<div id="crmgate-reveal-panel" popover role="dialog" aria-label="{escape(words.title)}">'
        f'<iframe title="{escape(words.title)}" src="{src}" loading="lazy" width="460" height="560"'
        f' referrerpolicy="no-referrer"{allow}></iframe>'
        f'<p><a href="{src}" target="_blank" rel="noopener noreferrer">{escape(words.window)}</a> '
        '<button type="button" popovertarget="crmgate-reveal-panel" popovertargetaction="hide">'
        f"{escape(words.close)}</button></p></div></crmgate-reveal>"
    )
    return text.encode("ascii", "xmlcharrefreplace")


def let_frame(fields: Fields, sources: Iterable[str]) -> Fields:
    """The header fields with these sources allowed in frames by every policy that would forbid them."""
    added = tuple(sources)
    return [(name, _widened(value, added) if name == POLICY else value) for name, value in fields]


def _widened(value: str, added: tuple[str, ...]) -> str:
    """Every policy of one header (they are separated by commas, and each has to allow)."""
    return ",".join(_policy(one, added) for one in value.split(","))


def _policy(policy: str, added: tuple[str, ...]) -> str:
    directives: dict[str, str] = {}
    for part in policy.split(";"):
        name, _, rest = part.strip().partition(" ")
        directives.setdefault(name.lower(), rest.strip())  # of two the first counts
    governing = next((name for name in _PARENTS if name in directives), None)
    if governing is None:
        return policy
    kept = [one for one in directives[governing].split() if one.lower() != "'none'"]
    missing = [one for one in added if one not in kept]
    if not missing:
        return policy
    whole = "frame-src " + " ".join([*kept, *missing])
    if governing != "frame-src":  # the other two govern more than frames, so these get a directive of their own
        return f"{policy.rstrip().rstrip(';')}; {whole}"
    parts = policy.split(";")
    place = next(at for at, part in enumerate(parts) if part.strip().partition(" ")[0].lower() == "frame-src")
    lead = parts[place][: len(parts[place]) - len(parts[place].lstrip())]
    return ";".join([*parts[:place], lead + whole, *parts[place + 1 :]])
