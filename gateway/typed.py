"""What a person typed in this very request, so that a form that comes back shows it as it was typed.

A value that is stored already, on records the person may not see, is not shown again: the answer would say of every
guess whether it is somebody's, and whose. Reads have no form that comes back, so nothing is remembered for them.
"""

from collections.abc import Awaitable, Callable, Iterable

from gateway.exchange import Exchange
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import Form
from policies.profile import Action, Operation

_ASKS = frozenset({Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT})
_FORM = ".form"  # ends the ids of operations that only work on a form (on_change and its like)


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
) -> None:
    """Note the surrogates of typed values. placed: surrogate and whether its value is new to the vault.

    form: what the person may see of an entry. Raises KeysUnavailable, StoreUnavailable.
    """
    operation, decision = exchange.operation, exchange.decision
    if operation is not None and operation.action in _ASKS and not operation.id.endswith(_FORM):
        return
    known: set[str] = set()
    for surrogate, new in placed:
        if new or (decision is not None and decision.view.sees_everything):
            exchange.typed.add(surrogate)
        else:
            known.add(surrogate)
    known -= exchange.typed
    if not known:
        return
    for entry in (await vault.resolve(exchange.tenant, known)).values():
        bound = any(origin.record is not None for origin in entry.origins)
        if not bound or await form(entry) is not Form.HIDDEN:
            exchange.typed.add(entry.surrogate)
