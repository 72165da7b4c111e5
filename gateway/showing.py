"""What the CRM shows now of the record that somebody is about to write, asked with that person's own session.

The answer gives nobody a right and is shown to nobody: it only tells a save that changes nothing from one that does.
Where the CRM does not answer, or the profile knows no page with the same address, nothing is told; nor is it where the
person may not open that page, so that nothing can be compared that he could not see there.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser

from gateway import headers
from gateway.answer import UpstreamError
from gateway.body import json, media
from gateway.body.fault import BodyFault
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.exchange import Exchange, Head
from gateway.network import Tenant
from gateway.protect.html_form import read_form
from policies.decision import Decision
from policies.operation import Action, Operation

ASK_S = 5.0
PAGE_LIMIT_BYTES = 8 * 1024 * 1024
# What a page may depend on; conditions, ranges and everything about a body stay out.
_KEPT = frozenset({"accept", "accept-language", "authorization", "user-agent", "x-requested-with"})
_BUSY = 429
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownPage:
    """What the CRM answered. exchange: stands for the request that asked, as if the person had made it."""

    exchange: Exchange
    content_type: str
    body: bytes = field(repr=False)


class Showing:
    """Asks once for one exchange, and only when something depends on it."""

    def __init__(
        self,
        tenant: Tenant,
        exchange: Exchange,
        pairs: Sequence[tuple[str, str]],
        withheld: Collection[str],
        decide: Callable[[Operation], Decision],
    ) -> None:
        self._tenant = tenant
        self._exchange = exchange
        self._pairs = pairs
        self._withheld = withheld
        self._decide = decide
        self._page: ShownPage | None = None
        self._asked = False
        self.silent = False
        """The CRM was asked and did not answer, or not in time."""

    async def text(self, path: Path) -> str | None:
        """What stands in a leaf of the same path: a form field's name, or a path in JSON; None where it is not told."""
        page = await self.page()
        if page is None:
            return None
        under = self._exchange.operation.extra.get("shown_under") if self._exchange.operation is not None else None
        return text_at(page.content_type, page.body, path if under is None else (under, *path))

    async def page(self) -> ShownPage | None:
        """All that the CRM shows at the address that is written to; None where it is not told."""
        if not self._asked:
            self._asked = True
            try:
                async with asyncio.timeout(ASK_S):
                    self._page = await self._ask()
            except (UpstreamError, TimeoutError):
                self.silent = True
        return self._page

    async def _ask(self) -> ShownPage | None:
        head, operation = self._exchange.head, self._exchange.operation
        if operation is None or operation.record is None or head.query:  # a query may hold clear values
            return None
        seen = self._tenant.profile.classify("GET", head.path, "", None, "")
        if seen.action is not Action.READ or seen.record != operation.record:
            return None
        decision = self._decide(seen)
        if decision.allowed is not True:
            return None
        fields = tuple(pair for pair in head.headers if pair[0] in _KEPT)
        asking = Head("GET", head.path, head.path, "", head.host, fields, False, None)
        line = headers.upstream_headers(
            asking,
            self._exchange,
            self._tenant,
            target=self._tenant.origins.target_to_upstream(head.path),
            length=None,
            pairs=self._pairs,
            withheld=self._withheld,
        )
        answer = await self._tenant.pool.request(b"GET", line)
        body = await answer.read(PAGE_LIMIT_BYTES)
        kind = next((value for name, value in answer.fields if name == b"content-type"), b"")
        self.silent = answer.status >= 500 or answer.status == _BUSY
        if answer.status != 200:
            return None
        given = self._exchange
        asked = Exchange(given.id, given.received_at, asking, given.tenant, crm_user=given.crm_user, operation=seen)
        asked.principal, asked.decision = given.principal, decision
        return ShownPage(asked, kind.decode("latin-1"), body)


def text_at(content_type: str, body: bytes, path: Path) -> str | None:
    """The one value at a path; None where there is none, or more than one."""
    kind = media.sniff_upload(content_type, None, body)
    try:
        if kind is Media.JSON:
            pairs: Sequence[tuple[Path, str]] = [
                (leaf.path, leaf.text) for leaf in json.open_json(body, Limits()).leaves
            ]
        elif kind is Media.HTML and len(path) == 1:
            form = read_form(body, path[0]) if _stands_once(body, path[0]) else None
            pairs = [((name,), value) for name, value in form.pairs] if form is not None else []
        else:
            return None
    except BodyFault:
        return None
    found = [value for place, value in pairs if place == path]
    return found[0] if len(found) == 1 else None


def _stands_once(body: bytes, name: str) -> bool:
    """Whether only one form of a page has a field of this name: of two nobody knows which one was posted."""
    fields = "input, textarea, select"
    every = LexborHTMLParser(body).css("form")
    return sum(any(one.attributes.get("name") == name for one in form.css(fields)) for form in every) == 1
