"""What a field of a record holds now, and what a write leaves there.

The vault's live origins say where a value stands. A role that may not write a field may post back what stands there,
and nothing else: neither a value from an old page nor an empty text. After a write that the CRM accepted, the origins
of every field that was in it say what the field holds from then on; what it held before no longer stands there.
"""

from collections.abc import Awaitable, Callable, Sequence

from gateway.exchange import Exchange
from kms.scanner import Scanner
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import Form
from policies.profile import Action

Place = tuple[str, str, str]  # entity, field, record
IMPORTED = "import."  # begins the cells of imports, whose rows name no records; the CRM's key of their maker follows
PASTED = "pasted."  # the cell of surrogates that somebody who does not see their values has put somewhere


def cell_of(exchange: Exchange, *, table: bool = False) -> str:
    """Under which origins without a record are kept until the answer tells it; table: rows of one, which name none."""
    imports = table or (exchange.operation is not None and exchange.operation.action is Action.IMPORT)
    if not imports:
        return exchange.id
    maker = exchange.crm_user or ""
    return f"{IMPORTED}{maker}.{exchange.id}" if maker.isascii() and maker.isalnum() else IMPORTED + exchange.id


def maker_of(cell: str) -> str:
    """Whom the CRM takes the person for who made the import of a cell, "" where nobody knows."""
    first, dot, rest = cell.removeprefix(IMPORTED).partition(".")
    return first if dot and rest and cell.startswith(IMPORTED) else ""


def note_held(exchange: Exchange, places: Sequence[Place], surrogate: str | None, *, alone: bool) -> None:
    """Remember what this update leaves in a field; None: nothing.

    alone: whether the profile says that this is the whole field; else others may stand beside it and nothing ends.
    """
    if alone and exchange.operation is not None and exchange.operation.action is Action.UPDATE:
        for place in places:
            held = exchange.held.setdefault(place, set())
            if surrogate is not None:
                held.add(surrogate)


def note_text(exchange: Exchange, scanner: Scanner, places: Sequence[Place], text: str, *, alone: bool) -> None:
    """The same for a whole text with the surrogates in it."""
    found = [hit.canonical for hit in scanner.find(text.encode("utf-8", "surrogatepass"))] if alone else []
    for surrogate in found or (None,):
        note_held(exchange, places, surrogate, alone=alone)


async def holds(vault: SurrogateVault, tenant: str, places: Sequence[Place], entry: VaultEntry) -> bool:
    """Whether this value stands in all these fields now; raises KeysUnavailable, StoreUnavailable."""
    for place in places:
        if entry.surrogate not in {one.surrogate for one in await vault.at_origin(tenant, *place)}:
            return False
    return bool(places)


async def is_filled(vault: SurrogateVault, tenant: str, places: Sequence[Place]) -> bool:
    """Whether one of these fields holds a value; raises KeysUnavailable, StoreUnavailable."""
    for place in places:
        if await vault.at_origin(tenant, *place):
            return True
    return False


async def standing(
    vault: SurrogateVault,
    tenant: str,
    places: Sequence[Place],
    text: str,
    form: Callable[[VaultEntry], Awaitable[Form]],
) -> VaultEntry | None:
    """The value that stands in all these fields when it reads exactly like this and its reader sees it clear.

    It is no oracle: only what the person may see is compared. Raises KeysUnavailable, StoreUnavailable.
    """
    found: VaultEntry | None = None
    for place in places:
        for entry in await vault.at_origin(tenant, *place):
            spelled = (entry.spellings.get(place, entry.clear), entry.clear)
            if text in spelled and await form(entry) is Form.CLEAR and (found is None or found == entry):
                found = entry
                break
        else:
            return None
    return found
