"""The short form of `make onboarding`, and `crmgate learn` on a running gateway from start to drift."""

import json
import random
from pathlib import Path

import pytest

from gateway.demo.people import make_people
from gateway.learn.proposal import MOST_DECISIONS
from tests.drills.onboarding import UNKNOWN, Onboarding, command, drill, settled
from tests.drills.stack import installed
from tests.real.servers import tryton

pytestmark = pytest.mark.real


def judged(found: Onboarding) -> None:
    """The control sees what is there, nobody else does, and little was asked."""
    assert found.control is not None
    assert found.control.found["name"] > 0
    assert found.control.found["address"] > 0
    assert found.leaks == 0, [one.examples for one in found.findings]
    assert len(found.asked) <= MOST_DECISIONS
    assert "wrong" not in found.lint


@pytest.mark.timeout(1800)
def test_a_creme_nobody_described_is_protected_after_a_session_and_an_accepted_proposal() -> None:
    found = drill("creme", people=3, organisations=1, limit=40, pages=60)
    judged(found)
    assert found.drifted > 0  # a page was opened that nobody had opened while learning


@pytest.mark.timeout(1800)
def test_a_tryton_nobody_described_is_protected_after_a_session_and_an_accepted_proposal() -> None:
    found = drill("tryton", people=3, organisations=1, limit=30, pages=40)
    judged(found)
    assert "name" in {kind for field, kind in found.fields.items() if field.endswith(".name")}


@pytest.mark.timeout(1800)
def test_a_bottlecrm_nobody_described_shows_a_salesperson_their_own_customers_and_nobody_else_s() -> None:
    found = drill("bottle", people=4, organisations=1, limit=60, pages=80)
    judged(found)
    assert "owners" in found.confirmed
    assert "contact" in found.owner["entities"]
    assert found.own is not None
    assert found.own.found["name"] > 0
    assert found.own.found["address"] > 0


@pytest.mark.timeout(1800)
def test_the_command_watches_stores_no_value_overwrites_nothing_and_lists_what_drifts(tmp_path: Path) -> None:
    with tryton() as server, installed(server, UNKNOWN) as stack:
        assert command(stack, "learn", "proposal").returncode == 1
        document = tmp_path / "schema.json"
        document.write_text('{"openapi": "3.0.3", "paths": {}}')
        assert command(stack, "learn", "start", "--minutes", "60", "--document", document).returncode == 0
        assert "watched already" in command(stack, "learn", "start").stderr
        driver = stack.at_work("manager")
        person = make_people(random.Random(7), 1)[0]
        watching = json.loads(command(stack, "learn", "status", "--json").stdout)
        assert (watching["watching"], watching["document"]) == (True, "openapi")
        record = int(driver.add_person(person))
        driver.call("model.party.party.read", [[record], ["name"], {}])  # type: ignore[attr-defined]
        driver.browser.close()
        assert settled(stack)["exchanges"] > 0
        told = command(stack, "learn", "proposal", "--json").stdout + command(stack, "learn", "proposal").stdout
        assert "party" in told
        assert person.full_name not in told
        assert person.address not in told
        target = tmp_path / "learnt.yaml"
        assert command(stack, "learn", "accept", target).returncode == 0
        kept = target.read_text()
        refused = command(stack, "learn", "accept", target)
        assert (refused.returncode, target.read_text()) == (1, kept)
        assert "exists already" in refused.stderr
        assert not json.loads(command(stack, "learn", "status", "--json").stdout)["watching"]
        assert command(stack, "learn", "stop").stdout.strip() == "Nothing was watched."
        assert command(stack, "learn", "drift").returncode == 0
