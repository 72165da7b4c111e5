"""The way out: find surrogates in an answer and render each one for the principal who asked.

Containers are opened first and surrogates are looked for inside; what the vault does not know stays as it is.
For roles that may not see everything, recognisers also mask clear values nobody declared, so that data which is not
protected yet does not slip out. An answer that cannot be looked into is refused to them, never passed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.body.page import Page
from gateway.exchange import Exchange
from gateway.records import Records
from gateway.settle import NOWHERE, records_of, settle
from kms.scanner import Scanner
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import FieldView, Form
from privacy import mask, recognise
from privacy.render import Shown

PLACEHOLDER = "••••••"  # six bullets whatever the length: the length of a hidden value is not shown either

Replacement = tuple[int, int, str]
Show = Callable[[str], Shown | None]
Net = Callable[[str], list[Replacement]]


@dataclass(frozen=True, slots=True)
class Viewer:
    """What rendering needs to know of the person who asked."""

    view: FieldView
    tenant: str
    crm_user: str | None
    mask_char: str


class Reveal:
    """Renders answers; one per process, all methods take the exchange."""

    def __init__(
        self, vault: SurrogateVault, records: Records, scanners: Mapping[str, Scanner], clock: Callable[[], datetime]
    ) -> None:
        self._vault = vault
        self._records = records
        self._scanners = scanners
        self._clock = clock
        self._clear: dict[str, tuple[VaultEntry, Shown]] = {}

    async def render_page(self, exchange: Exchange, page: Page, mask_char: str = "*") -> tuple[bytes, bool]:
        """Render one opened body; returns the bytes and whether anything in it was ours to render.

        Raises KeysUnavailable or StoreUnavailable when an entry cannot be opened.
        """
        viewer = self._viewer(exchange, mask_char)
        scanner = self._scanners[exchange.tenant]
        found = page.surrogates(scanner)
        entries = await self._entries(viewer, found)
        net = None if viewer.view.sees_everything else self._net(exchange, viewer)
        if not entries and net is None:
            return page.render(_unknown, None), bool(found)
        show = self._everything(exchange, entries) if viewer.view.sees_everything else None
        rendered = page.render(show or self._restricted(exchange, viewer, entries), net)
        return rendered, bool(entries) or bool(exchange.caught)

    async def render_text(self, exchange: Exchange, text: str, encode: Callable[[str], str]) -> str:
        """Render surrogates in one header value; `encode` makes a shown text safe where it stands.

        For roles that may not see everything, clear values that nobody declared are masked as in bodies.
        """
        scanner = self._scanners[exchange.tenant]
        data = text.encode("utf-8", "surrogateescape")
        hits = scanner.find(data)
        viewer = self._viewer(exchange, "*")
        if not hits and viewer.view.sees_everything:
            return text
        entries = await self._entries(viewer, {hit.canonical for hit in hits})
        show = self._restricted(exchange, viewer, entries)
        net = None if viewer.view.sees_everything else self._net(exchange, viewer)

        def plain(start: int, end: int) -> str:
            part = data[start:end].decode("utf-8", "surrogateescape")
            return part if net is None else _replaced(part, net(part), encode)

        out, at = [], 0
        for hit in hits:
            shown = show(hit.canonical)
            if shown is not None:
                out += [plain(at, hit.start), encode(shown.text)]
                at = hit.end
        return "".join([*out, plain(at, len(data))])

    def _viewer(self, exchange: Exchange, mask_char: str) -> Viewer:
        if exchange.decision is None:
            raise RuntimeError("an answer is rendered only after a decision")
        return Viewer(exchange.decision.view, exchange.tenant, exchange.crm_user, mask_char)

    async def _entries(self, viewer: Viewer, found: set[str]) -> dict[str, VaultEntry]:
        if not found:
            return {}
        entries, missing = self._vault.cached(viewer.tenant, found)
        if missing:
            entries = {**entries, **await self._vault.resolve(viewer.tenant, missing)}
        if not viewer.view.sees_everything and viewer.crm_user is not None:
            await self._records.load(viewer.tenant, records_of(entries.values()), self._clock())
        return entries

    def _everything(self, exchange: Exchange, entries: Mapping[str, VaultEntry]) -> Show:
        """The hot path: every value clear, shown texts kept beside the entry they came from."""
        cache = self._clear
        shown_count = exchange.shown

        def show(canonical: str) -> Shown | None:
            entry = entries.get(canonical)
            if entry is None:
                return None
            origin = entry.origins[0] if entry.origins else NOWHERE
            key = (origin.entity, origin.field, origin.record or "", Form.CLEAR.name)
            shown_count[key] = shown_count.get(key, 0) + 1
            kept = cache.get(canonical)
            if kept is not None and kept[0] is entry:
                return kept[1]
            text = _spelling(entry, exchange)
            shown = Shown(Form.CLEAR, text, text)
            if not entry.spellings:
                if len(cache) > 50_000:
                    cache.clear()
                cache[canonical] = (entry, shown)
            return shown

        return show

    def _restricted(self, exchange: Exchange, viewer: Viewer, entries: Mapping[str, VaultEntry]) -> Show:
        memo: dict[str, Shown | None] = {}
        now = self._clock()

        def show(canonical: str) -> Shown | None:
            entry = entries.get(canonical)
            if entry is None:
                return None
            form, origin = settle(entry, viewer.view, self._records, viewer.tenant, viewer.crm_user, now)
            if canonical in exchange.typed:
                form = Form.CLEAR  # the person typed it in this very request, and corrects it in the form shown again
            key = (origin.entity, origin.field, origin.record or "", form.name)
            exchange.shown[key] = exchange.shown.get(key, 0) + 1
            if canonical not in memo:
                memo[canonical] = _shown(entry, form, exchange, viewer.mask_char)
            return memo[canonical]

        return show

    def _net(self, exchange: Exchange, viewer: Viewer) -> Net:
        by_kind = viewer.view.by_kind

        def net(text: str) -> list[Replacement]:
            out: list[Replacement] = []
            for found in recognise.find(text):
                rule = by_kind.get(found.kind)
                form = rule.other if rule is not None else Form.HIDDEN
                if form is Form.CLEAR:
                    continue
                exchange.caught[found.kind] = exchange.caught.get(found.kind, 0) + 1
                masked = form is Form.MASKED
                out.append(
                    (
                        found.start,
                        found.end,
                        mask.mask(found.kind, found.text, char=viewer.mask_char) if masked else PLACEHOLDER,
                    )
                )
            return out

        return net


def _spelling(entry: VaultEntry, exchange: Exchange) -> str:
    """The value as it was typed into the record this exchange is about, else as first typed."""
    operation = exchange.operation
    if entry.spellings and operation is not None and operation.record:
        for origin in entry.origins:
            if origin.entity == operation.entity and origin.record == operation.record:
                return entry.spellings.get((origin.entity, origin.field, origin.record), entry.clear)
    return entry.clear


def _shown(entry: VaultEntry, form: Form, exchange: Exchange, mask_char: str) -> Shown:
    if form is Form.HIDDEN:
        return Shown(form, PLACEHOLDER, entry.surrogate)
    text = _spelling(entry, exchange)
    if form is Form.CLEAR:
        return Shown(form, text, text)
    return Shown(form, mask.mask(entry.kind, text, char=mask_char), mask.wire_mask(entry.kind, text, entry.surrogate))


def _replaced(text: str, found: Sequence[Replacement], encode: Callable[[str], str]) -> str:
    out, at = [], 0
    for start, end, new in found:
        out += [text[at:start], encode(new)]
        at = end
    return "".join([*out, text[at:]])


def _unknown(_canonical: str) -> Shown | None:
    return None
