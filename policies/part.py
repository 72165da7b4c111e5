"""What the parts of a JSON batch mean, for people at a command line; the gateway is stricter when it takes one apart.

A multipart batch is read in the gateway only.
"""

from policies.batch import BatchUnreadable, split
from policies.condition import Unreadable, read_document, write_document
from policies.operation import Operation
from policies.profile import Profile

JSON_TYPE = "application/json"


def part_operations(profile: Profile, operation: Operation, body: bytes) -> list[Operation]:
    """The operation of each part; none where the request is no JSON batch or cannot be taken apart."""
    if operation.graphql is not None:
        return [part.operation for part in operation.graphql.parts]
    rule = operation.batch
    if rule is None or rule.kind != "json":
        return []
    try:
        parts = split(rule, read_document(body), dict(operation.placed))
    except (BatchUnreadable, Unreadable):
        return []
    found = []
    for one in parts:
        blank = profile.record_ids.blank
        url = rule.reference.sub(blank, one.url) if rule.reference is not None else one.url
        path, _, query = url.partition("?")
        found.append(profile.classify(one.method, path, query, write_document(one.value), JSON_TYPE))
    return found
