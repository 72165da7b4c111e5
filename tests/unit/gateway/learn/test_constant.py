"""Numbers that are part of every address are no records; one that differs, or is rare, stays a parameter."""

from gateway.learn.constant import LEAST, Numbers, written_out
from gateway.learn.evidence import FORM, Evidence
from gateway.learn.route import template_of


def noted(*paths: str) -> dict[str, str]:
    numbers = Numbers()
    for path in paths:
        numbers.note(template_of(path), path)
    return numbers.constant()


def test_a_number_in_most_addresses_is_kept_and_numbers_of_records_are_not() -> None:
    told = noted(*(f"/en/123/crm/contact/{number}/change" for number in range(LEAST)))
    assert told == {"/en/{n}": "123"}


def test_what_differs_once_or_was_seen_seldom_is_a_parameter() -> None:
    assert noted(*["/en/123/list"] * LEAST, "/en/124/list") == {}
    assert noted(*["/en/123/list"] * (LEAST - 1)) == {}
    assert noted(*["/en/123/list"] * LEAST, *[f"/other/{word}" for word in "ab" * LEAST]) == {}


def test_evidence_is_written_out_wherever_the_number_stood() -> None:
    found = Evidence(constant={"/en/{n}": "123"})
    route = found.route("POST /en/{n}/contact/{n}/change")
    assert route is not None
    route.leads["/en/{n}/contact/{n}"] += 1
    stat = found.place(FORM, "POST /en/{n}/contact/{n}/change", "owner")
    assert stat is not None
    found.owners[(FORM, "POST /en/{n}/contact/{n}/change", "owner", "own")] = 3
    told = written_out(found)
    assert list(told.routes) == ["POST /en/123/contact/{n}/change"]
    assert list(told.routes["POST /en/123/contact/{n}/change"].leads) == ["/en/123/contact/{n}"]
    assert list(told.places) == [(FORM, "POST /en/123/contact/{n}/change", "owner")]
    assert list(told.owners) == [(FORM, "POST /en/123/contact/{n}/change", "owner", "own")]


def test_processes_that_saw_different_numbers_keep_none() -> None:
    one, other = Evidence(constant={"/en/{n}": "123"}), Evidence(constant={"/en/{n}": "7"})
    one.add(other)
    assert written_out(Evidence.of(one.plain())).constant == {"/en/{n}": ""}
