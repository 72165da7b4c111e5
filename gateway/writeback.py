"""What comes back: surrogates, masks and placeholders posted by a form or a program.

A value that was shown hidden or masked and is posted back must never overwrite the real one. So a surrogate stays, a
wire mask becomes its surrogate again, a readable mask or placeholder is put back only where exactly one stored value of
that very record and field fits it; everything else that looks like a mask, or like a surrogate somebody edited, is
refused and never stored. A mask is only compared with values whose mask the writer may see: it is no oracle.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.refusal import MASK_RETURNED, Refusal
from gateway.reveal import PLACEHOLDER
from gateway.standing import IMPORTED
from kms.scanner import Hit, Scanner
from kms.surrogate import Shapes
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import Form
from policies.profile import FieldSpec
from policies.taxonomy import Kind
from privacy import mask

FormOf = Callable[[VaultEntry], Awaitable[Form]]
_SEPARATORS = re.compile(r"[\s()./\-\u00a0\u2009\u202f]")
_GAP = r"[\s().\-\u00a0\u2009\u202f]{0,2}"
# No value has these signs: they are a mask's, whatever was typed around it.
_COVERED = re.compile(r"\*{2}|\u2022")
# Wire masks inside running text, however close the words around them stand.
WIRE = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9]\.[A-Za-z2-7]{32}@(?:[A-Za-z0-9-]+\.)*masked\.invalid"
    rf"|(?:\+|(?<![0-9])00){_GAP}8{_GAP}8{_GAP}8{_GAP}9(?:{_GAP}[0-9]){{10}}(?![0-9])",
    re.IGNORECASE,
)
_LEFTOVER = re.compile(rf"masked\.invalid|(?:\+|(?<![0-9])00){_GAP}8{_GAP}8{_GAP}8{_GAP}9", re.IGNORECASE)
# A name or address surrogate with a slip in it: the digit keeps ordinary words out.
_EDITED_TOKEN = re.compile(r"(?<![A-Za-z0-9])Z[qx](?=[a-z]*[2-7])[a-z2-7]{11,16}(?![A-Za-z0-9])")
_TOKEN_LIKE = re.compile(r"z[qx][a-z2-7]{8,}")
_TOKEN_START = re.compile(r"z[qx](?=[a-z2-7]{14})", re.IGNORECASE)
_TORN_TOKEN = re.compile(r"(?<![A-Za-z0-9])[qx][a-z2-7]{14}(?![A-Za-z0-9])", re.IGNORECASE)
# A wire mask of an e-mail whose domain lost its end is known by its local part.
_TORN_MASK = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]\.(?=[a-z]*[2-7])[a-z2-7]{32}@", re.IGNORECASE)
_DIGIT_RUN = re.compile("[0-9X]+")
_TOKEN_CHARS, _ID_CHARS, _CARD_CHARS, _MOST_DIGITS = 16, 18, 19, 64
# What is left of an e-mail surrogate or mask without its domain; the digit keeps long names out.
_EMAIL_TOKEN = re.compile(r"(?<![a-z0-9])[a-z0-9]\.(?=[a-z]*[2-7])[a-z2-7]{16,}")


@dataclass(slots=True)
class Returned:
    """Surrogates found in the leaves of one body, with what the vault knows of them.

    hits: text → hits in it; entries: canonical surrogate → entry.
    """

    hits: dict[str, list[Hit]] = field(default_factory=dict)
    entries: dict[str, VaultEntry] = field(default_factory=dict)

    def alone(self, text: str) -> str | None:
        """The canonical surrogate when the whole trimmed text is one, known to the vault or not."""
        hits = self.hits.get(text, [])
        if len(hits) != 1:
            return None
        data = text.encode("utf-8", "surrogatepass")
        if data[: hits[0].start].strip() or data[hits[0].end :].strip():
            return None
        return hits[0].canonical

    def whole(self, text: str) -> VaultEntry | None:
        """The entry when the whole trimmed text is one known surrogate."""
        canonical = self.alone(text)
        return self.entries.get(canonical) if canonical is not None else None

    def inside(self, text: str) -> list[VaultEntry]:
        """Every known entry whose surrogate stands somewhere in the text."""
        return [self.entries[hit.canonical] for hit in self.hits.get(text, []) if hit.canonical in self.entries]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of the surrogates in a text."""
        data = text.encode("utf-8", "surrogatepass")

        def characters(end: int) -> int:
            return len(data[:end].decode("utf-8", "surrogatepass"))

        return [(characters(hit.start), characters(hit.end)) for hit in self.hits.get(text, [])]


async def look_up(vault: SurrogateVault, scanner: Scanner, tenant: str, texts: Iterable[str]) -> Returned:
    """Find the surrogates in these texts and ask the vault for them; raises KeysUnavailable, StoreUnavailable."""
    returned = Returned()
    wanted: set[str] = set()
    for text in texts:
        hits = scanner.find(text.encode("utf-8", "surrogatepass"))
        if hits:
            returned.hits[text] = hits
            wanted.update(hit.canonical for hit in hits)
    if wanted:
        entries, missing = vault.cached(tenant, wanted)
        returned.entries.update(entries)
        if missing:
            returned.entries.update(await vault.resolve(tenant, missing))
    return returned


async def restore_mask(
    vault: SurrogateVault,
    scanner: Scanner,
    tenant: str,
    text: str,
    spec: FieldSpec | None,
    record: str | None,
    mask_char: str,
    form: FormOf,
) -> VaultEntry | None:
    """The stored value that a posted mask stands for; None when the text is no mask.

    record: the one record that is written, None when there are several. form: what the writer may see of an entry.
    Raises Refusal(MASK_RETURNED) when it is a mask and does not stand for exactly one stored value.
    """
    wire = mask.unmask_wire(text)
    if wire is not None:
        for entry in (await vault.resolve(tenant, _surrogates_of(wire, scanner))).values():
            if _carries(entry, wire) and await form(entry) is not Form.HIDDEN:
                return entry
        raise refused(spec)
    placeholder = text.strip() == PLACEHOLDER
    if not placeholder and _COVERED.search(text) is None and not mask.looks_masked(text):
        return None
    if spec is None or record is None:
        raise refused(spec)
    # What an import brought stands in no record that the vault knows: an older value is no longer sure to be there.
    stored = await vault.at_origin(tenant, spec.entity, spec.name, record, unless=IMPORTED)
    fitting = [
        entry
        for entry in stored
        if placeholder or (_fits(entry, text, mask_char) and await form(entry) is not Form.HIDDEN)
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise refused(spec)


def holds_wire_mask(text: str) -> bool:
    """Whether a wire mask, or what an edit left of one, stands in a text."""
    return _LEFTOVER.search(text) is not None


def was_surrogate(text: str, shapes: Shapes) -> bool:
    """Whether a whole value, which is no surrogate, is what an edit left of one (or of a wire mask)."""
    lowered = text.strip().lower()
    if shapes.email_domain in lowered or holds_wire_mask(lowered) or _EMAIL_TOKEN.search(lowered):
        return True
    compact = _SEPARATORS.sub("", lowered)
    if f"+{shapes.phone_country}" in compact or compact.startswith(f"00{shapes.phone_country}"):
        return True
    if _TOKEN_LIKE.fullmatch(compact):
        return True
    digits = compact.rstrip("x")
    blocks = (shapes.id_region, shapes.card_prefix)
    return len(digits) >= 14 and digits.isascii() and digits.isdigit() and digits.startswith(blocks)


def hides_surrogate(text: str, scanner: Scanner) -> bool:
    """Whether a whole surrogate stands in a text with signs typed right before or after it, or lost its first sign.

    None is seen there then. The keyed check of the scanner decides, so that no real number is taken for one.
    """
    shapes = scanner.shapes
    compact = _SEPARATORS.sub("", text)
    windows = [compact[at : at + _TOKEN_CHARS] for at in (match.start() for match in _TOKEN_START.finditer(compact))]
    windows += [f"Z{torn}" for torn in {compact, *_TORN_TOKEN.findall(text)} if _TORN_TOKEN.fullmatch(torn)]
    for run in _DIGIT_RUN.findall(compact.upper()):
        if len(run) in (_ID_CHARS - 1, _CARD_CHARS - 1):
            windows += [shapes.id_region[0] + run, shapes.card_prefix[0] + run]
        if _ID_CHARS < len(run) <= _MOST_DIGITS:
            sizes = (_ID_CHARS, _CARD_CHARS)
            windows += [run[at : at + size] for size in sizes for at in range(len(run) - size + 1)]
    return any(scanner.find(window.encode("utf-8", "surrogatepass")) for window in windows)


def holds_edited_surrogate(text: str, taken: Iterable[tuple[int, int]], scanner: Scanner) -> bool:
    """Whether running text holds what an edit left of a surrogate outside the surrogates at `taken`."""
    spans, shapes = list(taken), scanner.shapes
    marks = [
        match.span() for one in (_EDITED_TOKEN, _TORN_MASK, _edited_number(shapes)) for match in one.finditer(text)
    ]
    at = text.lower().find(shapes.email_domain)
    while at >= 0:
        marks.append((at, at + len(shapes.email_domain)))
        at = text.lower().find(shapes.email_domain, at + 1)
    if any(all(end <= low or start >= high for low, high in spans) for start, end in marks):
        return True
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    if any(hides_surrogate(text[low:high], scanner) for low, high in zip(edges[::2], edges[1::2], strict=True)):
        return True
    # An address whose domain lost its end is found by its local part alone; what is left of the domain follows.
    return any(text[high : high + 1] == "@" and text[low:high].lower().startswith("e.") for low, high in spans)


@lru_cache(maxsize=16)
def _edited_number(shapes: Shapes) -> re.Pattern[str]:
    """Beginnings of phone and ID surrogates, and card surrogates that lost a digit or two: no other number has them."""

    def spelled(digits: str) -> str:
        return _GAP.join(digits)

    phone = rf"(?:\+|(?<![0-9])00){_GAP}{spelled(shapes.phone_country + shapes.phone_lead)}"
    id_card = rf"(?<![0-9]){spelled(shapes.id_region + '18')}"
    card = rf"(?<![0-9]){spelled(shapes.card_prefix)}(?:{_GAP}[0-9]){{{_CARD_CHARS - 6},{_CARD_CHARS - 5}}}(?![0-9])"
    return re.compile(f"{phone}|{id_card}|{card}")


def refused(spec: FieldSpec | None) -> Refusal:
    """The end of a write whose masks cannot be put back."""
    return Refusal(MASK_RETURNED, fields=(spec.name,) if spec is not None else ())


def _carries(entry: VaultEntry, wire: mask.WireMask) -> bool:
    spelled = (entry.clear, *entry.spellings.values())
    return any(mask.unmask_wire(mask.wire_mask(entry.kind, clear, entry.surrogate)) == wire for clear in spelled)


def _fits(entry: VaultEntry, text: str, mask_char: str) -> bool:
    spellings: Mapping[tuple[str, str, str], str] = entry.spellings
    shown = {mask.mask(entry.kind, clear, char=mask_char) for clear in (entry.clear, *spellings.values())}
    return text.strip() in shown


def _surrogates_of(wire: mask.WireMask, scanner: Scanner) -> tuple[str, ...]:
    """Surrogates a wire mask may carry; the vault and the mask itself decide which one it is."""
    if wire.kind == Kind.PHONE:
        return scanner.phones_of_serial(wire.token)
    return (f"e.{wire.token}@{scanner.shapes.email_domain}",)
