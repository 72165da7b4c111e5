"""A text that a JSON-RPC brings for a cell: one record in one call; what could be given to no record is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.database import Pool
from gateway.refusal import NEEDS_RECORD, Refusal
from policies.enforcer import DEFAULT_POLICY
from tests.real.celled_tryton import celled_tryton
from tests.unit.gateway.glue import JSON, Glue, open_glue

NOTE = 'Wants "no" calls.\nAsk for Zoé.'


@pytest.fixture
async def tryton(pool: Pool, keyring_path: Path, tmp_path: Path) -> AsyncIterator[Glue]:
    profile = tmp_path / "tryton.yaml"
    profile.write_text(celled_tryton(), encoding="utf-8")
    async with open_glue(pool, keyring_path, str(profile), DEFAULT_POLICY) as glue:
        yield glue


async def sent(glue: Glue, verb: str, params: list[Any], answer: object = None) -> list[Any]:
    """What Tryton gets of a call that it then answers."""
    body = orjson.dumps({"id": 1, "method": f"model.sale.opportunity.{verb}", "params": params})
    exchange = glue.exchange("POST", "/demo/rpc/", body=body, content_type=JSON)
    outgoing = await glue.protect(exchange, body, JSON)
    assert isinstance(outgoing.body, bytes)
    await glue.answer(exchange, orjson.dumps({"id": 1, "result": answer}), JSON)
    return list(orjson.loads(outgoing.body)["params"])


async def shown(glue: Glue, role: str, *rows: dict[str, Any]) -> list[Any]:
    """Rows of opportunities as somebody gets them."""
    body = orjson.dumps({"id": 1, "method": "model.sale.opportunity.read", "params": [[7, 8], ["comment"], {}]})
    exchange = glue.exchange("POST", "/demo/rpc/", role=role, body=body, content_type=JSON)
    _, told = await glue.answer(exchange, orjson.dumps({"id": 1, "result": list(rows)}), JSON)
    return list(orjson.loads(told)["result"])


async def test_a_comment_is_sealed_for_its_record_and_opens_in_its_own_row_only(tryton: Glue) -> None:
    ((made,), _) = await sent(tryton, "create", [[{"comment": NOTE, "description": "x"}], {}], [7])
    cell = made["comment"]
    assert cell.startswith("~G1.")
    first, second = await shown(tryton, "manager", {"id": 7, "comment": cell}, {"comment": cell, "id": 8})
    assert second["comment"] != NOTE
    assert first["comment"] != NOTE  # the same cell in two rows belongs to neither for sure
    (alone,) = await shown(tryton, "manager", {"comment": cell, "id": 7})
    assert alone["comment"] == NOTE
    (hidden,) = await shown(tryton, "sales", {"comment": cell, "id": 7})
    assert hidden["comment"] == cell
    _, again, _ = await sent(tryton, "write", [[7], {"comment": NOTE}, {}])
    assert again["comment"] == cell


@pytest.mark.parametrize(
    ("verb", "params"),
    [
        ("create", [[{"comment": "one"}, {"comment": "two"}], {}]),
        ("create", [[{"description": "one"}, {"comment": "two"}], {}]),
        ("write", [[7, 8], {"comment": "one"}, {}]),
        ("write", [[7], {"description": "x"}, [8], {"comment": "two"}, {}]),
        ("import_data", [["description", "comment"], [["x", "one"]], {}]),
    ],
)
async def test_a_text_that_could_be_given_to_no_record_is_refused(tryton: Glue, verb: str, params: list[Any]) -> None:
    with pytest.raises(Refusal) as refused:
        await sent(tryton, verb, params)
    assert refused.value.reason is NEEDS_RECORD


async def test_other_fields_of_several_records_pass(tryton: Glue) -> None:
    await sent(
        tryton, "create", [[{"description": "a", "comment": ""}, {"description": "b", "comment": None}], {}], [7, 8]
    )
    await sent(tryton, "write", [[7, 8], {"description": "x"}, {}])
