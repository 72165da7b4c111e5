"""What people read about statements that were refused or gave no answer; English, translated where it is shown."""

from collections.abc import Callable, Mapping

from audit.sql.answer import Busy, QueryFailed
from audit.sql.refused import StatementRefused
from gateway.console.words import N_

REFUSALS: Mapping[str, str] = {
    "empty": N_("There is no statement. Write one that begins with SELECT."),
    "too-long": N_("The statement is too long. Shorten it, or ask in several steps."),
    "too-deep": N_("The statement is nested too deeply. Give its parts names with WITH, and put long lists into IN."),
    "unreadable": N_("The statement cannot be read at this place. Look at the brackets, quotes and commas before it."),
    "several-statements": N_("One statement at a time. Leave out the semicolon and what follows it."),
    "no-query": N_("Only questions can be asked: begin with SELECT or WITH."),
    "unknown-table": N_("There is no such table. The tables are event and sight."),
    "no-table": N_("A function cannot be read like a table. Read event or sight."),
    "unknown-column": N_(
        "There is no such column. Take one of the columns listed on the page, or a name given with AS."
    ),
    "unknown-function": N_("This function cannot be used here. Take one of those listed in audit/README.md."),
    "unknown-type": N_("Values cannot be turned into this type. Take VARCHAR, BIGINT, DOUBLE, DATE or TIMESTAMPTZ."),
    "syntax": N_("This part of SQL cannot be used here. Ask with SELECT, JOIN, WHERE, GROUP BY, WITH and OVER."),
    "recursive": N_("A query cannot be built on itself. Leave out RECURSIVE."),
    "name-taken": N_("A query in WITH cannot be called like a table. Give it another name."),
    "limit-no-number": N_("LIMIT needs a number, such as LIMIT 100."),
    "limit-too-large": N_("LIMIT is too large. Ask for fewer rows, or count them."),
    "person-unreadable": N_(
        "person() needs one customer, by kind and number in the CRM, in single quotes: person('contact/17')."
    ),
    "person-place": N_("person() stands beside a column only: record = person('contact/17'), or in the list of IN."),
    "person-kind": N_("Records of this kind are no people, and stand in the trail under their own number."),
    "unknown-person": N_(
        "The trail knows nobody by this number any more: nobody was ever named so, or the person was erased."
    ),
    "too-many-persons": N_("Too many people at once. Ask for fewer."),
}
FAILURES: Mapping[str, str] = {
    "database": N_("The database does not answer. Try again in a moment."),
    "archive": N_("The archive of the trail does not answer. Try again in a moment."),
    "keys": N_("The keys under which people are named do not answer. Try again in a moment."),
    "lost": N_("The statement stopped without an answer. Try again; when it happens again, ask for less at a time."),
    "engine": N_("The statement cannot be computed."),
    "memory": N_("The statement needs more memory than it may have. Narrow it down by at, record or actor."),
    "time": N_("The statement took longer than it may. Narrow it down by at, record or actor."),
    "too-large": N_("The result is too large. Ask for fewer rows, or leave out body and leaf."),
    "gap": N_("No answer: entries are missing between the database and the archive. Tell who runs the gateway."),
    "entry-altered": N_("No answer: an entry in the database was changed. Tell who runs the gateway."),
    "segment-altered": N_("No answer: a sealed part of the trail was changed or is gone. Tell who runs the gateway."),
}
BUSY: Mapping[str, str] = {
    "person": N_("Another statement of yours is still running. Wait for it, or stop it."),
    "tenant": N_("Too many statements are running. Try again in a moment."),
}
AT = N_("“%(word)s”, line %(line)s, character %(column)s.")
WORD = N_("It is about “%(word)s”.")
PERHAPS = N_("Perhaps: %(names)s")
AT_MOST = N_("At most: %(number)s")
ABOUT = N_("Entries %(first)s to %(last)s.")

Translate = Callable[[str], str]


def words(fault: StatementRefused | QueryFailed | Busy, translate: Translate) -> str:
    """Why there is no answer, and what to do."""
    if isinstance(fault, StatementRefused):
        return _refused(fault, translate)
    if isinstance(fault, QueryFailed):
        return _failed(fault, translate)
    return translate(BUSY[fault.whose])


def _refused(refused: StatementRefused, translate: Translate) -> str:
    said = [translate(REFUSALS[refused.reason])]
    if refused.place.line:
        place = refused.place
        said.append(translate(AT) % {"word": refused.word, "line": place.line, "column": place.column})
    elif refused.word:
        said.append(translate(WORD) % {"word": refused.word})
    if refused.hint and refused.reason in ("limit-too-large", "too-long", "too-many-persons"):
        said.append(translate(AT_MOST) % {"number": refused.hint[0]})
    elif refused.hint and refused.reason != "unknown-table":
        said.append(translate(PERHAPS) % {"names": ", ".join(refused.hint)})
    return " ".join(said)


def _failed(failed: QueryFailed, translate: Translate) -> str:
    said = [translate(FAILURES[failed.reason])]
    if failed.first is not None and failed.last is not None:
        said.append(translate(ABOUT) % {"first": failed.first, "last": failed.last})
    if failed.told:
        said.append(failed.told)
    return " ".join(said)
