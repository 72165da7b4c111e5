"""Files that a profile marks, in whichever body they come: which are sealed, and those that stand in a JSON string.

A multipart upload streams through its sealer (gateway.body.spool); a file in JSON is part of a document that is at hand
as a whole, bounded by the limits of bodies and answers, so it is sealed and opened in memory.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence

from gateway.body import multipart
from gateway.body.data_file import UNOPENED
from gateway.body.enclosed import EnclosedFile
from gateway.body.leaf import Container, Leaf
from gateway.body.media import Media
from gateway.exchange import Exchange
from gateway.files import Files
from gateway.refusal import ARCHIVE_UNREADABLE, BODY_UNREADABLE, Refusal
from kms.stream import HEAD_BYTES, MAGIC
from policies.operation import FieldSpec, Operation, UploadRule

TABLES = frozenset({Media.CSV, Media.XLS, Media.XLSX, Media.VCARD, Media.JSON})
_CLASS = "__class__"


def marked(operation: Operation) -> Sequence[UploadRule]:
    """The parts whose files are sealed."""
    return [rule for rule in operation.uploads if rule.seal is not None] if operation.uploads else ()


def rule_at(rules: Sequence[UploadRule], keys: Sequence[str]) -> UploadRule | None:
    """The rule for what stands at the end of these keys of a JSON document."""
    return next((rule for rule in rules if rule.names(keys)), None)


def seal_of(rule: UploadRule | None, kind: Media, container: Container | None) -> FieldSpec | None:
    """As what a file is sealed; None for tables where the part is for them, and for pictures that pages show."""
    if rule is None or rule.seal is None:
        return None
    table = rule.data and container is not None and kind in TABLES
    return None if table or (kind is Media.IMAGE and not rule.images) else rule.seal


async def seal_upload(files: Files | None, exchange: Exchange, upload: multipart.Upload) -> None:
    """Let marked files of a multipart body go on sealed; raises KeysUnavailable, StoreUnavailable."""
    operation = exchange.operation
    assert operation is not None
    rules = {rule.part: rule for rule in marked(operation)}
    for file in upload.files if rules else ():
        spec = seal_of(rules.get(file.name), file.media, file.container)
        if spec is None or not file.length:
            continue  # an empty part is a field in which no file was chosen
        file.container = None
        file.transform = await _files(files).sealed(exchange, spec)


async def seal_enclosed(files: Files | None, exchange: Exchange, file: EnclosedFile, spec: FieldSpec) -> None:
    """Seal a file where it stands in a JSON document; raises KeysUnavailable, StoreUnavailable."""
    transform = await _files(files).sealed(exchange, spec)
    sealed = b"".join([piece async for piece in transform.flow(_once(file.data))])
    file.outer.new = file.prefix + b64encode(sealed).decode("ascii")


def require_file(rules: Sequence[UploadRule], leaf: Leaf) -> None:
    """Raises Refusal when a marked part holds something else than a file: the CRM might store that in clear."""
    if not leaf.text or leaf.path[-1:] == (_CLASS,):
        return
    for rule in rules:
        column = bool(rule.header) and leaf.path[:-1] == rule.header and rule.names(leaf.text.split("/"))
        if column or rule.covers(leaf.path):
            raise Refusal(BODY_UNREADABLE, detail="file")


def require_opaque(kind: Media, names: tuple[str, ...] = ()) -> None:
    """Raises Refusal for a file that nobody could open although such files can be read: it might be full of values.

    names: of the field it stands in.
    """
    if kind not in UNOPENED:
        raise Refusal(ARCHIVE_UNREADABLE if kind is Media.ZIP else BODY_UNREADABLE, detail=str(kind), fields=names)


async def opened(files: Files | None, exchange: Exchange, data: bytes) -> bytes | None:
    """The clear file behind a sealed one; None: it is none of ours.

    Raises Refusal ANSWER_NOT_RENDERABLE, StreamInvalid, KeysUnavailable, StoreUnavailable.
    """
    if files is None or not data.startswith(MAGIC):
        return None
    opener = await files.opener(exchange, data[:HEAD_BYTES])
    return None if opener is None else opener.update(data[HEAD_BYTES:]) + opener.finish()


def _files(files: Files | None) -> Files:
    if files is None:
        raise RuntimeError("nobody is there to seal a file that the profile marks")
    return files


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
