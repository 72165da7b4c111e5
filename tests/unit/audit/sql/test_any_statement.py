"""Whatever passes reads allowed things of one tenant only; statements are put together by hypothesis."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from audit.entry import encode
from audit.event_row import EVENT, SIGHT
from audit.log import AuditLog
from audit.sql import grammar
from audit.sql.answer import QueryFailed
from audit.sql.engine_store import Engine, Room
from audit.sql.hot_store import as_arrow
from audit.sql.refused import REASONS, StatementRefused
from audit.sql.statement import GIVEN, SCHEMA, check
from audit.tree import leaf_hash
from tests.unit.audit.sql.conftest import NOW, Trails, entry, seal

NAMES = sorted({*EVENT.names, *SIGHT.names})
WORDS = [
    *NAMES, "event", "sight", "x", "SELECT", "FROM", "WHERE", "WITH", "AS", "(", ")", ",", "*", "JOIN", "LEFT JOIN",
    "USING (index)", "ON true", "GROUP BY", "ORDER BY", "LIMIT 5", "UNION ALL", "'b-r3'", "'../x'", "1", "=", ">",
    "count(*)", "read_text('/etc/passwd')", "getenv('HOME')", "trail.hot_event", "information_schema.tables", ";",
    "COPY", "PRAGMA", "max(actor)", "OVER ()", "NOT", "AND", "OR", "EXISTS", "IN", "CASE WHEN true THEN 1 END",
    "DISTINCT", "::VARCHAR", "INTERVAL 1 DAY", "now()", "-- x\n", "/*", "*/", "?", "$1", "[", "]", "{", "}",
    "COLUMNS(*)",
    "VALUES (1)", "LATERAL", "PIVOT", "sqlite_master", '"event"', "'event'", "memory.main.x", "QUALIFY true", ".",
]  # fmt: skip
tables = st.sampled_from(["event", "sight"])
literals = st.sampled_from(["'a-r3'", "'b-r3'", "'a-u1'", "'b-u1'", "''", "'%'", "'allowed'"])
texts = st.sampled_from(["actor", "actor_login", "operation", "entity", "record", "data_subject"])


@st.composite
def conditions(draw: st.DrawFn) -> str:
    """A condition over columns of both tables."""
    one = st.one_of(
        st.builds("{} = {}".format, texts, literals),
        st.builds("{} <> {}".format, texts, literals),
        st.builds("{} LIKE {}".format, texts, literals),
        st.builds("{} IN ({}, {})".format, texts, literals, literals),
        st.builds("index {} {}".format, st.sampled_from(["<", ">=", "="]), st.integers(0, 40)),
        st.builds("at >= now() - INTERVAL {} DAY".format, st.integers(0, 400)),
        st.builds("actor IN (SELECT actor FROM {} WHERE {} = {})".format, tables, texts, literals),
    )
    parts = draw(st.lists(one, min_size=1, max_size=3))
    joined = draw(st.sampled_from([" AND ", " OR "])).join(parts)
    return draw(st.sampled_from(["{}", "NOT ({})", "({})"])).format(joined)


@st.composite
def queries(draw: st.DrawFn) -> str:
    """A statement that is likely to pass."""
    table, condition = draw(tables), draw(conditions())
    form = draw(
        st.sampled_from(
            [
                "SELECT * FROM {t} WHERE {c} ORDER BY ALL",
                "SELECT actor_login, count(*) AS n FROM {t} WHERE {c} GROUP BY 1 ORDER BY ALL",
                "WITH x AS (SELECT * FROM {t} WHERE {c}) SELECT actor, record FROM x ORDER BY ALL",
                "SELECT e.record, s.actor FROM event e LEFT JOIN {t} s USING (index) WHERE e.index > 3 ORDER BY ALL",
                "SELECT record FROM {t} WHERE {c} UNION ALL SELECT actor FROM event ORDER BY 1",
                "SELECT actor, row_number() OVER (PARTITION BY actor ORDER BY index) FROM {t} WHERE {c} ORDER BY ALL",
            ]
        )
    )
    return form.format(t=table, c=condition)


def only_allowed(written: str) -> None:
    for node in parse_one(written, read="duckdb").walk():
        if isinstance(node, exp.Table):
            assert (node.db == SCHEMA and node.name in grammar.TABLES) or (not node.db and node.name.startswith(GIVEN))
            assert isinstance(node.this, exp.Identifier)
        assert not isinstance(node, exp.Command | exp.DDL | exp.DML | exp.Copy | exp.Lateral | exp.Unnest | exp.Hint)


@settings(max_examples=400)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_any_words_are_refused_for_a_reason_or_become_a_plain_question(text: str) -> None:
    for given_text in (text, f"SELECT {text}", f"SELECT * FROM event WHERE {text}"):
        try:
            made = check(given_text, NOW, rows=10, most_rows=100)
        except StatementRefused as refused:
            known = refused.reason in REASONS
        else:
            known = made.limit <= 100
            only_allowed(made.sql)
        assert known


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_any_text_is_refused_for_a_reason_or_becomes_a_plain_question(text: str) -> None:
    try:
        only_allowed(check(text, NOW, rows=10, most_rows=100).sql)
    except StatementRefused as refused:
        outcome = refused.reason
        assert outcome in REASONS


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[duckdb.DuckDBPyConnection | Engine, Engine]]:
    """Tenant a's rows half in a file, and all of them in memory."""
    folder: Path = tmp_path_factory.mktemp("both")
    made = [entry("a", number) for number in range(30)]
    segment = seal(folder, "a", made[:15], 0)
    halves, whole = Engine(Room(200, 1)), Engine(Room(200, 1))

    def rows(start: int) -> dict[str, object]:
        found = [(n, one.at, leaf_hash(encode(one)), encode(one)) for n, one in enumerate(made)][start:]
        return as_arrow(found, ("event", "sight"), NAMES)

    halves.add(rows(15))
    halves.close_off({"event": [segment.event_file], "sight": [segment.sight_file]})
    whole.add(rows(0))
    whole.close_off({})
    yield halves, whole
    halves.close()
    whole.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(queries())
def test_a_file_and_the_database_together_answer_as_the_whole_would(both: tuple[Engine, Engine], text: str) -> None:
    made = check(text, NOW, rows=2_000, most_rows=5_000)
    only_allowed(made.sql)
    halves, whole = both
    assert halves.run(made.sql).to_pylist() == whole.run(made.sql).to_pylist()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=queries())
def test_rows_of_another_tenant_never_appear_and_none_of_ones_own_is_missing(
    trails: Trails, both: tuple[Engine, Engine], loop_of: asyncio.Runner, text: str
) -> None:
    try:
        answer = loop_of.run(trails.ask(text, "a"))
    except QueryFailed as failed:
        pytest.fail(f"{failed.reason} {failed.told}")
    rows = answer.table.to_pylist()
    assert "b-" not in str([value for row in rows for value in row.values() if not isinstance(value, bytes)])
    assert b'"tenant":"b"' not in b"".join(row.get("body") or b"" for row in rows)
    assert rows == both[1].run(check(text, NOW, rows=200, most_rows=2_000).sql).slice(0, 200).to_pylist()


@pytest.fixture(scope="module")
def loop_of() -> Iterator[asyncio.Runner]:
    """A loop for examples, which hypothesis runs outside of one."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def trails(dsn: str, tmp_path: Path, loop_of: asyncio.Runner) -> Trails:
    """As of conftest, but filled in a loop that has ended."""
    from tests.unit.audit.sql.conftest import Sealed

    entries = {tenant: [entry(tenant, number) for number in range(30)] for tenant in ("a", "b")}

    async def fill() -> None:
        log = AuditLog(dsn)
        await log.start()
        for made in entries.values():
            for one in made:
                await log.append(one)
        await log.close()

    loop_of.run(fill())
    held = {tenant: [seal(tmp_path / "cold", tenant, made[:12], 0)] for tenant, made in entries.items()}
    return Trails(dsn, Sealed(held), entries)
