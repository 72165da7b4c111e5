"""Clear values that arrive beside the browser become surrogates, in two passes over the same texts.

The first pass collects: what recognisers find (e-mail, phone, ID and bank card), names and addresses that the vault may
know, display names and addresses of a mail. Then each gets its surrogate: equal values the one they have already. The
second pass puts them in. Names nobody knows stay in running text: there is no good answer to that (privacy/README.md).
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Protocol

from gateway.body.layer import Finder
from gateway.body.page import Page
from gateway.egress.header import is_plain_address, unfolded
from gateway.egress.letter import Letter, LetterUnreadable
from kms.tokens import NewValue, Origin
from policies.taxonomy import Kind
from privacy import known, recognise

VALUES = 5_000  # of one message: mailing lists have fewer, floods more
CANDIDATES = 100_000  # parts of running text that may be known names
UNDECLARED = "undeclared"
NAME_CHARS = 250


class Vault(Protocol):
    """kms.tokens.SurrogateVault."""

    async def tokenise(self, tenant: str, values: Sequence[NewValue], cell: str) -> list[str]:
        """Surrogates of values."""

    async def find_known(self, tenant: str, kind: str, candidates: Sequence[str]) -> dict[str, list[str]]:
        """Which candidates are known values."""


class Intake:
    """The values of one message; entity: what their origins are called ("mail", "call")."""

    def __init__(self, vault: Vault, tenant: str, entity: str, own_domains: Collection[str]) -> None:
        self._vault, self._tenant, self._entity = vault, tenant, entity
        self._own = frozenset(domain.lower() for domain in own_domains)
        self._values: dict[tuple[Kind, str], str] = {}
        self._candidates: set[str] = set()
        self._known: dict[str, tuple[Kind, str]] = {}
        self._filled = False
        self.counts: Counter[str] = Counter()
        """Kind → values replaced, for the trail."""

    async def protect_letter(self, letter: Letter, again: Letter, scanner: Finder, cell: str) -> None:
        """Replace what stands in a mail; `letter` is only looked at, `again`, the same mail, is changed."""
        letter.replace(scanner, self.net, self.phrase, self.address, self.field)
        await self.fill(cell)
        again.replace(scanner, self.net, self.phrase, self.address, self.field)

    async def protect_page(self, page: Page, scanner: Finder, cell: str) -> bytes:
        """The page with what stands in it replaced."""
        page.surrogates(scanner)
        page.render(lambda _: None, self.net)
        await self.fill(cell)
        return page.render(lambda _: None, self.net)

    async def fill(self, cell: str) -> None:
        """Get the surrogates of everything the first pass saw; raises KeysUnavailable, StoreUnavailable."""
        if len(self._values) > VALUES or len(self._candidates) > CANDIDATES:
            raise LetterUnreadable("too many values")
        candidates = sorted(self._candidates | {text for kind, text in self._values if kind is Kind.NAME})
        for kind in (Kind.ADDRESS, Kind.NAME):
            found = await self._vault.find_known(self._tenant, kind, candidates) if candidates else {}
            self._known |= {text: (kind, surrogates[0]) for text, surrogates in found.items() if surrogates}
        wanted = [(kind, text) for kind, text in self._values if not (kind is Kind.NAME and text in self._known)]
        origin = Origin(self._entity, UNDECLARED, None)
        made = await self._vault.tokenise(self._tenant, [NewValue(kind, text, origin) for kind, text in wanted], cell)
        if len(made) != len(wanted) or not all(isinstance(one, str) and one for one in made):
            raise TypeError("vault")
        self._values |= dict(zip(wanted, made, strict=True))
        self._values |= {
            (kind, text): self._known[text][1]
            for kind, text in self._values
            if kind is Kind.NAME and text in self._known
        }
        self._filled = True

    def net(self, text: str) -> list[tuple[int, int, str]]:
        """Places in running text and what stands there from now on; nothing in the first pass."""
        found = [one for one in recognise.find(text) if not self._is_own(one.kind, one.text)]
        spans = known.known_candidates(text)
        if not self._filled:
            for one in found:
                self._values.setdefault((Kind(one.kind), one.text), "")
            self._candidates |= {part for _, _, part in spans}
            return []
        out = [(one.start, one.end, self._take(Kind(one.kind), one.text)) for one in found]
        for start, end, part in known.choose([span for span in spans if span[2] in self._known]):
            if all(end <= first or start >= last for first, last, _ in out):
                kind, surrogate = self._known[part]
                self.counts[str(kind)] += 1
                out.append((start, end, surrogate))
        return out

    def phrase(self, text: str) -> str:
        """A display name is a name, whole, unless it holds an address or is empty."""
        name = text.strip()
        if not name or len(name) > NAME_CHARS or "@" in name:
            return self._in_text(text)
        return self._whole(Kind.NAME, name, text)

    def address(self, text: str) -> str:
        """An address of a field or envelope; those of the company stay."""
        if not is_plain_address(text) or self._is_own(Kind.EMAIL, text):
            return text
        return self._whole(Kind.EMAIL, text, text)

    def field(self, raw: str) -> str:
        """A field that is neither text nor addresses (Received, X-…): what is recognised in it."""
        line = unfolded(raw)
        found = [one for one in recognise.find(line) if one.kind == Kind.EMAIL and not self._is_own(one.kind, one.text)]
        if not self._filled:
            for one in found:
                self._values.setdefault((Kind.EMAIL, one.text), "")
            return raw
        for one in reversed(found):
            line = line[: one.start] + self._take(Kind.EMAIL, one.text) + line[one.end :]
        return line if found else raw

    def _in_text(self, text: str) -> str:
        for start, end, new in sorted(self.net(text), reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _whole(self, kind: Kind, value: str, text: str) -> str:
        if not self._filled:
            self._values.setdefault((kind, value), "")
            return text
        return self._take(kind, value)

    def _take(self, kind: Kind, text: str) -> str:
        """The surrogate; raises KeyError for what the first pass did not see, which ends the message."""
        surrogate = self._values[kind, text]
        if not surrogate:
            raise KeyError("surrogate")
        self.counts[str(kind)] += 1
        return surrogate

    def _is_own(self, kind: str, text: str) -> bool:
        return kind == Kind.EMAIL and text.rpartition("@")[2].lower() in self._own
