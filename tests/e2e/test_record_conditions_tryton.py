"""Rights over parties of one language on a real Tryton: a call that asks for the language is told it, no other one."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.demo.browser import Browser
from gateway.demo.driver import TrytonDriver
from gateway.demo.people import Person, make_people
from gateway.demo.tryton import DATABASE
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import installed
from tests.e2e.visitors import at_work, close_all
from tests.real.servers import tryton

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
POLICY = """
p, french, *, op:*, *, any
p, french, *, kind:*, search, any
p, french, *, field:party.*, clear, any, where=party.language:{}
p, french, *, field:party.*, write, any
"""
PARTY = "model.party.party"


@dataclass
class Office:
    """People at work; languages: their numbers in this Tryton, ours first; parties: one of each, and one of none."""

    french: TrytonDriver
    direct: TrytonDriver
    languages: tuple[int, int]
    parties: list[tuple[int, Person]]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    policy = tmp_path_factory.mktemp("conditions") / "policy.csv"
    with tryton() as server:
        direct = TrytonDriver(Browser(server.url))
        direct.log_in("wang.manager", server.passwords["wang.manager"])
        ours, other = (
            direct.call("model.ir.lang.search", [[["code", "=", one]], 0, 1, None, {}])[0] for one in ("fr", "en")
        )
        policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY.format(ours), encoding="utf-8")
        with installed(server, f'[tenant.main]\npolicy = "{policy}"\n') as stack:
            manager, french = (at_work(stack, role, "wang.manager") for role in ("manager", "french"))
            assert isinstance(french, TrytonDriver)
            people = make_people(random.Random(20261129), 3, foreign_share=0)
            parties = [(int(manager.add_person(one)), one) for one in people]
            for (record, _), language in zip(parties, (ours, other, None), strict=True):
                direct.call(f"{PARTY}.write", [[record], {"lang": language}, {}])
            yield Office(french, direct, (ours, other), parties)
            close_all()
        direct.browser.close()


def read(office: Office, *more: str) -> dict[int, dict[str, Any]]:
    ids = [record for record, _ in office.parties]
    found = office.french.call(f"{PARTY}.read", [ids, ["name", "mobile", "email", *more], {}])
    return {one["id"]: one for one in found}


def searched(office: Office, *more: str) -> dict[int, dict[str, Any]]:
    domain = [["id", "in", [record for record, _ in office.parties]]]
    asked = [domain, 0, 100, None, ["name", "mobile", "email", *more], {}]
    return {one["id"]: one for one in office.french.call(f"{PARTY}.search_read", asked)}


def test_parties_of_the_language_open_where_the_answer_tells_it(office: Office) -> None:
    for told in (read(office, "lang"), searched(office, "lang")):
        for (record, person), clear in zip(office.parties, (True, False, False), strict=True):
            for name, value in (("name", person.full_name), ("mobile", person.phone), ("email", person.email)):
                assert (told[record][name] == value) is clear, name
    for untold in (read(office), searched(office)):
        for record, person in office.parties:
            assert not {person.full_name, person.phone, person.email} & set(map(str, untold[record].values()))
    ids = [record for record, _ in office.parties]
    table = str(office.french.call(f"{PARTY}.export_data", [ids, ["name", "mobile", "email"], {}]))
    for _, person in office.parties:
        assert not [value for value in (person.full_name, person.phone, person.email) if value in table]


@pytest.mark.parametrize("name", ["lang", "langs"])
def test_nobody_gives_a_party_his_own_language(office: Office, name: str) -> None:
    ours, other = office.languages
    record, person = office.parties[1]
    given: dict[str, Any] = {"lang": ours} if name == "lang" else {"langs": [["create", [{"lang": ours}]]]}
    body = {"id": 1, "method": f"{PARTY}.write", "params": [[record], given, {}]}
    answer = office.french.browser.post_json(f"/{DATABASE}/rpc/", body)
    assert (answer.status, "field-not-writable" in answer.text) == (403, True)
    assert office.direct.call(f"{PARTY}.read", [[record], ["lang"], {}])[0]["lang"] == other
    assert read(office, "lang")[record]["name"] != person.full_name
