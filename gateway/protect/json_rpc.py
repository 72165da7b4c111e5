"""Walks a CRM that speaks JSON-RPC (Tryton): search, read and write of each object.

A write names the time stamp of what was read, so the CRM itself refuses it when somebody was faster.
"""

import contextlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.protect.client import CrmClient
from gateway.protect.credential import Credential
from gateway.protect.reading import CrmRefused, CrmSignInRefused, CrmUnreachable, Listed, Reading, RecordChanged
from gateway.protect.session import Session
from policies.walk import Walk, WalkEntity

JSON = "application/json"
_STAMP = "_timestamp"


@dataclass(frozen=True, slots=True)
class _Stamp:
    """The time stamp of what was read."""

    value: object


class _RpcFault(Exception):  # noqa: N818 - what the CRM said
    """An error the CRM answers with; kind is the class of the error only."""

    permanent = True

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class JsonRpc:
    """One signed-in session; errors as CrmDriver says."""

    def __init__(self, client: CrmClient, walk: Walk, credential: Credential, at_once: int = 1) -> None:
        self.at_once = at_once
        self.batch = 8 * at_once
        self._client = client
        self._walk = walk
        self._credential = credential
        self._path = str(walk.sign_in["path"]).replace("{db}", credential.extra.get("db", ""))
        self._session = Session(self._sign_in)

    async def page(self, entity: WalkEntity, place: str) -> Listed:
        """Ids in the order of their making, archived records too; place is the last id of the page before."""
        size = self._walk.page
        domain = [["id", ">", int(place or 0)]]
        found = await self._call(entity, "search", [domain, 0, size, [["id", "ASC"]], _all()])
        return Listed([str(one) for one in found], str(max(found)) if len(found) >= size else "")

    async def newer(self, entity: WalkEntity, after: int, place: str) -> Listed:
        """Ids greater than this one: lists are in that order anyway."""
        return await self.page(entity, place or str(after))

    async def read(self, entity: WalkEntity, record: str) -> Reading | None:
        """The declared fields of a record that hold text."""
        names = [one.name for one in entity.fields] + sorted(entity.deciding)
        parent = [entity.parent[1]] if entity.parent else []
        owner = [entity.owner] if entity.owner else []
        try:
            found = await self._call(entity, "read", [[int(record)], [*names, *parent, *owner, _STAMP], _all()])
        except CrmRefused as fault:
            if fault.problem == "AccessError":  # Tryton's answer for a record that is gone
                return None
            raise
        if not found:
            return None
        told: dict[str, Any] = found[0]
        texts = {name: value for name in names if isinstance(value := told.get(name), str)}
        hangs_on = str(told[parent[0]]) if parent and told.get(parent[0]) is not None else ""
        return Reading(
            entity, record, texts, {}, hangs_on, owner=_owner(told, entity.owner), state=_Stamp(told.get(_STAMP))
        )

    async def gone(self, entity: WalkEntity, record: str) -> bool:
        """Never sure: Tryton answers alike for what is gone and for what the credential may not see."""
        return False

    async def write(self, reading: Reading, new: Mapping[str, str]) -> None:
        """Write the changed fields."""
        entity = reading.entity
        context = _all()
        if isinstance(reading.state, _Stamp):
            name = entity.object.removeprefix("model.")
            context[_STAMP] = {f"{name},{reading.record}": reading.state.value}
        try:
            await self._call(entity, "write", [[int(reading.record)], dict(new), context])
        except CrmRefused as fault:
            if fault.problem == "ConcurrencyException":
                raise RecordChanged from None
            raise

    async def create(self, entity: WalkEntity, values: Mapping[str, object]) -> str:
        """A new record, for the company the account works for where the profile says who tells it."""
        context: dict[str, Any] = {}
        asked = self._walk.sign_in.get("preferences")
        if asked:
            try:
                await self._session.current()
                told = await self._ask(str(asked), [True, {}])
            except _RpcFault as fault:
                raise CrmRefused(fault.kind) from None
            company = told.get("company") if isinstance(told, dict) else None
            context = {"company": company} if isinstance(company, int) else {}
        given = {name: int(str(value)) if self._is_parent(entity, name) else value for name, value in values.items()}
        made = await self._call(entity, "create", [[given], context])
        return str(made[0])

    async def remove(self, entity: WalkEntity, record: str) -> None:
        """Delete a record, by the calls that it takes in this CRM."""
        for verb in entity.removed_by:
            await self._call(entity, verb, [[int(record)], {}])

    async def close(self) -> None:
        """Sign out and end the connections."""
        if self._session.number:
            with contextlib.suppress(_RpcFault, CrmUnreachable, CrmSignInRefused):
                await self._ask("common.db.logout", [])
        await self._client.close()

    def _is_parent(self, entity: WalkEntity, name: str) -> bool:
        return entity.parent is not None and name == entity.parent[1]

    async def _call(self, entity: WalkEntity, verb: str, params: list[Any]) -> Any:
        number = await self._session.current()
        try:
            try:
                return await self._ask(f"{entity.object}.{verb}", params)
            except CrmSignInRefused:
                await self._session.instead_of(number)
                return await self._ask(f"{entity.object}.{verb}", params)
        except _RpcFault as fault:
            raise CrmRefused(fault.kind) from None

    async def _sign_in(self) -> None:
        self._client.headers.clear()
        login, password = self._credential.login, self._credential.password
        try:
            told = await self._ask(str(self._walk.sign_in["method"]), [login, {"password": password}, "en"])
        except _RpcFault:
            raise CrmSignInRefused("the CRM does not let the service credential in") from None
        if not isinstance(told, list) or len(told) < 2:
            raise CrmSignInRefused("the CRM does not let the service credential in")
        session = b64encode(f"{login}:{told[0]}:{told[1]}".encode()).decode()
        self._client.headers["authorization"] = f"Session {session}"
        await self._credential.used()

    async def _ask(self, method: str, params: list[Any]) -> Any:
        body = orjson.dumps({"id": 1, "method": method, "params": params})
        page = await self._client.post(self._path, body, JSON)
        if page.status in (401, 403):
            raise CrmSignInRefused("the CRM does not know the session of the service credential")
        if page.status != 200:
            raise CrmUnreachable(f"the CRM answers {page.status} to a call")
        try:
            value = orjson.loads(page.body)
        except ValueError:
            raise CrmUnreachable("the CRM answers a call with something else than JSON") from None
        if isinstance(value, dict) and "error" in value:
            error = value["error"]
            kind = error[0] if isinstance(error, list) and error else ""
            raise _RpcFault(kind if isinstance(kind, str) and kind.isascii() and kind.isalnum() else "error")
        return value["result"] if isinstance(value, dict) and "result" in value else value


def _owner(told: Mapping[str, Any], column: str) -> str:
    """A column of the record itself, or of one it hangs on: `party.create_uid` stands under `party.`."""
    first, dot, rest = column.partition(".")
    found: Any = told.get(first + dot)
    if dot:
        found = found.get(rest) if isinstance(found, dict) else None
    return str(found) if isinstance(found, int) else ""


def _all() -> dict[str, Any]:
    return {"active_test": False, "language": "en"}
