"""Signed notes: the published vector, what is refused, the key file."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.note import (
    Checkpoint,
    KeyFileInvalid,
    NoteInvalid,
    Signer,
    Verifier,
    ensure_signer,
    origin_of,
    read_signer,
)

# golang.org/x/mod/sumdb/note, note_test.go and example_test.go
VKEY_NAME, VKEY_ID, VKEY = "PeterNeumann", "c74f20a3", "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SKEY = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SIGNER = Signer(bytes(range(32)))


def test_the_published_note_opens_and_is_signed_the_same() -> None:
    verifier = Verifier(base64.b64decode(VKEY)[1:])
    assert verifier.key_id(VKEY_NAME).hex() == VKEY_ID
    assert verifier.vkey(VKEY_NAME) == f"{VKEY_NAME}+{VKEY_ID}+{VKEY}"
    assert verifier.open(NOTE, VKEY_NAME) == TEXT
    assert Signer(base64.b64decode(SKEY)[1:]).sign(TEXT, VKEY_NAME) == NOTE


# The checksum database of Go: key as in cmd/go, tree head as in the example of c2sp.org/tlog-checkpoint, which gives
# it another origin.
SUMDB_VKEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUMDB_SIGNED = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="
SUMDB_ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
# c2sp.org/tlog-cosignature: a line of a witness that we do not know
WITNESS = "— witness.example.com/w1 " + (
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def test_a_checkpoint_of_another_log_opens_with_its_published_key() -> None:
    verifier, name = Verifier.from_vkey(SUMDB_VKEY)
    assert (name, verifier.vkey(name)) == ("sum.golang.org", SUMDB_VKEY)
    origin = "go.sum database tree"
    note = f"{origin}\n20852163\n{SUMDB_ROOT}\n\n— {name} {SUMDB_SIGNED}\n"
    wanted = Checkpoint(origin, 20_852_163, base64.b64decode(SUMDB_ROOT))
    assert verifier.open_checkpoint(note, origin, name) == wanted
    assert verifier.open_checkpoint(note + WITNESS, origin, name) == wanted
    with pytest.raises(NoteInvalid):
        verifier.open_checkpoint(note.replace("20852163", "20852164"), origin, name)
    with pytest.raises(NoteInvalid):
        verifier.open_checkpoint(note, "other", name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sum.golang.org",
        SUMDB_VKEY.replace("033de0ae", "033de0af"),
        SUMDB_VKEY.replace("sum.", "some."),
        SUMDB_VKEY.replace("+Ac4", "+Bc4"),
        SUMDB_VKEY[:-4],
        "+" + SUMDB_VKEY,
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Verifier.from_vkey(text)


def test_a_checkpoint_comes_back_from_its_note() -> None:
    checkpoint = Checkpoint(origin_of("demo"), 20_852_163, bytes(range(32)))
    note = SIGNER.sign(checkpoint.text(), checkpoint.origin)
    assert SIGNER.verifier.open_checkpoint(note, checkpoint.origin) == checkpoint


def test_signatures_of_unknown_keys_are_passed_over() -> None:
    checkpoint = Checkpoint(origin_of("demo"), 3, bytes(32))
    other = Signer(bytes(32)).sign(checkpoint.text(), "witness.example/w1").rpartition("\n\n")[2]
    note = SIGNER.sign(checkpoint.text(), checkpoint.origin) + other
    assert SIGNER.verifier.open_checkpoint(note, checkpoint.origin) == checkpoint


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace("3", "4", 1),
        lambda note: note.replace("crmgate-audit/demo", "crmgate-audit/other"),
        lambda note: note.replace("— ", "- "),
        lambda note: note[:-1],
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note + "\x01\n",
        lambda note: note + "— a AAAA\n",
        lambda note: note + "— a !\n",
        lambda note: note + "— a QUJD=\n",
        lambda note: note + "— other QUJDREVGRw==\n" * 101,
        lambda note: note[: note.rindex(" ") + 1] + base64.b64encode(b"12345").decode() + "\n",
        lambda note: "",
    ],
)
def test_a_changed_note_is_refused(change: object) -> None:
    checkpoint = Checkpoint(origin_of("demo"), 3, bytes(32))
    note = SIGNER.sign(checkpoint.text(), checkpoint.origin)
    with pytest.raises(NoteInvalid):
        SIGNER.verifier.open_checkpoint(change(note), checkpoint.origin)  # type: ignore[operator]


def test_a_known_key_that_fails_rejects_the_note_even_beside_a_good_signature() -> None:
    """c2sp.org/signed-note: a bad signature of a known key means the note is bad."""
    note = SIGNER.sign("text\n", "log")
    bad = base64.b64encode(SIGNER.verifier.key_id("log") + bytes(64)).decode()
    with pytest.raises(NoteInvalid):
        SIGNER.verifier.open(f"{note}— log {bad}\n", "log")


@pytest.mark.parametrize("body", ["log\n", "log\n01\nAA==\n", "log\n-1\nAA==\n", "other\n1\nAA==\n", "log\n1\nAA==\n"])
def test_signed_text_that_is_no_checkpoint_of_the_log_is_refused(body: str) -> None:
    with pytest.raises(NoteInvalid):
        SIGNER.verifier.open_checkpoint(SIGNER.sign(body, "log"), "log")


@pytest.mark.parametrize("text", ["no newline", "tab\t\n", ""])
def test_text_that_is_no_note_is_not_signed(text: str) -> None:
    with pytest.raises(NoteInvalid):
        SIGNER.sign(text, "log")


@given(st.text(max_size=200))
def test_no_text_opens_by_chance(note: str) -> None:
    with pytest.raises(NoteInvalid):
        SIGNER.verifier.open(note, "log")


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.key"
    first = ensure_signer(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure_signer(path) == first == read_signer(path)
    assert "seed" not in repr(first)


def test_a_key_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    ensure_signer(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileInvalid):
        ensure_signer(path)


@pytest.mark.parametrize("content", ["", "PRIVATE+KEY+crmgate-audit+00000000+AAAA", "x" * 100])
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "audit.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileInvalid):
        ensure_signer(path)


def test_a_key_that_does_not_fit_its_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    secret = base64.b64encode(b"\x01" + bytes(32)).decode()
    path.write_text(f"PRIVATE+KEY+crmgate-audit+00000000+{secret}\n")
    path.chmod(0o600)
    with pytest.raises(KeyFileInvalid):
        ensure_signer(path)


def test_a_missing_key_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(KeyFileInvalid):
        read_signer(tmp_path / "audit.key")
    assert not (tmp_path / "audit.key").exists()
