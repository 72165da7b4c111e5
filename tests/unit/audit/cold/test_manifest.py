"""The signed description of a segment."""

from typing import Any

import pytest

from audit.archive import SegmentBroken
from audit.cold.manifest import check_chain, digest, open_manifest
from audit.note import Signer
from audit.tree import Frontier
from tests.unit.audit.cold.conftest import SIGNER


def test_what_is_signed_is_read_back(seal: Any) -> None:
    found = open_manifest(seal(7), "demo", SIGNER.verifier)
    assert (found.first, found.last, found.count, found.files["event"].rows) == (0, 6, 7, 7)
    assert found.after.size == 7
    assert found.classes["five-years"].count == 7


@pytest.mark.parametrize(
    ("old", "new"),
    [('"first":0', '"first":1'), ('"sha256":"', '"sha256":"0'), ('"count":7', '"count":8'), ("demo/0", "demo/1")],
)
def test_a_changed_manifest_is_refused(seal: Any, old: str, new: str) -> None:
    note = seal(7)
    assert old in note
    with pytest.raises(SegmentBroken):
        open_manifest(note.replace(old, new, 1), "demo", SIGNER.verifier)


def test_a_manifest_of_another_key_or_tenant_is_refused(seal: Any) -> None:
    note = seal(7)
    with pytest.raises(SegmentBroken):
        open_manifest(note, "demo", Signer(bytes(32)).verifier)
    with pytest.raises(SegmentBroken):
        open_manifest(note, "other", SIGNER.verifier)


def test_a_signed_manifest_that_contradicts_itself_is_refused(seal: Any) -> None:
    with pytest.raises(SegmentBroken, match="not ours or damaged"):
        open_manifest(seal(7, after=Frontier(7, [bytes(32)] * 3)), "demo", SIGNER.verifier)
    with pytest.raises(SegmentBroken, match="contradicts"):
        open_manifest(seal(7, classes={}), "demo", SIGNER.verifier)


def test_a_chain_is_read_from_its_beginning(seal: Any) -> None:
    notes = [seal(3), seal(9), seal(1)]
    assert [(one.first, one.last) for one in check_chain(notes, "demo", SIGNER.verifier)] == [(0, 2), (3, 11), (12, 12)]


def test_a_chain_with_a_hole_a_swap_or_another_past_is_refused(seal: Any) -> None:
    first, second, third = seal(3), seal(9), seal(1, previous=digest("another"))
    for notes in ([first, third], [second], [second, first], [first, second, third]):
        with pytest.raises(SegmentBroken, match="does not follow"):
            check_chain(notes, "demo", SIGNER.verifier)
