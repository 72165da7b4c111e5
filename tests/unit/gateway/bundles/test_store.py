"""The table itself keeps the history and the four eyes, whatever program writes to it."""

import psycopg
import pytest

from gateway.bundles.bundle import Act
from tests.unit.gateway.bundles.office import DELETING, SHIPPED, TENANT, Office

REFUSED = (
    "UPDATE policy_bundle SET rows = 'p, sales, *, op:*, *, any' WHERE number = 1",
    "UPDATE policy_bundle SET published_login = 'somebody' WHERE number = 1",
    "UPDATE policy_bundle SET state = 'draft' WHERE number = 1",
    "UPDATE policy_bundle SET drafted_by = 'x' WHERE number = 2",
    "UPDATE policy_bundle SET state = 'published' WHERE number = 2",
    """UPDATE policy_bundle SET state = 'published', published_by = drafted_by, published_login = 'an',
             published_at = now() WHERE number = 2""",
    """UPDATE policy_bundle SET state = 'published', published_by = 'other', published_login = 'other',
             published_at = now() WHERE number = 2""",
    "DELETE FROM policy_bundle WHERE number = 2",
    "TRUNCATE policy_bundle",
)


async def test_what_nobody_may_do_is_refused_in_sql(office: Office) -> None:
    """The one before the last three would be right but for a second bundle in force."""
    assert await office.proposed(SHIPPED + DELETING) == 2
    for statement in REFUSED:
        with pytest.raises(psycopg.Error):
            async with office.pool.connection() as db:
                await db.execute(statement)
    published = await office.store.published(TENANT)
    assert published is not None
    assert (published.number, published.rows) == (1, SHIPPED)


async def test_the_drafter_is_no_publisher_for_the_store_either(office: Office) -> None:
    number = await office.proposed(SHIPPED + DELETING)
    drafter = Act(office.people["an"].user.id, "an", office.clock())
    assert not await office.store.publish(TENANT, number, 1, drafter)
    published = await office.store.published(TENANT)
    assert published is not None
    assert published.number == 1
