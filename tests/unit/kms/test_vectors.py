"""Our own known answers: every suite and the stream give exactly these bytes, and nothing bad opens."""

import json
from pathlib import Path
from typing import Any

import pytest

from kms import stream_flow
from kms.envelope import SUITES, Context, EnvelopeInvalid, FieldKey, Sealing, is_held, open_typed, seal
from kms.stream import Head, StreamInvalid, StreamSealer
from kms.value_key import derived
from tests.vectors import make_g1

VECTORS: dict[str, Any] = json.loads(Path(make_g1.FILE).read_text(encoding="utf-8"))
KEY = FieldKey(bytes.fromhex(VECTORS["key"]["id"]), bytes.fromhex(VECTORS["key"]["secret"]))
KEYS = {KEY.id: KEY}
HELD = derived(KEY, bytes.fromhex(VECTORS["value_key"]))
ERRORS: dict[str, type[Exception]] = {"EnvelopeInvalid": EnvelopeInvalid, "StreamInvalid": StreamInvalid}
BY_NAME = {suite.name: suite for suite in SUITES.values()}


def place_of(vector: dict[str, Any]) -> Context:
    place = dict(vector["place"])
    cell = place.pop("cell", None)
    return Context(**place, cell=None if cell is None else bytes.fromhex(cell))


def test_the_file_is_what_its_program_makes() -> None:
    assert make_g1.vectors() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["envelopes"]["good"], ids=lambda one: str(one["what"]))
def test_good_envelopes_are_made_and_opened(vector: dict[str, Any]) -> None:
    sealing = Sealing(BY_NAME[vector["suite"]], vector.get("committed", False), legacy=True)
    kind, plain, blob = make_g1.TYPES[vector["type"]], bytes.fromhex(vector["plain"]), bytes.fromhex(vector["blob"])
    nonce = bytes.fromhex(VECTORS["nonce"])
    place = place_of(vector)
    held = vector.get("held", False)
    key, pad_to = HELD if held else KEY, vector.get("pad_to", 0)
    assert seal(key, plain, place, nonce, pad_to=pad_to, kind=kind, sealing=sealing, held=held) == blob
    assert open_typed({key.id: key}, blob, place, held=held) == (kind, plain)
    assert is_held(blob) == held
    for other in (KEY, HELD):
        for said in (True, False):
            if (other, said) != (key, held):
                with pytest.raises(EnvelopeInvalid):
                    open_typed({other.id: other}, blob, place, held=said)


@pytest.mark.parametrize(
    "vector", VECTORS["envelopes"]["bad"], ids=lambda one: f"{one['suite']}: {one['why']}".replace(" ", "-")
)
def test_bad_envelopes_fail_as_said(vector: dict[str, Any]) -> None:
    blob = bytes.fromhex(vector["blob"])
    for key, held in ((KEY, False), (HELD, True), (HELD, False)):
        with pytest.raises(ERRORS[vector["expect"]]) as caught:
            open_typed({key.id: key}, blob, place_of(vector), held=held)
        assert str(caught.value) == "the envelope does not open"


@pytest.mark.parametrize("vector", VECTORS["streams"]["good"], ids=lambda one: f"{one['suite']}-{one['size']}")
def test_good_streams_are_made_and_opened(vector: dict[str, Any]) -> None:
    plain, blob, place = make_g1.text(vector["size"]), bytes.fromhex(vector["blob"]), place_of(vector)
    suite = BY_NAME[vector["suite"]]
    held = vector.get("held", False)
    key, other = (HELD, KEY) if held else (KEY, HELD)
    salt = bytes.fromhex(VECTORS["salt"])
    sealer = StreamSealer(key, place, salt, chunk=vector["chunk"], suite=suite, held=held)
    assert b"".join(stream_flow.seal_pieces(sealer, [plain])) == blob
    assert b"".join(stream_flow.open_pieces({key.id: key}, place, [blob])) == plain
    assert Head.parse(blob[: len(sealer.head)]).held == held
    with pytest.raises(StreamInvalid):
        list(stream_flow.open_pieces({other.id: other}, place, [blob]))


@pytest.mark.parametrize("vector", VECTORS["streams"]["bad"], ids=lambda one: str(one["why"]).replace(" ", "-"))
def test_bad_streams_fail_as_said(vector: dict[str, Any]) -> None:
    for key in (KEY, HELD):
        with pytest.raises(ERRORS[vector["expect"]]) as caught:
            list(stream_flow.open_pieces({key.id: key}, place_of(vector), [bytes.fromhex(vector["blob"])]))
        assert str(caught.value) == "the file does not open"
