"""What years cost, drawn out from real segments."""

from pathlib import Path

import pytest

from audit.cold.plan import Measured, Wanted, drawn_out, invented, lines, measure
from audit.event_row import rows_of
from audit.tree import leaf_hash


def test_invented_entries_are_ones_the_log_would_take_and_the_same_again() -> None:
    first, again = (list(invented(300, 1, 1_000)) for _ in range(2))
    assert first == again
    kinds = {rows_of(index, at, leaf_hash(body), body)[0]["operation"] for index, at, body in first}
    assert kinds >= {"contact.read", "contact.list", "contact.update", "sign-in.password"}


def test_what_is_measured_lies_on_the_disk(tmp_path: Path) -> None:
    wanted = Wanted(events=4_000, segment_entries=1_000)
    made = measure(tmp_path, wanted, lambda _: None)
    sizes = sum(path.stat().st_size for path in tmp_path.glob("*.parquet"))
    assert (made.events, made.segments, made.event_bytes + made.sight_bytes) == (4_000, 4, sizes)
    assert {count for times in made.queries.values() for count, _, _ in times} == {4, 400}
    assert made.sought_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.hashes"))
    assert made.pass_s > 0
    told = "\n".join(lines(made, wanted))
    assert "opens only segments that can hold it" in told
    assert "1826000000 entries, 7304000 segments" not in told
    assert f"{wanted.total} entries" in told


def test_a_query_is_drawn_out_along_what_was_measured() -> None:
    assert drawn_out([(4, 0.2, 1), (8, 0.3, 1)], 108) == pytest.approx(2.8)
    assert drawn_out([(4, 0.2, 1), (8, 0.3, 1)], 6) == pytest.approx(0.25)
    assert drawn_out([(4, 0.2, 1), (8, 0.3, 1)], 1) == pytest.approx(0.2)


def test_size_and_price_follow_from_bytes_an_entry() -> None:
    wanted = Wanted(events=1, segment_entries=1_000_000, per_day=1_000_000, years=5, price=0.02)
    made = Measured(events=100, sights=0, segments=1, event_bytes=5_000, sight_bytes=5_000, seal_s=1, verify_s=1)
    told = "\n".join(lines(made, wanted))
    assert wanted.total == 1_826_000_000
    assert "1826 segments" in told
    assert "183 GB" in told
