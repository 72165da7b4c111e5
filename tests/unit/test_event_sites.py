"""Nothing writes an entry that the catalogue does not know."""

import ast

from audit.catalogue import UNLISTED, catalogue, tag_of
from gateway.access import users
from tests.unit.event_sites import ACCOUNT_REFUSED, ROOT, sites


def test_every_place_that_writes_an_entry_has_a_line_in_the_catalogue() -> None:
    found = list(sites())
    assert len({site.place for site in found}) > 100
    unlisted = [site for site in found if tag_of(vars_of(site)) == UNLISTED]
    assert not unlisted


def test_every_line_of_the_catalogue_is_written_somewhere() -> None:
    written = {tag_of(vars_of(site)) for site in sites()}
    lines = {line.tag for line in catalogue().values() if line.marks}
    assert lines <= written


def test_problems_of_accounts_are_those_that_the_source_has() -> None:
    tree = ast.parse((ROOT / "gateway/access/users.py").read_text(encoding="utf-8"))
    raised = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == users.AccountRefused.__name__
        and isinstance(node.args[0], ast.Constant)
    }
    assert raised == set(ACCOUNT_REFUSED)


def vars_of(site: object) -> dict[str, object]:
    return {name: getattr(site, name) for name in ("kind", "operation", "reason", "status")} | {"fields": {}}
