"""The way out: find surrogates in an answer and render each one for the principal who asked.

Containers are opened first and surrogates are looked for inside; what the vault does not know stays as it is.
For roles that may not see everything, recognisers also mask clear values nobody declared, so that data which is not
protected yet does not slip out. An answer that cannot be looked into is refused to them, never passed.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from gateway.body.layer import Finder, Net, Thorough
from gateway.body.page import JsonPage, Page, json_body
from gateway.body.shortcut import Ready, ready
from gateway.cell_sight import CellSight, WithCells, cells_in
from gateway.exchange import Exchange
from gateway.own_words import in_links
from gateway.records import Records
from gateway.unprotected import Words
from gateway.verdict import PLACEHOLDER, Verdict, Verdicts, Viewer
from kms.cell import PREFIX as CELL_PREFIX
from kms.cell_store import CellRow
from kms.scanner import Hit, Scanner
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import FieldView, Form
from privacy import mask, recognise
from privacy.render import Shown

__all__ = ["PLACEHOLDER", "Reveal"]

Replacement = tuple[int, int, str]
Show = Callable[[str], Shown | None]


class Reveal:
    """Renders answers; one per process, all methods take the exchange."""

    def __init__(
        self,
        vault: SurrogateVault,
        records: Records,
        scanners: Mapping[str, Scanner],
        clock: Callable[[], datetime],
        cells: CellSight | None = None,
    ) -> None:
        self._vault = vault
        self._scanners = scanners
        self._cells = cells
        self._verdicts = Verdicts(records, clock)

    async def render_page(self, exchange: Exchange, page: Page, mask_char: str = "*") -> tuple[bytes, bool]:
        """Render one opened body; returns the bytes and whether anything in it was ours to render.

        Raises KeysUnavailable or StoreUnavailable when an entry cannot be opened.
        """
        return await self._render(exchange, page, page.surrogates(self._finder(exchange)), mask_char)

    async def render_json(self, exchange: Exchange, body: bytes, mask_char: str) -> bytes:
        """Render a JSON body in UTF-8; the same as `render_page`, quick where everything about it is remembered."""
        if self._cells is not None and cells_in(body):
            rendered, _ = await self.render_page(exchange, JsonPage(body, "utf-8"), mask_char)
            return rendered
        found = self._scanners[exchange.tenant].find(body)
        remembered = self._remembered(exchange, body, found, mask_char)
        if remembered is not None:
            return remembered
        page = JsonPage(body, "utf-8", found)
        rendered, _ = await self._render(exchange, page, {hit.canonical for hit in found}, mask_char)
        return rendered

    def _finder(self, exchange: Exchange) -> Finder:
        scanner = self._scanners[exchange.tenant]
        return scanner if self._cells is None else WithCells(scanner)

    def _remembered(self, exchange: Exchange, body: bytes, found: Sequence[Hit], mask_char: str) -> bytes | None:
        """The body with what is remembered of all surrogates in it, None where anything has to be asked for."""
        if exchange.decision is None or exchange.typed or exchange.own_words or exchange.unprotected:
            return None
        view, tenant = exchange.decision.view, exchange.tenant
        verdicts: Sequence[Verdict] = ()
        if found:
            canonicals = [hit[2] for hit in found]
            entries, missing = self._vault.cached(tenant, canonicals)
            if missing:
                return None
            known = self._verdicts.known(view, tenant, exchange.crm_user, mask_char, canonicals, entries)
            if known is None:
                return None
            verdicts = known
        prepared = [one[5] for one in verdicts]
        if None in prepared:
            prepared = [one[5] or self._spelled(one, exchange, mask_char) for one in verdicts]
        net = net_of(exchange, view, mask_char)
        rendered = json_body(body, found, prepared, net)
        if rendered is not None:
            counts = exchange.shown
            for verdict in verdicts:
                key = verdict[4]
                counts[key] = counts[key] + 1 if key in counts else 1
                if verdict[6]:
                    exchange.beside.update(verdict[6])
        return rendered

    def _spelled(self, verdict: Verdict, exchange: Exchange, mask_char: str) -> Ready:
        entry = verdict.entry
        return ready(entry.surrogate, self._verdicts.shown(entry, verdict.form, exchange, mask_char))

    async def _render(self, exchange: Exchange, page: Page, found: set[str], mask_char: str) -> tuple[bytes, bool]:
        viewer = self._viewer(exchange, mask_char)
        texts = [one for one in found if one.startswith(CELL_PREFIX)]
        cells = await self._cells.of(exchange, texts, mask_char) if texts and self._cells is not None else {}
        entries = await self._entries(viewer, found.difference(cells))
        net = net_of(exchange, viewer.view, viewer.mask_char)
        if not entries and not cells and net is None and not exchange.own_words:
            return page.render(_unknown, None), bool(found)
        table = await self._verdicts.of(viewer, entries)
        if exchange.masked is not None:
            exchange.masked += [one for one in table.values() if one.form is not Form.CLEAR]
        show = self._show(exchange, viewer, table)
        rendered = page.render(_with_cells(exchange, cells, show) if cells else show, net)
        if exchange.own_words:
            rendered = in_links(rendered, exchange.own_words)
        return rendered, bool(entries) or bool(cells) or bool(exchange.caught)

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
        show = self._show(exchange, viewer, await self._verdicts.of(viewer, entries))
        net = net_of(exchange, viewer.view, viewer.mask_char)

        def plain(start: int, end: int) -> str:
            part = data[start:end].decode("utf-8", "surrogateescape")
            return part if net is None else replaced(part, net(part), encode)

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
        return Viewer(exchange.decision.view, exchange.tenant, exchange.crm_user, mask_char, exchange.facts)

    async def _entries(self, viewer: Viewer, found: set[str]) -> dict[str, VaultEntry]:
        if not found:
            return {}
        entries, missing = self._vault.cached(viewer.tenant, found)
        if missing:
            entries = {**entries, **await self._vault.resolve(viewer.tenant, missing)}
        return entries

    def _show(self, exchange: Exchange, viewer: Viewer, table: Mapping[str, Verdict]) -> Show:
        """Look-ups while a page is rendered; each is counted as shown."""
        typed, counts, beside = exchange.typed, exchange.shown, exchange.beside
        words = {one: Shown(Form.CLEAR, text, text) for one, text in exchange.own_words.items()}
        verdicts = self._verdicts

        def show(canonical: str) -> Shown | None:
            verdict = table.get(canonical)
            if verdict is None:
                return words.get(canonical)
            entry, _, form, shown, key, _, others = verdict
            if others:
                beside.update(others)
            if typed and canonical in typed:
                # The person typed it in this very request, and corrects it in the form shown again.
                form, shown, key = Form.CLEAR, None, (*key[:3], Form.CLEAR.name)
            counts[key] = counts.get(key, 0) + 1
            return shown if shown is not None else verdicts.shown(entry, form, exchange, viewer.mask_char)

        return show


def net_of(exchange: Exchange, view: FieldView, mask_char: str) -> Net | None:
    """What catches clear values for this view; None for one that sees everything."""
    if view.sees_everything:
        return None
    net = partial(_net, exchange, view, mask_char)
    words = exchange.unprotected
    return net if words is None else Thorough(partial(_net_and_places, exchange, net, words))


def _net_and_places(exchange: Exchange, net: Net, words: Words, text: str) -> list[Replacement]:
    """The same with what stands clear at declared places of this answer; of two that overlap the longer one."""
    found: list[Replacement] = net(text)
    for start, end, kind, shown in words.find(text):
        exchange.caught[kind] = exchange.caught.get(kind, 0) + 1
        found.append((start, end, shown))
    chosen: list[Replacement] = []
    at = 0
    for one in sorted(found, key=lambda each: (each[0], -each[1])):
        if one[0] >= at:
            chosen.append(one)
            at = one[1]
    return chosen


def _with_cells(exchange: Exchange, cells: Mapping[str, tuple[Shown, CellRow]], show: Show) -> Show:
    """The look-up that knows cells as well; each is counted as shown."""

    def both(canonical: str) -> Shown | None:
        found = cells.get(canonical)
        if found is None:
            return show(canonical)
        shown, row = found
        key = (row.entity, row.field, row.record, shown.form.name)
        exchange.shown[key] = exchange.shown.get(key, 0) + 1
        return shown

    return both


def _net(exchange: Exchange, view: FieldView, mask_char: str, text: str) -> list[Replacement]:
    """What recognisers find in a text and this view may not see, masked; counted as caught."""
    out: list[Replacement] = []
    for found in recognise.find(text):
        rule = view.by_kind.get(found.kind)
        form = rule.other if rule is not None else Form.HIDDEN
        if form is Form.CLEAR:
            continue
        exchange.caught[found.kind] = exchange.caught.get(found.kind, 0) + 1
        masked = form is Form.MASKED
        new = mask.mask(found.kind, found.text, char=mask_char) if masked else PLACEHOLDER
        out.append((found.start, found.end, new))
    return out


def replaced(text: str, found: Sequence[Replacement], encode: Callable[[str], str] = str) -> str:
    """A text with some stretches replaced."""
    out, at = [], 0
    for start, end, new in found:
        out += [text[at:start], encode(new)]
        at = end
    return "".join([*out, text[at:]])


def _unknown(_canonical: str) -> Shown | None:
    return None
