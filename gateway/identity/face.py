"""How one CRM learns whom it deals with: what the pipeline asks of a tenant whose identity is not passed through."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.answer import Answer
from gateway.exchange import Exchange, Head, Principal
from gateway.identity.api_client import Admission, presented
from gateway.refusal import CRM_SIGN_IN_HERE, Refusal
from policies.operation import Action

Again = Callable[[], Awaitable[Answer]]
CLIENT_MARK = "c-"  # ids of API clients begin so, those of people never


class Way(Protocol):
    """Gives an exchange what it bears."""

    async def bear(self, exchange: Exchange) -> None: ...


class Carrying(Way, Protocol):
    """Carries sessions at the CRM."""

    async def settle(self, exchange: Exchange, answer: Answer, again: Again | None) -> Answer: ...

    async def leave(self, principal: Principal, client: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Of one tenant. asserted: header or token; carried: sessions of people (people) and of programs; neither: the
    CRM's own sign-in passes. admission: None where no programs may come in. ends: ends a gateway session.
    """

    private: frozenset[str]
    asserted: Way | None
    carried: Carrying | None
    people: bool
    admission: Admission | None
    ends: Callable[[str, str], Awaitable[object]]

    def client_token(self, head: Head) -> str:
        """The token of an API client, "" where none is presented or none may come in; raises Refusal."""
        return "" if self.admission is None else presented(head)

    async def client(self, token: str, exchange: Exchange, certificate: str) -> Principal:
        """Whose token it is; raises Refusal CLIENT_UNKNOWN, CLIENT_NOT_HERE; StoreUnavailable."""
        assert self.admission is not None
        return await self.admission.principal(token, exchange, certificate)

    def withheld(self, principal: Principal) -> frozenset[str]:
        """CRM credentials of the client that do not pass: cookies by name, and "authorization"."""
        if self._carries(principal):
            return self.private
        return frozenset({"authorization"}) if self.asserted is not None else frozenset()

    async def bear(self, exchange: Exchange) -> None:
        """Give the exchange what it bears; raises as gateway.identity.carried and .asserted do."""
        principal, operation = exchange.principal, exchange.operation
        assert principal is not None
        if self._carries(principal):
            assert self.carried is not None
            await self.carried.bear(exchange)
        elif self.asserted is not None:
            if operation is not None and operation.action is Action.LOGIN:
                raise Refusal(CRM_SIGN_IN_HERE)
            await self.asserted.bear(exchange)

    async def settle(self, exchange: Exchange, answer: Answer, again: Again | None) -> Answer:
        """The answer to hand on: the session's cookies are out of it, and an ended session was renewed once."""
        if exchange.bearing is None or not exchange.bearing.number:
            return answer
        assert self.carried is not None
        return await self.carried.settle(exchange, answer, again)

    def leaves(self, exchange: Exchange) -> bool:
        """Whether this is the CRM's sign-out of somebody whose session is carried."""
        principal, operation = exchange.principal, exchange.operation
        assert principal is not None
        return operation is not None and operation.action is Action.LOGOUT and self._carries(principal)

    async def leave(self, exchange: Exchange) -> None:
        """Sign out at the CRM and here; raises AuditUnavailable, StoreUnavailable."""
        principal = exchange.principal
        assert principal is not None
        assert self.carried is not None
        await self.carried.leave(principal, exchange.client_address)
        if not is_program(principal):
            await self.ends(principal.session_id, "crm-signed-out")

    def _carries(self, principal: Principal) -> bool:
        return self.people or is_program(principal)


def is_program(principal: Principal) -> bool:
    """Whether an API client passes."""
    return principal.id.startswith(CLIENT_MARK)
