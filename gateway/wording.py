"""What people may do to a free text whose personal parts they may not write: everything but to those parts.

The rights of a part are those of its kind in that text. Who lacks the right to write a kind adds no part of it, takes
none away and moves none here from elsewhere; the words around stay theirs. An import may replace texts that nobody has
read, so it takes the right to every kind.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.exchange import Exchange
from gateway.facts import writing
from gateway.refusal import TEXT_PART_NOT_WRITABLE, Refusal
from kms.tokens import NewValue, VaultEntry
from policies.decision import Form
from policies.operation import Action
from policies.profile import FieldSpec
from policies.taxonomy import Kind

WRITES = frozenset({Action.CREATE, Action.UPDATE, Action.IMPORT})


@dataclass(slots=True)
class Piece:
    """A part of a text that becomes a surrogate: character offsets and the value to seal.

    surrogate: "" until it is known; a part that stands there already keeps the one it has.
    """

    start: int
    end: int
    value: NewValue
    surrogate: str = ""


def locked_kinds(
    exchange: Exchange, spec: FieldSpec, records: Sequence[str] | None = None, *, declared: bool
) -> frozenset[str]:
    """Kinds of values that this write may not put into a free text; raises Refusal for an import that may not at all.

    records: those that this very text is written to, None: those of the operation. declared: whether a profile declares
    the text; what it does not, an import cannot replace.
    """
    decision, operation = exchange.decision, exchange.operation
    if decision is None or operation is None or operation.action not in WRITES or decision.view.sees_everything:
        return frozenset()
    view = writing(exchange, spec.entity, records)
    locked = frozenset(kind.value for kind in Kind if not view.rule(spec.entity, spec.name, kind.value).writable)
    if locked and declared and operation.action is Action.IMPORT:
        raise Refusal(TEXT_PART_NOT_WRITABLE, fields=(spec.name,))
    return locked


async def keep_parts(
    locked: frozenset[str],
    spec: FieldSpec,
    pieces: Iterable[Piece],
    inside: Sequence[VaultEntry],
    there: Sequence[Sequence[VaultEntry]],
    form: Callable[[VaultEntry], Awaitable[Form]],
    *,
    whole: bool,
) -> None:
    """Let a text pass whose parts of locked kinds are those that stand there now.

    pieces: clear parts of the text, which get the surrogate that stands there where they read like it and the writer
    sees it; inside: entries whose surrogates are in it; there: what stands in the field of each record that is written;
    whole: whether the text is all that the field holds. Raises Refusal(TEXT_PART_NOT_WRITABLE).
    """
    refused = Refusal(TEXT_PART_NOT_WRITABLE, fields=(spec.name,))
    everywhere = set.intersection(*({entry.surrogate for entry in one} for one in there)) if there else set()
    kept = {entry.surrogate for entry in inside}
    if any(entry.kind in locked and entry.surrogate not in everywhere for entry in inside):
        raise refused
    for piece in pieces:
        if piece.value.kind in locked:
            read_like = [one for one in (there[0] if there else ()) if piece.value.clear in _spelled(one)]
            same = [one for one in read_like if one.surrogate in everywhere and await form(one) is Form.CLEAR]
            if not same:
                raise refused
            piece.surrogate = same[0].surrogate
            kept.add(piece.surrogate)
    if whole and any(entry.kind in locked and entry.surrogate not in kept for one in there for entry in one):
        raise refused


def _spelled(entry: VaultEntry) -> set[str]:
    return {entry.clear, *entry.spellings.values()}
