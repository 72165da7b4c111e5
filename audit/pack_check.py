#!/usr/bin/env python3
"""Checks an evidence pack offline: python3 verify.py PACK.zip --key KEY

One file, Python 3.9 or newer with the package `cryptography`; nothing of crmgate is needed. KEY is the public key the
auditor was given before (crmgate audit key). Without it the key inside the pack is taken, and that proves only that
nothing changed since the pack was made. Sources: RFC 6962 (hashes), RFC 9162 section 2.1 (proofs), and of C2SP
signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "crmgate-evidence-pack/1"
ED25519 = b"\x01"
PROVED = {"checkpoint", "earlier", "events.csv", "events.jsonl", "growth.json", "handover", "key", "key-before"}
PROVED |= {"proofs.jsonl", "range.bin", "range.json", "verify.py"}
LIMIT_BYTES = 4 * 1024**3  # of one file in the pack, unpacked


class Broken(Exception):  # noqa: N818 - a verdict
    """The pack does not hold; the text says where."""


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962, section 2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def unbase64(text: str, length: int | None = None) -> bytes:
    """Bytes of strict base64, of this length."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Broken("not base64") from None
    if length is not None and len(raw) != length:
        raise Broken("a hash of another length")
    return raw


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        raise Broken(f"entry {index}: the entry is not below the checkpoint")
    fn, sn, found = index, size - 1, leaf
    for step in path:
        if sn == 0:
            raise Broken(f"entry {index}: the path is too long")
        if fn & 1 or fn == sn:
            found = node_hash(step, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, step)
        fn, sn = fn >> 1, sn >> 1
    if sn or found != root:
        raise Broken(f"entry {index}: the path does not lead to the signed root")


def check_growth(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162, section 2.1.4.2."""
    if first == second:
        if proof or first_root != second_root:
            raise Broken("two checkpoints of one size differ")
        return
    if not 0 < first < second:
        raise Broken("the older checkpoint is not smaller")
    steps = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not steps:
        raise Broken("no proof of growth")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if sn == 0:
            raise Broken("the proof of growth is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(step, old), node_hash(step, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, step)
        fn, sn = fn >> 1, sn >> 1
    if sn or old != first_root or new != second_root:
        raise Broken("the log did not grow from the older checkpoint")


def check_range(packed: bytes, first: int, size: int, outside: Sequence[bytes], root: bytes) -> None:
    """That these leaf hashes are all entries from `first` on, as many as they are; RFC 6962, section 2.1."""
    end, rest = first + len(packed) // 32, list(reversed(outside))

    def root_of(low: int, high: int) -> bytes:
        if high <= first or low >= end:
            return rest.pop() if rest else b""
        if high - low == 1:
            return packed[(low - first) * 32 : (low - first + 1) * 32]
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        return node_hash(root_of(low, middle), root_of(middle, high))

    if len(packed) % 32 or not 0 <= first < end <= size or len(outside) > 128 or any(len(one) != 32 for one in outside):
        raise Broken("the range is malformed")
    if root_of(0, size) != root or rest:
        raise Broken("the range does not lead to the signed root")


class Key:
    """A public key as c2sp.org/signed-note writes it: NAME+ID+BASE64."""

    def __init__(self, text: str) -> None:
        parts = text.strip().split("+", 2)
        raw = unbase64(parts[2]) if len(parts) == 3 else b""
        if len(raw) != 33 or raw[:1] != ED25519:
            raise Broken("the key is not an Ed25519 key of a signed note")
        self.name, self.text, self._raw = parts[0], text.strip(), raw
        self.id = hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        if self.id.hex() != parts[1]:
            raise Broken("the id of the key does not fit it")

    def open(self, note: str) -> tuple[str, int, bytes]:
        """Log, size and root of a signed checkpoint."""
        text, seam, signatures = note.rpartition("\n\n")
        text += "\n"
        if not seam:
            raise Broken("a checkpoint is not a signed note")
        start = f"\u2014 {self.name} "
        for line in signatures.splitlines():
            raw = unbase64(line[len(start) :]) if line.startswith(start) else b""
            if raw[:4] != self.id:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(self._raw[1:]).verify(raw[4:], text.encode())
            except InvalidSignature:
                raise Broken("the signature of a checkpoint is wrong") from None
            lines = text.split("\n")
            if len(lines) < 4 or not lines[1].isdigit():
                raise Broken("a checkpoint is malformed")
            return lines[0], int(lines[1]), unbase64(lines[2], 32)
        raise Broken("a checkpoint is not signed by this key")


def check_handover(note: str, new: Key, old: Key, origin: str, size: int) -> int:
    """That the old key named the new one beside its last checkpoint; how many entries that covers."""
    named, upto, _ = old.open(note)
    more = note.rpartition("\n\n")[0].split("\n")[3:]
    if new.open(note)[0] != named or named != origin or upto > size or more != ["handover " + new.text]:
        raise Broken("the change of keys does not hold: the key before did not name the one after it")
    return upto


def read(pack: zipfile.ZipFile, name: str) -> bytes:
    """One file of the pack."""
    try:
        info = pack.getinfo(name)
    except KeyError:
        raise Broken(f"{name} is missing") from None
    if info.file_size > LIMIT_BYTES:
        raise Broken(f"{name} is too large")
    return pack.read(info)


def check_files(pack: zipfile.ZipFile) -> dict[str, Any]:
    """Every file is listed with its digest, and no other is there."""
    manifest: dict[str, Any] = json.loads(read(pack, "manifest.json"))
    if manifest.get("format") != FORMAT:
        raise Broken("this is no evidence pack, or one of another version")
    listed = manifest["files"]
    if sorted(pack.namelist()) != sorted([*listed, "manifest.json"]):
        raise Broken("files are missing, doubled or added")
    for name, digest in listed.items():
        if hashlib.sha256(read(pack, name)).hexdigest() != digest:
            raise Broken(f"{name} was changed after the pack was made")
    return manifest


def check_events(pack: zipfile.ZipFile, size: int, root: bytes) -> dict[int, bytes]:
    """Each entry against the signed root; index → its bytes."""
    bodies = read(pack, "events.jsonl").split(b"\n")[:-1]
    proofs = read(pack, "proofs.jsonl").split(b"\n")[:-1]
    if len(bodies) != len(proofs):
        raise Broken("entries and proofs are not as many")
    found: dict[int, bytes] = {}
    before = -1
    for body, line in zip(bodies, proofs):  # noqa: B905 - Python 3.9 has no `strict`, and they are as many
        proof = json.loads(line)
        index = proof["index"]
        if index <= before:
            raise Broken("the entries are not in order")
        before = index
        check_inclusion(leaf_hash(body), index, size, [unbase64(one, 32) for one in proof["path"]], root)
        found[index] = body
    return found


def cell(value: Any) -> str:
    """What the table has for a value of an entry; nothing that a spreadsheet takes for a formula."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def check_table(pack: zipfile.ZipFile, found: dict[int, bytes]) -> None:
    """events.csv, for people, says in every cell what the proved entries say."""
    names, *rows = csv.reader(io.StringIO(read(pack, "events.csv").decode("utf-8-sig"), newline=""))
    told = [{**json.loads(body), "index": index, "leaf": leaf_hash(body).hex()} for index, body in found.items()]
    if rows != [[cell(entry.get(name, "")) for name in names] for entry in told] or len({*names}) != len(names):
        raise Broken("events.csv says something else than events.jsonl")


def range_lines(pack: zipfile.ZipFile, found: dict[int, bytes], size: int, root: bytes) -> list[str]:
    """What the pack proves of the range that its entries were selected from."""
    packed, told = read(pack, "range.bin"), json.loads(read(pack, "range.json"))
    first, count = told["first"], len(packed) // 32
    check_range(packed, first, size, [unbase64(one, 32) for one in told["outside"]], root)
    for index, body in found.items():
        if index < first or packed[(index - first) * 32 : (index - first + 1) * 32] != leaf_hash(body):
            raise Broken(f"entry {index} is not in the range at its place")
    withheld = count - len(found)
    span = f"{count} in the range {first} to {first + count - 1}"
    lines = [f"{len(found)} selected of {span}, the other {withheld} withheld, their hashes proved"]
    if withheld:
        lines.append("what the withheld ones say is not proved; each, when asked for, has to fit its hash in range.bin")
    return lines


def check(file: str, key_text: str) -> list[str]:
    """What the pack proves, as lines; raises Broken."""
    with zipfile.ZipFile(file) as pack:
        manifest = check_files(pack)
        keys = [Key(read(pack, "key").decode())]
        origin, size, root = keys[0].open(read(pack, "checkpoint").decode())
        lines = [f"log {origin}", f"signed: {size} entries, root {root.hex()}"]
        upto = 0
        if "handover" in manifest["files"]:
            keys.append(Key(read(pack, "key-before").decode()))
            upto = check_handover(read(pack, "handover").decode(), keys[0], keys[1], origin, size)
            lines.append(f"another key signed up to {upto} entries; both keys signed the change")
        if key_text and Key(key_text).text not in [one.text for one in keys]:
            raise Broken("the pack was signed with another key than the one you were given")
        if origin != manifest["origin"]:
            raise Broken("the checkpoint is of another log")
        if "earlier" in manifest["files"]:
            key = keys[-1] if manifest.get("earlier_by") == "key-before" else keys[0]
            older_origin, older, older_root = key.open(read(pack, "earlier").decode())
            proof = json.loads(read(pack, "growth.json"))
            if older_origin != origin or (key is not keys[0] and older > upto):
                raise Broken("the earlier checkpoint is of another log, or signed after its key was replaced")
            check_growth(older, older_root, size, root, [unbase64(one, 32) for one in proof])
            lines.append(f"grown from the checkpoint at {older} entries: nothing before it was changed or removed")
        found = check_events(pack, size, root)
        check_table(pack, found)
        span = f", numbers {min(found)} to {max(found)}" if found else ""
        lines.append(f"entries in the pack: {len(found)}{span}: each is in the signed log, unchanged")
        if "range.bin" in manifest["files"]:
            lines += range_lines(pack, found, size, root)
        elif found and max(found) - min(found) + 1 == len(found):
            lines.append("consecutive: none between the first and the last was left out")
        else:
            lines.append("not consecutive: that nothing else matches what was asked for is not proved")
        rest = [name for name in manifest["files"] if name not in PROVED]
        lines.append(f"not proved, as whoever made this file put it in: {', '.join(rest)}")
        if not key_text:
            lines.append("WARNING: no --key was given; the key inside the pack was taken")
    return lines


def main() -> int:
    """Say what the pack proves; 1 when it does not."""
    parser = argparse.ArgumentParser(description="Checks an evidence pack of crmgate, offline.")
    parser.add_argument("pack", help="the zip file")
    parser.add_argument("--key", default="", help="the public key you were given (crmgate audit key)")
    given = parser.parse_args()
    try:
        lines = ["PROVED", *check(given.pack, given.key)]
    except (Broken, OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, csv.Error) as fault:
        told = fault if isinstance(fault, Broken) else f"the pack cannot be read ({type(fault).__name__})"
        lines = [f"NOT PROVED: {told}"]
    sys.stdout.write("\n  ".join(lines) + "\n")
    return int(lines[0] != "PROVED")


if __name__ == "__main__":
    sys.exit(main())
