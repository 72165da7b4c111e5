"""Synthetic audit entries like those of real work: one read of a record with five fields, lists, writes, refusals."""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from audit.entry import AuditEntry

TENANT = "main"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = ("name", "phone", "email", "id_card", "address")
LISTED = 10  # records on a page


def entries(seed: int, customers: int) -> Iterator[AuditEntry]:
    """Entries without end; customers: among how many each is about."""
    rng = random.Random(seed)
    people = [
        (f"u{_id(rng)}", f"login{number}", f"s{_id(rng)[:12]}", f"10.1.{number}.{number}") for number in range(200)
    ]
    for number in itertools.count():
        actor, login, session, client = people[int(rng.random() ** 2 * len(people))]
        record, kind, drawn = str(int(rng.random() * customers)), "outcome", rng.random()
        fields: dict[str, object] = {"roles": ("sales",), "session": session}
        operation, status, reason = "contact.read", 200, "allowed"
        if drawn < 0.7:
            fields["shown"] = {f"contact.{name}": {record: {"masked": 1}} for name in FIELDS}
        elif drawn < 0.8:
            page = [str(int(rng.random() * customers)) for _ in range(LISTED)]
            fields["shown"] = {f"contact.{name}": {one: {"masked": 1} for one in page} for name in FIELDS[:2]}
            operation, record = "contact.list", ""
        elif drawn < 0.95:
            kind, operation, status = "decision", "contact.update", 0
            fields["written"] = [f"contact.{name}" for name in FIELDS[:2]]
            fields["tokenised"] = {"name": 1, "phone": 1}
        else:
            kind, operation, status, reason = "refusal", "contact.export", 403, "not-allowed"
        yield AuditEntry(
            actor=actor,
            actor_login=login,
            at=BEGIN + timedelta(milliseconds=86 * number),  # a million a day
            client=client,
            crm_user=login,
            entity="contact",
            exchange=f"x{_id(rng)}",
            fields=fields,
            id=f"a{_id(rng)}",
            kind=kind,
            method="GET",
            operation=operation,
            path_shape=operation,
            policy="p7",
            reason=reason,
            record=record,
            status=status,
            tenant=TENANT,
        )


def _id(rng: random.Random) -> str:
    return f"{rng.getrandbits(104):026x}"
