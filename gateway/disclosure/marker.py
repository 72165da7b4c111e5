"""Marks the pages that show somebody masked values which this person may have revealed; all others stay as they are.

The cost is paid by pages of tenants that switched it on, for people whose policy lets them reveal: one look at what was
rendered anyway, one sealing, no question to the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from gateway import headers
from gateway.access.sealer import Sealer
from gateway.body import charset as charsets
from gateway.body.html import body_end
from gateway.console.language import LANGUAGE_COOKIE, choose
from gateway.console.look import Look
from gateway.console.words import REVEAL_MARK
from gateway.disclosure.config import RevealSettings
from gateway.disclosure.handle import MASKS_LIMIT, Mask, seal_handle
from gateway.disclosure.mark import Fields, Words, element, let_frame, takes_mark
from gateway.disclosure.right import RevealRight, permitted
from gateway.exchange import Exchange
from gateway.records import Records
from kms.tokens import Origin, VaultEntry

OPEN_PATH = "/.crmgate/reveal/open"
FRAME_PREFIX = "/reveal/"
_OK = 200
_PLACES = frozenset({None, "document"})  # a frame of the CRM's own has no room, and what scripts fetch is no page


@dataclass(frozen=True, slots=True)
class Marker:
    """One per process. settings: tenant → its section; public: tenant → address of its CRM; console: of the console."""

    settings: Mapping[str, RevealSettings]
    public: Mapping[str, str]
    console: str
    right: RevealRight
    records: Records
    sealer: Sealer
    look: Look
    clock: Callable[[], datetime]

    def wants(self, exchange: Exchange, status: int) -> bool:
        """Whether masks on this answer are to be gathered."""
        found = self.settings.get(exchange.tenant)
        decision, principal = exchange.decision, exchange.principal
        return (
            found is not None
            and found.enabled
            and status == _OK
            and decision is not None
            and principal is not None
            and not decision.view.sees_everything
            and exchange.head.named.get("sec-fetch-dest") in _PLACES
            and exchange.batch is None
            and self.right.any(decision.view)
        )

    async def mark(self, exchange: Exchange, fields: Fields, body: bytes, charset: str) -> tuple[Fields, bytes]:
        """The page with the element and header fields that let its frame load; raises KeysUnavailable."""
        masks, principal = self._masks(exchange), exchange.principal
        codec = charsets.codec_of(charset)
        if not masks or principal is None or not takes_mark(codec):
            return fields, body
        end = body_end(body)
        if end is None:
            return fields, body
        tenant = exchange.tenant
        handle = await seal_handle(self.sealer, tenant, principal.session_id, masks, self.clock())
        language = choose(
            self.look.languages,
            cookie=dict(headers.cookies(exchange.head)).get(LANGUAGE_COOKIE, ""),
            person=principal.language,
            accept=exchange.head.named.get("accept-language", ""),
        )
        words = Words(language.tag, *map(language.sentences.gettext, REVEAL_MARK))
        address = f"{OPEN_PATH}?lang={quote(language.id)}&h={handle}"
        copy_to = self.console if self.settings[tenant].copy else ""
        mark = element(words, address, self.look.address("reveal-mark.css"), copy_to=copy_to)
        sources = (f"{self.public[tenant]}{OPEN_PATH}", f"{self.console}{FRAME_PREFIX}")
        return let_frame(fields, sources), body[:end] + mark + body[end:]

    def _masks(self, exchange: Exchange) -> list[Mask]:
        """What the page shows in another form than clear and this person may have revealed, in the page's order."""
        verdicts = exchange.masked
        if not verdicts or exchange.decision is None:
            return []
        order = {key: place for place, key in enumerate(exchange.shown)}
        found: dict[str, tuple[int, Mask]] = {}
        for verdict in verdicts:
            entry, counted = verdict.entry, verdict.counted
            origin = self._origin(exchange, entry, counted)
            if origin is not None and counted in order:
                mask = Mask(entry.surrogate, entry.kind, origin.entity, origin.field, origin.record or "")
                found[entry.surrogate] = (order[counted], mask)
        return [mask for _, mask in sorted(found.values(), key=lambda one: one[0])][:MASKS_LIMIT]

    def _origin(self, exchange: Exchange, entry: VaultEntry, counted: tuple[str, str, str, str]) -> Origin | None:
        """By which of its origins a value may be revealed: the one of the record the page is about, if it is one."""
        assert exchange.decision is not None
        allowed = permitted(
            self.right,
            exchange.decision.view,
            self.records,
            exchange.tenant,
            exchange.crm_user,
            self.clock(),
            entry.kind,
            entry.origins,
        )
        operation = exchange.operation
        here = (operation.entity, operation.record) if operation is not None else ("", None)

        declared = exchange.decision.view.rules

        def rank(one: Origin) -> tuple[bool, bool, bool]:
            """The record of the page, a field of this kind before a text with such a value in it, the one counted."""
            in_text = (one.entity, one.field) not in declared
            counts = (one.entity, one.field, one.record or "") == counted[:3]
            return (one.entity, one.record) != here, in_text, not counts

        return min(allowed, key=rank, default=None)
