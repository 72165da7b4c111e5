"""The profile of Creme with all its documents marked to be sealed, as policies/README.md describes it."""

from policies.enforcer import DEFAULT_POLICY


def marked_profile() -> str:
    """The shipped profile with the mark of all documents and where their records are told."""
    text = (DEFAULT_POLICY.parent / "profiles" / "creme.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("\nrecord_pages:\n", '\nrecord_pages:\n  "/documents/document/{record}": document\n'),
        ("{part: filedata, data: true}", "{part: filedata, data: true, seal: filedata}"),
        (
            "uploads: [{part: filedata, data: true, seal: filedata}, {part: image}]\n",
            "uploads: [{part: filedata, data: true, seal: filedata}, {part: image}]\n"
            "    answer: {location: true, unless_part: callback_url}\n",
        ),
    ):
        assert old in text
        text = text.replace(old, new)
    return text
