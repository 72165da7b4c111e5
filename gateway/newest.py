"""Which record a create has made, asked from the CRM itself where its answer does not say so.

Some CRMs answer a create with a redirect to a list. The profile then says where the newest records are listed; they are
asked for with the writer's own session, right after the CRM accepted the create. The record is the only one whose text
holds a name that this very create brought: its surrogate is minutes younger than any other record and nobody has seen
it yet, so nobody can have put it anywhere else. Where that tells nothing, the values belong to no known record, as
before.
"""

import asyncio
from collections.abc import Collection, Sequence

from gateway import headers
from gateway.answer import UpstreamError
from gateway.exchange import Exchange, Head
from gateway.network import Tenant
from policies.profile import Profile

ASK_S = 3.0
LIST_LIMIT_BYTES = 1024 * 1024
_KEPT = frozenset({"accept-language", "authorization", "user-agent"})


class Newest:
    """Asks for one exchange; names: surrogates of the names that its create brings, none of them seen before."""

    def __init__(
        self, tenant: Tenant, exchange: Exchange, pairs: Sequence[tuple[str, str]], withheld: Collection[str]
    ) -> None:
        self._tenant = tenant
        self._exchange = exchange
        self._pairs = pairs
        self._withheld = withheld
        self.names: set[str] = set()

    async def record(self, profile: Profile) -> str | None:
        """The id of the new record; None where the CRM does not tell, or not in time."""
        exchange = self._exchange
        operation = exchange.operation
        target = profile.newest_address(operation, exchange.head.path) if operation is not None else None
        if operation is None or target is None or not self.names:
            return None
        try:
            async with asyncio.timeout(ASK_S):
                status, body = await self._ask(target)
        except (UpstreamError, TimeoutError):
            return None
        return profile.made_rules[operation.id].record(body, self.names, profile.record_ids) if status == 200 else None

    async def _ask(self, target: str) -> tuple[int, bytes]:
        head, tenant = self._exchange.head, self._tenant
        path, _, query = target.partition("?")
        fields = (*(pair for pair in head.headers if pair[0] in _KEPT), ("accept", "application/json"))
        asking = Head("GET", target, path, query, head.host, fields, False, None)
        line = headers.upstream_headers(
            asking,
            self._exchange,
            tenant,
            target=tenant.origins.target_to_upstream(target),
            length=None,
            pairs=self._pairs,
            withheld=self._withheld,
        )
        answer = await tenant.pool.request(b"GET", line)
        return answer.status, await answer.read(LIST_LIMIT_BYTES)
