"""What a person typed in this very request, so that a form that comes back shows it as it was typed.

A value that is stored already, on records the person may not see, is not shown again: the answer would say of every
guess whether it is somebody's, and whose. Of a stored value that belongs to no known record (an import waits for its
records, a CRM without a profile never tells any) only who brought it first, in the same sign-in, gets it back: a form
that is refused twice. Reads have no form that comes back, so nothing is remembered for them.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

from gateway.exchange import Exchange
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import Form
from policies.profile import Action, Operation

_ASKS = frozenset({Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT})
_FORM = ".form"  # ends the ids of operations that only work on a form (on_change and its like)
_MOST = 50_000  # surrogates of all sign-ins that one process remembers


class Brought:
    """Which surrogates a sign-in brought first; one per process, and what it forgets comes back hidden.

    most: surrogates that are remembered; the oldest go first.
    """

    __slots__ = ("_first", "_most")

    def __init__(self, most: int = _MOST) -> None:
        self._first: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._most = most

    def note(self, exchange: Exchange, surrogate: str) -> None:
        """Remember one that was new to the vault."""
        if exchange.principal is None:
            return
        self._first[exchange.tenant, exchange.principal.session_id, surrogate] = None
        if len(self._first) > self._most:
            self._first.popitem(last=False)

    def by(self, exchange: Exchange, surrogate: str) -> bool:
        """Whether this very sign-in brought it."""
        principal = exchange.principal
        return principal is not None and (exchange.tenant, principal.session_id, surrogate) in self._first


def merges(operation: Operation | None) -> bool:
    """Whether an operation makes one record of two; the profile says so."""
    return operation is not None and "merges" in operation.extra


def writes_to_records(operation: Operation | None) -> bool:
    """Whether what stands in the body is written: a read that names a record never puts values on it."""
    return operation is None or operation.action not in _ASKS


def only_asks(exchange: Exchange) -> bool:
    """Whether a form is worked on by somebody who sees everything, and nothing of it is stored.

    While a CRM is not fully protected it may hold the same value in clear, and looks for it when it warns of
    duplicates; a surrogate would never meet it.
    """
    operation, decision = exchange.operation, exchange.decision
    if operation is None or decision is None:
        return False
    return operation.action in _ASKS and operation.id.endswith(_FORM) and decision.view.sees_everything


async def remember(
    vault: SurrogateVault,
    exchange: Exchange,
    placed: Iterable[tuple[str, bool]],
    form: Callable[[VaultEntry], Awaitable[Form]],
    brought: Brought,
) -> None:
    """Note the surrogates of typed values. placed: surrogate and whether its value is new to the vault.

    form: what the person may see of an entry; brought: what this and other sign-ins brought before. Raises
    KeysUnavailable, StoreUnavailable.
    """
    operation, decision = exchange.operation, exchange.decision
    if operation is not None and operation.action in _ASKS and not operation.id.endswith(_FORM):
        return
    known: set[str] = set()
    everything = decision is not None and decision.view.sees_everything
    for surrogate, new in placed:
        if new or everything:
            exchange.typed.add(surrogate)
            if not everything:
                brought.note(exchange, surrogate)
        else:
            known.add(surrogate)
    known -= exchange.typed
    if not known:
        return
    for entry in (await vault.resolve(exchange.tenant, known)).values():
        bound = any(origin.record is not None for origin in entry.origins)
        if (not bound and brought.by(exchange, entry.surrogate)) or await form(entry) is not Form.HIDDEN:
            exchange.typed.add(entry.surrogate)
