"""Tells a save that changes nothing: what was posted says the same as what the CRM holds, to the one who posted it.

What the vault knows of a record can be behind: a form that the CRM refused, a copy the CRM made, an import. So the text
of a role without the right to write is compared with what the CRM itself shows, and goes on as that.
"""

from collections.abc import Awaitable, Callable, Sequence

from gateway.exchange import Exchange
from gateway.refusal import CRM_NOT_SHOWN, FIELD_NOT_WRITABLE, MASK_RETURNED, TEXT_PART_NOT_WRITABLE, Refusal
from gateway.verdict import PLACEHOLDER
from gateway.writeback import Returned, look_up
from kms.scanner import Scanner
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import FieldView, Form
from policies.profile import FieldSpec
from privacy import mask, recognise

_DEPENDS = frozenset({FIELD_NOT_WRITABLE, TEXT_PART_NOT_WRITABLE, MASK_RETURNED})
FormOf = Callable[[VaultEntry], Awaitable[Form]]


async def shown_text(exchange: Exchange, path: tuple[str, ...] | None) -> str | None:
    """What the CRM shows now in the place of a leaf (Target.path); None where it does not tell."""
    return None if exchange.showing is None or path is None else await exchange.showing.text(path)


def in_doubt(exchange: Exchange, refusal: Refusal) -> Refusal:
    """The refusal of a write that might change nothing: where the CRM did not answer in time, it says so instead.

    The same save may pass in a moment, and nobody is told to leave alone what he has not touched.
    """
    silent = exchange.showing is not None and exchange.showing.silent
    return Refusal(CRM_NOT_SHOWN, fields=refusal.fields) if silent and refusal.reason in _DEPENDS else refusal


async def parts_of(vault: SurrogateVault, scanner: Scanner, tenant: str, held: str) -> list[VaultEntry]:
    """The entries whose surrogates stand in a text of the CRM; raises KeysUnavailable, StoreUnavailable."""
    return (await look_up(vault, scanner, tenant, [held])).inside(held)


async def says_the_same(
    vault: SurrogateVault,
    scanner: Scanner,
    exchange: Exchange,
    held: str,
    text: str,
    spec: FieldSpec,
    form: FormOf,
    mask_char: str,
) -> bool:
    """Whether a posted text says what the CRM holds, to the one who posted it.

    White space around it and kinds of line breaks do not count, because forms change both. It is no oracle: a part that
    the person does not see in clear is only the same as its surrogate or its mask. Raises KeysUnavailable,
    StoreUnavailable.
    """
    if exchange.decision is None:
        return False
    held, posted = held.strip(), text.strip()
    known = await look_up(vault, scanner, exchange.tenant, {held, posted})
    tokens: list[Sequence[str]] = []
    at = 0
    for hit, (start, end) in zip(known.hits.get(held, ()), known.spans(held), strict=True):
        tokens.append([held[at:start]])
        tokens.append(await _ways(known.entries.get(hit.canonical), hit.canonical, form, mask_char))
        at = end
    tokens.append([held[at:]])
    plain = [one for token in tokens[::2] for one in token]
    return all(_sees(exchange.decision.view, spec, one) for one in plain) and _says(_canonical(known, posted), tokens)


async def _ways(entry: VaultEntry | None, surrogate: str, form: FormOf, mask_char: str) -> list[str]:
    """Texts that stand for a surrogate before this person."""
    if entry is None:
        return [surrogate]
    seen, spelled = await form(entry), (entry.clear, *entry.spellings.values())
    if seen is Form.CLEAR:
        return [surrogate, *spelled]
    if seen is Form.MASKED:
        masks = [mask.wire_mask(entry.kind, clear, entry.surrogate) for clear in spelled]
        return [surrogate, PLACEHOLDER, *masks, *(mask.mask(entry.kind, clear, char=mask_char) for clear in spelled)]
    return [surrogate, PLACEHOLDER]


def _sees(view: FieldView, spec: FieldSpec, plain: str) -> bool:
    """Whether what stands in clear in the CRM is shown to this person in clear."""
    if spec.kind is not None and plain.strip():
        return view.form(spec.entity, spec.name, str(spec.kind), bound=True, owned=False) is Form.CLEAR
    kinds = {found.kind for found in recognise.find(plain)}
    return all((rule := view.by_kind.get(kind)) is not None and rule.other is Form.CLEAR for kind in kinds)


def _canonical(known: Returned, text: str) -> str:
    out, at = [], 0
    for hit, (start, end) in zip(known.hits.get(text, ()), known.spans(text), strict=True):
        out += [text[at:start], hit.canonical]
        at = end
    return "".join([*out, text[at:]])


def _says(text: str, tokens: Sequence[Sequence[str]]) -> bool:
    """Whether a text is one way after the other; the work is bounded by its length and the number of ways."""
    whole = _even(text)
    reach = {0}
    for token in tokens:
        ways = {_even(way) for one in token for way in (one, one.strip())}
        reach = {at + len(one) for at in reach for one in ways if whole.startswith(one, at)}
    return len(whole) in reach


def _even(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
