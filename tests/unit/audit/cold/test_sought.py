"""Segments that are passed over: never one that holds an answer."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.archive import SegmentBroken
from audit.cold.segment_file import Draft, check_segment
from audit.cold.sought import check_sought, may_hold
from audit.entry import AuditEntry, encode
from audit.sql.engine_store import Engine, Room
from audit.sql.hot_store import wanted
from audit.sql.statement import check
from audit.tree import Frontier

AT = datetime(2026, 3, 4, tzinfo=UTC)
NOW = datetime(2026, 11, 27, tzinfo=UTC)
Files = tuple[Path, Path, Path]
ACTORS, RECORDS = ("u1", "u2", "u3"), ("", "r1", "r2", "r3", "r4")


def sealed(folder: Path, first: int, told: Sequence[Mapping[str, str]]) -> Files:
    draft = Draft(lambda _: "")
    for place, one in enumerate(told):
        shown = {"contact.phone": {one["seen"]: {"clear": 1}}} if one["seen"] else {}
        entry = AuditEntry(
            actor=one["actor"], at=AT + timedelta(seconds=first + place), data_subject=one["person"], entity="contact",
            fields={"shown": shown}, id=f"e{first + place}", kind="decision", operation="contact.read",
            reason="allowed", record=one["record"], tenant="demo",
        )  # fmt: skip
        draft.add([(first + place, entry.at, encode(entry))])
    files = folder / f"{first}.event", folder / f"{first}.sight", folder / f"{first}.hashes"
    draft.write(*files)
    return files


def asked(engine_files: Sequence[Files], statement: str) -> list[dict[str, Any]]:
    engine = Engine(Room(memory_mb=200, threads=1))
    try:
        checked = check(statement, NOW, rows=1_000, most_rows=1_000)
        engine.close_off({"event": [one[0] for one in engine_files], "sight": [one[1] for one in engine_files]})
        rows: list[dict[str, Any]] = engine.run(checked.sql).to_pylist()
        return rows
    finally:
        engine.close()


def kept(files: Sequence[Files], statement: str) -> list[Files]:
    """Those that may hold an answer."""
    engine = Engine(Room(memory_mb=200, threads=1))
    try:
        sought = wanted(check(statement, NOW, rows=1_000, most_rows=1_000).narrowing, engine.constant)
    finally:
        engine.close()
    return [one for one in files if may_hold(one[2], sought)]


ENTRY = st.fixed_dictionaries(
    {
        "actor": st.sampled_from(ACTORS),
        "record": st.sampled_from(RECORDS),
        "seen": st.sampled_from(RECORDS),
        "person": st.sampled_from(("", "p1", "p2")),
    }
)
COMPARED = st.one_of(
    st.builds(
        "{} = '{}'".format,
        st.sampled_from(("actor", "record", "data_subject")),
        st.sampled_from((*RECORDS, "u2", "p1")),
    ),
    st.builds("record IN ('{}', '{}')".format, st.sampled_from(RECORDS), st.sampled_from(RECORDS)),
    st.sampled_from(("record <> 'r1'", "record LIKE 'r%'", "NOT record = 'r2'", "lower(actor) = 'u1'", "actor > 'u1'")),
)  # fmt: skip
CONDITION = st.builds(
    lambda parts, sign: sign.join(f"({one})" for one in parts),
    st.lists(COMPARED, min_size=1, max_size=3),
    st.sampled_from((" AND ", " OR ")),
)
STATEMENT = st.one_of(
    st.builds(
        "SELECT index, record FROM {} WHERE {} ORDER BY ALL".format, st.sampled_from(("event", "sight")), CONDITION
    ),
    st.builds(
        "SELECT (SELECT count(*) FROM event WHERE {}) AS a, count(*) AS b FROM sight WHERE {}".format,
        CONDITION, CONDITION,
    ),
    st.builds(
        "SELECT e.index FROM event e JOIN sight s ON e.index = s.index WHERE e.actor = 'u1' AND {} ORDER BY ALL".format,
        st.sampled_from(("s.record = 'r1'", "s.record IN ('r2', 'r9')", "e.record = 'r3' OR s.record = 'r1'")),
    ),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(ENTRY, min_size=1, max_size=4), min_size=1, max_size=5),
    st.lists(STATEMENT, min_size=1, max_size=3),
)
def test_answers_are_the_same_with_and_without_passing_over(
    parts: list[list[dict[str, str]]], statements: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        files, first = [], 0
        for part in parts:
            files.append(sealed(Path(name), first, part))
            first += len(part)
        for statement in statements:
            assert asked(kept(files, statement), statement) == asked(files, statement), statement


def test_what_no_segment_holds_opens_none(tmp_path: Path) -> None:
    part = {"actor": "u1", "record": "r1", "seen": "r2", "person": "p1"}
    files = [sealed(tmp_path, 0, [part]), sealed(tmp_path, 1, [{**part, "actor": "u2"}])]
    assert kept(files, "SELECT index FROM sight WHERE record = 'r9'") == []
    assert kept(files, "SELECT index FROM event WHERE actor = 'u2' AND record IN ('r1', 'r8')") == files[1:]
    # A name of another column is no name of this one.
    assert kept(files, "SELECT index FROM event WHERE actor = 'r1'") == []
    assert kept(files, "SELECT index FROM sight") == files


def test_a_file_that_says_less_or_more_than_its_segment_is_found_by_verifying(tmp_path: Path) -> None:
    part = {"actor": "u1", "record": "r1", "seen": "r2", "person": "p1"}
    event, sight, hashes = sealed(tmp_path, 0, [part])
    check_sought(hashes, event, sight)
    right = hashes.read_bytes()
    for wrong in (right[4:], right + bytes(4), b""):
        hashes.write_bytes(wrong)
        with pytest.raises(SegmentBroken, match="what it says"):
            check_sought(hashes, event, sight)
    draft = Draft(lambda _: "")
    draft.add([(0, AT, encode(AuditEntry(at=AT, fields={}, id="e", kind="decision", tenant="demo")))])
    draft.write(event, sight, hashes)
    after = Frontier()
    after.extend(draft.leaves)
    check_segment(event, sight, Frontier(), after, hashes)
    hashes.write_bytes(right)
    with pytest.raises(SegmentBroken, match="what it says"):
        check_segment(event, sight, Frontier(), after, hashes)
