"""Which requests show that a person is at work, and so keep a session alive; pure.

A browser says of each request what it is for, in `Sec-Fetch-*` fields that no script can set. Opening a page counts,
unless the page comes again by itself in a frame that nobody touched. What a page asks for in the background (`fetch`)
counts, because single-page CRMs do everything so, unless the profile names its path as polling. Pictures, scripts and
styles never count: they follow a page. Without these fields it is a program, of which every call counts that is no
polling, or an old browser, of which what asks for a page or changes something counts.
"""

from gateway.exchange import Head
from gateway.headers import SAFE_METHODS
from policies.polling import Polling

_PAGES = frozenset({"document", "iframe", "frame"})


def is_activity(head: Head, polling: Polling | None) -> bool:
    """Whether a request counts as activity; polling: the profile's addresses that are asked again and again."""
    named = head.named
    destination = named.get("sec-fetch-dest")
    if polling is not None and polling.names(head.path):
        return False
    if destination == "empty":
        return True
    if destination is not None:
        return destination == "document" or (destination in _PAGES and named.get("sec-fetch-user") == "?1")
    if "sec-fetch-mode" in named or "sec-fetch-site" in named:
        return named.get("sec-fetch-mode") == "navigate"
    if "mozilla/" not in named.get("user-agent", "").lower():
        return True
    if head.method not in SAFE_METHODS:
        return True
    return "text/html" in named.get("accept", "") and named.get("x-requested-with", "").lower() != "xmlhttprequest"
