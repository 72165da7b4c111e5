"""A connection remembers the fields it repeats, and nothing of one request reaches another."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from gateway import headers
from gateway.block import Block, Memory
from gateway.exchange import Exchange
from gateway.network import Allowlist, Tenant
from gateway.origin import Origins
from gateway.refusal import Refusal

HOST = (b"host", b"crm.localhost")
ORIGINS = Origins("https://crm.localhost", "http://127.0.0.1:18101")
TENANT = Tenant("main", ORIGINS, cast("Any", None), cast("Any", None), Allowlist())
OTHER = Tenant(
    "other", Origins("https://a.localhost", "http://127.0.0.2:9"), cast("Any", None), cast("Any", None), Allowlist()
)
Raw = list[tuple[bytes, bytes]]


def sent(raw: Raw, memory: Memory | None, tenant: Tenant = TENANT, **options: Any) -> bytes:
    """What goes to the CRM for these fields."""
    scope = {"type": "http", "method": "GET", headers.TARGET: b"/x", "headers": raw, headers.MEMORY: memory}
    head = headers.parse(scope)
    exchange = Exchange("x1", datetime(2026, 11, 1, tzinfo=UTC), head)
    return headers.upstream_headers(
        head, exchange, tenant, target="/x", length=0, pairs=headers.cookies(head), **options
    )


def test_the_same_fields_are_read_once() -> None:
    memory = Memory()
    first = memory.block([HOST, (b"cookie", b"a=1")])
    assert memory.block([HOST, (b"cookie", b"a=1")]) is first


@pytest.mark.parametrize("other", [[HOST], [HOST, (b"cookie", b"a=2")], [(b"cookie", b"a=1"), HOST], [HOST] * 1])
def test_other_fields_are_read_anew(other: Raw) -> None:
    memory = Memory()
    memory.block([HOST, (b"cookie", b"a=1")])
    assert memory.block(other).fields == Block(other).fields


def test_a_list_that_changes_afterwards_is_not_taken_for_what_it_was() -> None:
    memory, raw = Memory(), [HOST]
    first = memory.block(raw)
    raw.append((b"cookie", b"a=1"))
    assert memory.block(raw) is not first
    assert memory.block([HOST]).named == {"host": "crm.localhost"}


def test_what_goes_to_the_crm_is_the_same_with_and_without_memory() -> None:
    memory = Memory()
    rows: list[tuple[Raw, Tenant, dict[str, Any]]] = [
        ([HOST, (b"cookie", b"a=1; __Host-crmgate=secret"), (b"referer", b"https://crm.localhost/l?q=x")], TENANT, {}),
        ([HOST, (b"cookie", b"a=1; b=2")], TENANT, {}),
        ([HOST, (b"cookie", b"a=1; b=2")], TENANT, {"withheld": frozenset({"b"})}),
        ([HOST, (b"cookie", b"a=1; b=2")], TENANT, {"referer": "http://127.0.0.1:18101/y"}),
        ([HOST, (b"cookie", b"a=1; b=2")], OTHER, {}),
        ([HOST, (b"cookie", b"a=1; b=2"), (b"if-none-match", b'"e"')], TENANT, {"asset": True}),
        ([HOST, (b"cookie", b"a=1; b=2"), (b"if-none-match", b'"e"')], TENANT, {"asset": False}),
        ([HOST, (b"connection", b"keep-alive"), (b"connection", b"x-a"), (b"x-a", b"1")], TENANT, {}),
    ]
    for raw, tenant, options in [*rows, *reversed(rows)]:
        assert sent(list(raw), memory, tenant, **options) == sent(list(raw), None, tenant, **options)


@pytest.mark.parametrize(
    "fields",
    [
        [HOST, HOST],
        [HOST, (b"content-length", b"1"), (b"content-length", b"1")],
        [HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [HOST, (b"upgrade", b"h2c")],
        [(b"host", b"a b")],
        [(b"host", b"a" * 300)],
        [],
    ],
)
def test_what_is_refused_is_never_remembered(fields: Raw) -> None:
    memory = Memory()
    for _ in range(2):
        with pytest.raises(Refusal):
            memory.block(list(fields))
    assert memory.block([HOST]).host == "crm.localhost"
