"""Makes tests/vectors/g1.json: known answers of the G1 envelope and the G1 stream, from the primitives alone.

Nothing of kms is imported, so that the format is written down twice. Keys and nonces count up; people do not occur.
Each bad vector says why it is bad and which error is expected; a test holds the file against this program.
Run: python -m tests.vectors.make_g1
"""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC, GCM
from cryptography.hazmat.primitives.hashes import SHA256, SM3, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.padding import PKCS7

FILE = Path(__file__).with_name("g1.json")
SECRET = bytes(range(32))
KEY_ID = bytes.fromhex("a1b2c3d4")
NONCE = bytes(range(0x10, 0x1C))
CELL = bytes(range(0xC0, 0xC8))
SALT = bytes(range(0x20, 0x40))
PLACE = {"tenant": "acme", "application": "crm", "entity": "contact", "field": "note", "record": "4711"}
CELL_PLACE = PLACE | {"record": "", "cell": CELL.hex()}
TYPES = {"text": 1, "integer": 2, "decimal": 3, "date": 4, "boolean": 5, "json": 6}
NAMES = {0x11: "aes-256-gcm", 0x12: "aes-256-siv", 0x21: "sm4-gcm", 0x31: "3des-cbc-hmac"}
HELD, COMMITTED, IN_CELL, CHUNKED, PADDED = 0x08, 0x10, 0x20, 0x40, 0x80
VALUE_KEY = bytes(range(0x60, 0x80))


def mac(key: bytes, data: bytes, algorithm: HashAlgorithm | None = None) -> bytes:
    """HMAC, of SHA-256 unless said otherwise."""
    made = hmac.HMAC(key, algorithm or SHA256())
    made.update(data)
    return made.finalize()


def sm4_gcm(key: bytes, nonce: bytes, plain: bytes, additional: bytes) -> bytes:
    """SM4-GCM: ciphertext and tag."""
    encryptor = Cipher(SM4(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(additional)
    return encryptor.update(plain) + encryptor.finalize() + encryptor.tag


def held_secret() -> bytes:
    """What takes the place of the secret where a value key takes part: HKDF-SHA-256, the value key as salt."""
    return HKDF(SHA256(), 32, VALUE_KEY, b"crmgate held value 1").derive(SECRET)


def body(
    suite: int, record: bytes, plain: bytes, additional: bytes, nonce: bytes = NONCE, secret: bytes = SECRET
) -> bytes:
    """The body of a suite, as kms/README.md describes it."""
    if suite == 0x11:
        key = HKDFExpand(SHA256(), 32, b"G1 val" + record).derive(secret)
        return nonce + AESGCM(key).encrypt(nonce, plain, additional)
    if suite == 0x12:
        return AESSIV(HKDFExpand(SHA256(), 64, b"G1 siv").derive(secret)).encrypt(plain, [additional])
    if suite == 0x21:
        key = HKDFExpand(SM3(), 16, b"G1 val" + record).derive(secret)
        return nonce + sm4_gcm(key, nonce, plain, additional)
    key = HKDFExpand(SHA256(), 24, b"G1 3des key" + record).derive(secret)
    tag_key = HKDFExpand(SHA256(), 32, b"G1 3des mac" + record).derive(secret)
    padder = PKCS7(64).padder()
    encryptor = Cipher(TripleDES(key), CBC(mac(tag_key, b"iv" + nonce)[:8])).encryptor()
    sealed = nonce + encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    return sealed + mac(tag_key, b"tag" + len(additional).to_bytes(4) + additional + sealed)[:16]


def commitment(suite: int, record: bytes, secret: bytes = SECRET) -> bytes:
    """16 bytes that commit to the key."""
    label = b"G1 siv com" if suite == 0x12 else b"G1 com" + record
    return mac(secret, label, SM3() if suite == 0x21 else None)[:16]


def lengths(*parts: bytes) -> bytes:
    """Each part behind its 4-byte length."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def envelope(
    suite: int,
    plain: bytes,
    place: dict[str, str],
    *,
    kind: int = 1,
    flags: int = 0,
    pad_to: int = 0,
    committed: bool = False,
    held: bool = False,
) -> bytes:
    """A whole envelope; `flags` are added to those that follow from the rest. held: under field key and value key."""
    secret = held_secret() if held else SECRET
    bound = suite != 0x12
    cell = bytes.fromhex(place.get("cell", "")) if bound else b""
    record = (cell or place["record"].encode()) if bound else b""
    if pad_to:
        plain += b"\x80"
        plain += bytes(-len(plain) % pad_to)
        flags |= PADDED
    flags |= kind | (IN_CELL if cell else 0) | (COMMITTED if committed else 0) | (HELD if held else 0)
    committing = commitment(suite, record, secret) if committed else b""
    header = bytes((suite,)) + KEY_ID + bytes((flags,)) + cell + committing
    parts = [place[name].encode() for name in ("tenant", "application", "entity", "field")]
    parts += [place["record"].encode()] if bound else []
    return header + body(suite, record, plain, b"G1" + header + lengths(*parts), secret=secret)


def stream(suite: int, plain: bytes, place: dict[str, str], chunk: int = 64, *, held: bool = False) -> bytes:
    """A whole file."""
    cell = bytes.fromhex(place.get("cell", ""))
    flags = CHUNKED | COMMITTED | (IN_CELL if cell else 0) | (HELD if held else 0)
    start = b"G1S1" + bytes((suite,)) + KEY_ID + bytes((flags, chunk.bit_length() - 1, 0)) + (cell or bytes(8)) + SALT
    parts = [place[name].encode() for name in ("tenant", "application", "entity", "field")]
    info = b"G1 stream" + start + lengths(*parts, cell or place["record"].encode())
    derived = HKDF(SM3() if suite == 0x21 else SHA256(), 64, SALT, info).derive(held_secret() if held else SECRET)
    head = start + derived[32:]
    sealed = head
    count = max(1, -(-len(plain) // chunk))
    for number in range(count):
        piece = plain[number * chunk : (number + 1) * chunk]
        nonce = number.to_bytes(11) + bytes((number == count - 1,))
        if suite == 0x21:
            sealed += sm4_gcm(derived[:16], nonce, piece, head)
        else:
            sealed += AESGCM(derived[:32]).encrypt(nonce, piece, head)
    return sealed


def text(size: int) -> bytes:
    """The content of a file of a vector: bytes that count up, modulo 251."""
    return bytes(number % 251 for number in range(size))


def marked(blob: bytes) -> bytes:
    """An envelope that says the contrary of whether it has a value key."""
    return blob[:5] + bytes((blob[5] ^ HELD,)) + blob[6:]


def good_envelopes() -> list[dict[str, Any]]:
    """For each suite: plain, padded, in a cell, committed, empty, and one of each type."""
    made: list[dict[str, Any]] = []

    def add(what: str, suite: int, plain: bytes, place: dict[str, str], kind: str = "text", **more: Any) -> None:
        blob = envelope(suite, plain, place, kind=TYPES[kind], **more)
        about = {"what": f"{NAMES[suite]}: {what}", "suite": NAMES[suite], "place": place, "type": kind}
        made.append(about | {"plain": plain.hex(), **more, "blob": blob.hex()})

    for suite in NAMES:
        add("text", suite, b"G1 test", PLACE)
        add("text, padded to 16", suite, b"G1 test", PLACE, pad_to=16)
        add("empty text", suite, b"", PLACE)
        add("in a cell", suite, b"G1 test", CELL_PLACE)
        add("committed", suite, b"G1 test", PLACE, committed=True)
        add("committed, padded to 32, in a cell", suite, "备注".encode(), CELL_PLACE, committed=True, pad_to=32)
        if suite != 0x12:
            add("in a cell with a value key", suite, b"G1 test", CELL_PLACE, held=True)
            add(
                "with a value key, committed, padded",
                suite,
                b"G1 test",
                CELL_PLACE,
                held=True,
                committed=True,
                pad_to=16,
            )
            add("a date with a value key", suite, b"1976-02-29", CELL_PLACE, "date", held=True, pad_to=16)
        for kind, plain in (
            ("integer", b"-42"),
            ("decimal", b"1.50"),
            ("date", b"1976-02-29"),
            ("boolean", b"1"),
            ("json", b'{"a":[1,null]}'),
        ):
            add(kind, suite, plain, PLACE, kind, pad_to=16)
    return made


def bad_envelopes() -> list[dict[str, Any]]:
    """What must not open, and why; each is one step away from something that opens."""
    made: list[dict[str, Any]] = []

    def add(why: str, suite: int, blob: bytes, place: dict[str, str]) -> None:
        made.append(
            {"why": why, "suite": NAMES[suite], "place": place, "blob": blob.hex(), "expect": "EnvelopeInvalid"}
        )

    def add_held(suite: int) -> None:
        cell, held = envelope(suite, b"G1 test", CELL_PLACE), envelope(suite, b"G1 test", CELL_PLACE, held=True)
        add("said to have a value key", suite, marked(cell), CELL_PLACE)
        add("said to have none", suite, marked(held), CELL_PLACE)
        add(
            "authentic under the field key, but said to have a value key",
            suite,
            envelope(suite, b"G1 test", CELL_PLACE, flags=HELD),
            CELL_PLACE,
        )
        add("a value key, another cell", suite, held, CELL_PLACE | {"cell": "00" * 8})
        committed = envelope(suite, b"G1 test", CELL_PLACE, held=True, committed=True)
        add(
            "a value key, and the commitment of the field key",
            suite,
            committed[:14] + commitment(suite, CELL) + committed[30:],
            CELL_PLACE,
        )

    for suite in NAMES:
        right = envelope(suite, b"G1 test", PLACE)
        for name in PLACE if suite != 0x12 else ("tenant", "application", "entity", "field"):
            add(f"moved to another {name}", suite, right, PLACE | {name: "other"})
        add("the tag changed", suite, right[:-1] + bytes((right[-1] ^ 1,)), PLACE)
        add("cut by one byte", suite, right[:-1], PLACE)
        add("one byte longer", suite, right + b"\0", PLACE)
        add("only a header", suite, right[:6], PLACE)
        add("the type changed", suite, right[:5] + bytes((right[5] ^ 3,)) + right[6:], PLACE)
        add("the key id is of no key", suite, right[:1] + b"\0\0\0\0" + right[5:], PLACE)
        for other in NAMES:
            if other != suite:
                add(f"called {NAMES[other]}", suite, bytes((other,)) + right[1:], PLACE)
        add("an unknown suite", suite, b"\x7f" + right[1:], PLACE)
        add("authentic, but of type 0", suite, envelope(suite, b"G1 test", PLACE, kind=0), PLACE)
        add("authentic, but of type 7", suite, envelope(suite, b"G1 test", PLACE, kind=7), PLACE)
        add("authentic, but called chunked", suite, envelope(suite, b"G1 test", PLACE, flags=CHUNKED), PLACE)
        add("authentic, but the padding has no mark", suite, envelope(suite, bytes(16), PLACE, flags=PADDED), PLACE)
        committed = envelope(suite, b"G1 test", PLACE, committed=True)
        add("the commitment changed", suite, committed[:6] + bytes((committed[6] ^ 1,)) + committed[7:], PLACE)
        add("the commitment taken off", suite, right[:5] + committed[5:6] + committed[22:], PLACE)
        if suite != 0x12:
            in_cell = envelope(suite, b"G1 test", CELL_PLACE)
            add("a cell opened by the record", suite, in_cell, PLACE)
            add("a record opened by a cell", suite, right, CELL_PLACE)
            add("another cell", suite, in_cell, CELL_PLACE | {"cell": "00" * 8})
            add_held(suite)
            add("a value key without a cell", suite, envelope(suite, b"G1 test", PLACE, held=True), PLACE)
            add("the cell id changed", suite, in_cell[:6] + b"\0" + in_cell[7:], CELL_PLACE)
        else:
            add("a value key where none can be", suite, envelope(suite, b"G1 test", PLACE, held=True), PLACE)
            add("a cell where none can be", suite, envelope(suite, b"G1 test", PLACE, flags=IN_CELL), PLACE)
    return made


def good_streams() -> list[dict[str, Any]]:
    """Files of no, one, just one, several and just several chunks."""
    made = []
    for suite in (0x11, 0x21):
        for size, place in ((0, PLACE), (1, PLACE), (64, CELL_PLACE), (150, PLACE), (192, CELL_PLACE)):
            blob = stream(suite, text(size), place)
            made.append({"suite": NAMES[suite], "place": place, "size": size, "chunk": 64, "blob": blob.hex()})
        for size in (0, 64, 150):
            blob = stream(suite, text(size), CELL_PLACE, held=True)
            about = {"suite": NAMES[suite], "place": CELL_PLACE, "size": size, "chunk": 64}
            made.append(about | {"held": True, "blob": blob.hex()})
    return made


def bad_streams() -> list[dict[str, Any]]:
    """What must not open to its end."""
    made = []
    for suite in (0x11, 0x21):
        right = stream(suite, text(150), PLACE)
        head, chunks = right[:84], [right[84:164], right[164:244], right[244:]]
        cases = {
            "cut inside the last chunk": right[:-1],
            "cut at the edge of a chunk": head + chunks[0] + chunks[1],
            "one byte longer": right + b"\0",
            "two chunks swapped": head + chunks[1] + chunks[0] + chunks[2],
            "a chunk left out": head + chunks[0] + chunks[2],
            "a chunk twice": head + chunks[0] + chunks[0] + chunks[1] + chunks[2],
            "only a head": head,
            "half a head": right[:40],
            "another magic": b"G1S2" + right[4:],
            "another size of chunk": right[:10] + b"\x0b" + right[11:],
            "the reserved byte set": right[:11] + b"\x01" + right[12:],
            "the salt changed": right[:20] + b"\0" + right[21:],
            "the commitment changed": right[:52] + bytes((right[52] ^ 1,)) + right[53:],
            "the key id is of no key": right[:5] + b"\0\0\0\0" + right[9:],
            "not called chunked": right[:9] + b"\x10" + right[10:],
            "a chunk of another file": head + stream(suite, text(150), CELL_PLACE)[84:164] + right[164:],
        }
        for why, blob in cases.items():
            made.append({"why": why, "place": PLACE, "blob": blob.hex(), "expect": "StreamInvalid"})
        held, cell = (stream(suite, text(150), CELL_PLACE, held=one) for one in (True, False))
        for why, blob in {
            "said to have a value key": cell[:9] + bytes((cell[9] ^ HELD,)) + cell[10:],
            "said to have none": held[:9] + bytes((held[9] ^ HELD,)) + held[10:],
            "a value key, chunks under the field key": held[:84] + cell[84:],
            "a value key and the last chunk lost": held[:-38],
        }.items():
            made.append({"why": why, "place": CELL_PLACE, "blob": blob.hex(), "expect": "StreamInvalid"})
        bare = stream(suite, text(150), PLACE, held=True)
        made.append(
            {"why": "a value key without a cell", "place": PLACE, "blob": bare.hex(), "expect": "StreamInvalid"}
        )
        for name in PLACE:
            moved = PLACE | {name: "other"}
            made.append(
                {"why": f"moved to another {name}", "place": moved, "blob": right.hex(), "expect": "StreamInvalid"}
            )
    return made


def vectors() -> dict[str, Any]:
    """The whole file."""
    return {
        "about": "Known answers of the G1 envelope and stream; made by tests/vectors/make_g1.py from the primitives.",
        "key": {"id": KEY_ID.hex(), "secret": SECRET.hex()},
        "value_key": VALUE_KEY.hex(),
        "nonce": NONCE.hex(),
        "salt": SALT.hex(),
        "envelopes": {"good": good_envelopes(), "bad": bad_envelopes()},
        "streams": {"good": good_streams(), "bad": bad_streams()},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
