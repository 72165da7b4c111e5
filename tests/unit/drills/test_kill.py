"""How the kill drill judges: every event of what was acknowledged, once."""

from tests.drills.kill import judge
from tests.drills.kill_load import CREATE, READ, REFUSED


def entry(number: int, kind: str, client: str, **more: object) -> dict[str, object]:
    return {"id": f"a{number}", "exchange": f"x{client}", "kind": kind, "client": client, "fields": {}, **more}


def test_each_event_of_an_acknowledged_exchange_counts() -> None:
    entries = [entry(1, "decision", "fd00::1"), entry(2, "outcome", "fd00::1"), entry(3, "outcome", "fd00::2")]
    ledger = {"fd00::1": CREATE, "fd00::2": READ}
    assert judge(ledger, entries).lost == judge(ledger, entries).duplicated == []
    assert judge(ledger, entries[1:]).lost == ["create from fd00::1: its decision is lost"]
    assert judge({"fd00::3": REFUSED}, entries).lost == ["refused from fd00::3: its refusal is lost"]
    assert judge(ledger, [*entries, entries[2]]).duplicated[0] == "event a3 is there 2 times"
    again = judge({}, [*entries, entry(4, "outcome", "fd00::2")])
    assert again.duplicated == ["outcome of exchange xfd00::2: 2 times"], "another id does not hide it"


def test_entries_of_exchanges_that_were_not_acknowledged_are_no_fault() -> None:
    judged = judge({}, [entry(1, "decision", "fd00::1")])
    assert judged.lost == judged.duplicated == []
