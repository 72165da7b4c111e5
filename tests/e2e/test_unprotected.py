"""A real Creme with clear people and nothing protected: the short form of the drill of the mixed state."""

import pytest

from tests.drills.stack import installed
from tests.drills.unprotected import UNMIGRATED, planted, posted_back, walked
from tests.real.servers import creme

pytestmark = pytest.mark.real


@pytest.mark.timeout(900)
def test_restricted_roles_see_no_declared_value_and_overwrite_none() -> None:
    with creme() as server:
        seeded = planted(server, 3, 1)
        with installed(server, UNMIGRATED) as stack:
            control, *findings = walked(stack, seeded, 60)
            assert control.found["name"] >= 3  # the control sees what is there
            assert control.found["address"] >= 3
            for one in findings:
                assert sum(one.found.values()) == 0, one.examples
            assert set(posted_back(stack, seeded)) == {"409"}
