"""Applies what a profile says of files that cannot be looked into (policies.opaque), in both directions."""

from gateway.body.archive import ArchiveDocument
from gateway.body.data_file import UNOPENED
from gateway.body.leaf import Container
from gateway.body.media import Media
from gateway.body.multipart import Upload
from gateway.collaborators import Fields
from gateway.exchange import Exchange
from gateway.messages import message
from gateway.refusal import FILE_NOT_PASSED, Refusal
from gateway.respond import language_of
from policies.opaque import CLOSING, STANDARD, Opaque, OpaqueRule

CLOSED = frozenset({Media.OPAQUE, Media.IMAGE, Media.MULTIPART, Media.ZIP})
"""What a rule that closes an operation means in answers: an archive may have such files inside."""
_PARTIAL = 206
_KEPT = frozenset({"cache-control", "date", "set-cookie", "vary"})


def rule_of(exchange: Exchange) -> OpaqueRule:
    """The rule for an exchange."""
    return exchange.operation.opaque if exchange.operation is not None else STANDARD


def require_passing(rule: OpaqueRule, kind: Media, container: Container | None = None, name: str = "") -> None:
    """Raises Refusal for a file that does not go on, and cannot be left out where it stands. name: of its field."""
    hidden = kind in UNOPENED or (isinstance(container, ArchiveDocument) and container.opaque)
    if hidden and rule.uploads in CLOSING:
        raise Refusal(FILE_NOT_PASSED, detail=str(kind), fields=(name,) if name else ())


def require_body(rule: OpaqueRule, container: Container | None) -> None:
    """Raises Refusal for a whole body that does not go on. container: None for one that was not opened."""
    require_passing(rule, Media.OPAQUE if container is None else Media.ZIP, container)


def sift(rule: OpaqueRule, upload: Upload) -> None:
    """Leave files out of a form, or raise Refusal; a sealed one may go, as the CRM gets nothing of it."""
    if rule.uploads not in CLOSING:
        return
    for file in upload.files:
        if not file.length or file.transform is not None:
            continue
        if file.media in UNOPENED and rule.uploads is Opaque.STRIP:
            upload.leave_out(file)
        else:
            require_passing(rule, file.media, file.container, file.name)


def hides(exchange: Exchange, kind: Media, status: int) -> bool:
    """Whether an answer is to be replaced; raises Refusal for one that goes to nobody.

    A part of a file (206) looks like anything, so it is refused where whole files do not pass.
    """
    answers = rule_of(exchange).answers
    if answers not in CLOSING or (kind not in CLOSED and status != _PARTIAL):
        return False
    if answers is Opaque.REFUSE or status == _PARTIAL:
        raise Refusal(FILE_NOT_PASSED, detail=str(kind))
    return True


def instead(exchange: Exchange, fields: Fields) -> tuple[Fields, bytes]:
    """What a person gets in place of a file: a sentence in their language, and none of the file's own header fields."""
    words = message(FILE_NOT_PASSED.id, language_of(exchange.head.headers))
    kept = [(name, value) for name, value in fields if name in _KEPT]
    return [*kept, ("content-type", "text/plain; charset=utf-8")], f"{words.title}\n{words.text}\n".encode()
