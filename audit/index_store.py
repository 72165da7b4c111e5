"""SQL of the index of the trail: terms with the entries that have them, a copy that is made from the trail alone.

It says where to look and proves nothing. Terms are compared by `=`, which PostgreSQL lets through the wall between
tenants to an index; an array or a text search would read every row.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg import sql

from audit.question import ALLOWED, DECIDED_KINDS, FINE_REASONS, Question
from audit.store import Connection
from audit.terms import COMMON_KINDS, COMMON_REASONS, ENTRY_TERM, SEAM, TERMS_FORMAT


class Posting(NamedTuple):
    """That an entry, by its index, has a term. shown: ` field/form … ` where the term is a record or a field."""

    term: str
    at: datetime
    entry: int
    shown: str


@dataclass(frozen=True, slots=True)
class Hit:
    """Where the index says an answer is. actor, login: who it was, by the index; "" for nobody known."""

    at: datetime
    index: int
    shown: str
    actor: str
    login: str


async def claim(connection: Connection, tenant: str, *, wait: bool = False) -> bool:
    """Whether this transaction is the one that may write the tenant's index; wait: until it may."""
    if wait:
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('crmgate audit index ' || %s, 0))", (tenant,)
        )
        return True
    found = await connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('crmgate audit index ' || %s, 0))", (tenant,)
    )
    row = await found.fetchone()
    return bool(row and row[0])


async def reached(connection: Connection, tenant: str) -> int:
    """How many entries are indexed; 0 also where the terms were made in an older way."""
    found = await connection.execute(
        "SELECT next_index FROM audit_indexed WHERE tenant = %s AND format = %s", (tenant, TERMS_FORMAT)
    )
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def clear(connection: Connection, tenant: str) -> None:
    """Forget the index of a tenant."""
    await connection.execute("DELETE FROM audit_posting WHERE tenant = %s", (tenant,))
    await connection.execute("DELETE FROM audit_indexed WHERE tenant = %s", (tenant,))


async def begun(connection: Connection, tenant: str) -> bool:
    """Whether there is anything of an index, of whatever format."""
    found = await connection.execute("SELECT 1 FROM audit_indexed WHERE tenant = %s", (tenant,))
    return await found.fetchone() is not None


async def add(connection: Connection, tenant: str, postings: Sequence[Posting], next_index: int) -> None:
    """Add the terms of the entries up to `next_index`, and say so; both or none."""
    # No COPY: PostgreSQL has none into tables with row-level security.
    await connection.execute(
        "INSERT INTO audit_posting (tenant, term, at, index, shown)"
        " SELECT %s, * FROM unnest(%b::text[], %b::timestamptz[], %b::bigint[], %b::text[])",
        (tenant, *_columns(postings)),
    )
    await connection.execute(
        "INSERT INTO audit_indexed (tenant, next_index, format) VALUES (%s, %s, %s)"
        " ON CONFLICT (tenant) DO UPDATE SET next_index = EXCLUDED.next_index, format = EXCLUDED.format",
        (tenant, next_index, TERMS_FORMAT),
    )


async def remove(connection: Connection, tenant: str, postings: Sequence[Posting]) -> None:
    """Forget these terms: their entries are gone for good."""
    await connection.execute(
        "DELETE FROM audit_posting p USING unnest(%b::text[], %b::timestamptz[], %b::bigint[], %b::text[])"
        " AS w(term, at, index, shown) WHERE p.tenant = %s AND p.term = w.term AND p.at = w.at AND p.index = w.index",
        (*_columns(postings), tenant),
    )


async def missing(connection: Connection, tenant: str, postings: Sequence[Posting]) -> list[int]:
    """Indexes of entries some of whose terms are not in the index as they should be."""
    found = await connection.execute(
        "SELECT DISTINCT w.index FROM unnest(%b::text[], %b::timestamptz[], %b::bigint[], %b::text[])"
        " AS w(term, at, index, shown) LEFT JOIN audit_posting p"
        " ON (p.tenant, p.term, p.at, p.index, p.shown) = (%s, w.term, w.at, w.index, w.shown)"
        " WHERE p.term IS NULL ORDER BY 1",
        (*_columns(postings), tenant),
    )
    return [row[0] for row in await found.fetchall()]


def _columns(postings: Sequence[Posting]) -> Iterable[list[object]]:
    """Term, time, index and shown of all, for `%b`: as text psycopg takes two to twenty times as long over them."""
    return map(list, zip(*postings, strict=True)) if postings else ([], [], [], [])


async def hits(
    connection: Connection,
    tenant: str,
    question: Question,
    limit: int,
    *,
    before: tuple[datetime, int] | None = None,
    below: int,
) -> list[Hit]:
    """Where the newest answers are, newest first; `before`: time and index to page on from, `below`: of the index."""
    firsts, others = question.first_terms, question.terms[1:]
    joins: list[sql.Composable] = []
    values: dict[str, object] = {
        "entry": ENTRY_TERM, "seam": SEAM,
        "tenant": tenant, "firsts": list(firsts), "first": firsts[0], "limit": limit, "below": below,
        "shown": list(question.shown), "since": question.since, "until": question.until,
    }  # fmt: skip
    for number, term in enumerate(others):
        values[f"term{number}"] = term
        joins.append(
            sql.SQL(
                "JOIN audit_posting {q} ON {q}.tenant = p.tenant AND {q}.at = p.at AND {q}.index = p.index"
                " AND {q}.term = {term}"
            ).format(q=sql.Identifier(f"q{number}"), term=sql.Placeholder(f"term{number}"))
        )
    conditions = [sql.SQL("p.tenant = %(tenant)s AND p.index < %(below)s")]
    # A single name is found in the order of the index; several are sorted.
    conditions.append(sql.SQL("p.term = %(first)s" if len(firsts) == 1 else "p.term = ANY(%(firsts)s::text[])"))
    if question.shown:
        conditions.append(
            sql.SQL("EXISTS (SELECT FROM unnest(%(shown)s::text[]) AS one WHERE position(one IN p.shown) > 0)")
        )
    if question.since is not None:
        conditions.append(sql.SQL("p.at >= %(since)s"))
    if question.until is not None:
        conditions.append(sql.SQL("p.at < %(until)s"))
    if before is not None:
        conditions.append(sql.SQL("(p.at, p.index) < (%(before_at)s, %(before_index)s)"))
        values["before_at"], values["before_index"] = before
    conditions += _of_the_entry(question, values)
    query = sql.SQL(
        "SELECT p.at, p.index, p.shown, coalesce(split_part(e.shown, %(seam)s, 4), ''),"
        " coalesce(split_part(e.shown, %(seam)s, 5), '') FROM audit_posting p {}"
        " LEFT JOIN audit_posting e ON e.tenant = p.tenant AND e.at = p.at AND e.index = p.index AND e.term = %(entry)s"
        " WHERE {} ORDER BY p.at DESC, p.index DESC LIMIT %(limit)s"
    ).format(sql.SQL(" ").join(joins), sql.SQL(" AND ").join(conditions))
    found = await connection.execute(query, values, binary=True)
    rows = {row[1]: Hit(*row) for row in await found.fetchall()}
    return list(rows.values())


def _of_the_entry(question: Question, values: dict[str, object]) -> Iterable[sql.SQL]:
    """What most entries have is no term of its own: it is compared in what stands with the one that all have."""
    if question.kind in COMMON_KINDS:
        values["kind"] = question.kind
        yield sql.SQL("split_part(e.shown, %(seam)s, 1) = %(kind)s")
    if question.reason and question.reason in COMMON_REASONS:
        values["reason"] = question.reason
        yield sql.SQL("split_part(e.shown, %(seam)s, 2) = %(reason)s")
    if question.outcome:
        values["decided"], values["fine"] = list(DECIDED_KINDS), list(FINE_REASONS)
        values["refused"] = question.outcome != ALLOWED
        yield sql.SQL(
            "(CASE WHEN split_part(e.shown, %(seam)s, 1) = ANY(%(decided)s)"
            " THEN split_part(e.shown, %(seam)s, 2) <> ALL(%(fine)s)"
            " ELSE split_part(e.shown, %(seam)s, 3) >= '400' END) = %(refused)s"
        )
