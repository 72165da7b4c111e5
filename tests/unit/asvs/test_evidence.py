"""Only what ran and passed is shown."""

import pytest

from tests.asvs.evidence import Recorder, State, judge, markdown, totals
from tests.asvs.requirement import Requirement

TWO = ("a.py::test_one", "a.py::test_two")


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ({"a.py::test_one": True, "a.py::test_two": True}, State.SHOWN),
        ({"a.py::test_one[en]": True, "a.py::test_one[zh]": True, "a.py::test_two": True}, State.SHOWN),
        ({"a.py::test_one[en]": True, "a.py::test_one[zh]": False, "a.py::test_two": True}, State.FAILED),
        ({"a.py::test_one": True}, State.NOT_RUN),
        ({"a.py::test_one": True, "a.py::test_two_more": True}, State.NOT_RUN),
        ({}, State.NOT_RUN),
    ],
)
def test_a_requirement_is_shown_by_all_of_its_tests_only(outcomes: dict[str, bool], state: State) -> None:
    (finding,) = judge([Requirement("1.1.1", 1, "topic", TWO)], outcomes)
    assert finding.state is state


def test_what_is_open_or_absent_never_counts_as_shown() -> None:
    passed = dict.fromkeys(TWO, True)
    requirements = [
        Requirement("1.1.1", 1, "topic", TWO, open="why"),
        Requirement("1.1.2", 1, "topic", TWO, absent="why"),
        Requirement("1.1.3", 1, "topic", (), open="why"),
    ]
    findings = judge(requirements, passed)
    assert [each.state for each in findings] == [State.OPEN, State.ABSENT, State.OPEN]
    assert totals(findings) == {State.SHOWN: 0, State.FAILED: 0, State.NOT_RUN: 0, State.OPEN: 2, State.ABSENT: 1}
    assert [each.state for each in judge(requirements, {TWO[0]: False})][:2] == [State.FAILED, State.FAILED]


def test_a_test_counts_as_passed_when_set_up_call_and_tear_down_did() -> None:
    recorder = Recorder()
    for when, outcome in (("setup", "passed"), ("call", "passed"), ("teardown", "failed")):
        recorder.pytest_runtest_logreport(_report("a.py::test_torn", when, outcome))
    recorder.pytest_runtest_logreport(_report("a.py::test_unready", "setup", "failed"))
    recorder.pytest_runtest_logreport(_report("a.py::test_left_out", "setup", "skipped"))
    for when in ("setup", "call", "teardown"):
        recorder.pytest_runtest_logreport(_report("a.py::test_fine", when, "passed"))
    assert recorder.outcomes == {
        "a.py::test_torn": False,
        "a.py::test_unready": False,
        "a.py::test_left_out": False,
        "a.py::test_fine": True,
    }


def test_the_table_has_a_line_for_each_and_says_why_not() -> None:
    text = markdown(judge([Requirement("1.1.1", 2, "topic", TWO, open="a | b")], dict.fromkeys(TWO, True)))
    assert "| 1.1.1 | 2 | topic | open | 2 of 2 | a \\| b; `a.py::test_one`, `a.py::test_two` |" in text
    assert "open: 1" in text
    assert "of 1 requirements" in text


def _report(node: str, when: str, outcome: str) -> pytest.TestReport:
    return pytest.TestReport(node, ("", None, ""), {}, outcome, None, when)  # type: ignore[arg-type]
