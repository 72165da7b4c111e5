"""The people of the kill drill: they create records, read them and are refused, and write down what was answered.

An exchange counts as acknowledged when its whole answer has arrived and is what it has to be. Each comes from a client
address of its own, which its entries in the trail hold.
"""

import contextlib
import http.client
import ipaddress
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyotp

from tests.bench.people import record
from tests.drills.kill_site import DrillFault, Site

NETWORK = int(ipaddress.IPv6Address("fd00::"))
CREATE, READ, REFUSED = "create", "read", "refused"
STATUS = {CREATE: 201, READ: 200, REFUSED: 403}
WORKERS = 4
PAUSE_S = 0.05  # after what was not answered


@dataclass(slots=True)
class Ledger:
    """What the clients know. acknowledged: client address → what was done; other: what else came, by what it was."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@dataclass(slots=True)
class Load:
    """Running people; `stop` ends them."""

    ledger: Ledger
    _done: threading.Event
    _threads: list[threading.Thread]

    def stop(self) -> None:
        """End and wait."""
        self._done.set()
        for one in self._threads:
            one.join()


def begin(site: Site) -> Load:
    """Sign in and start working. Raises: DrillFault."""
    headers = {role: _sign_in(site.port, role, *given) for role, given in site.logins.items()}
    ledger, done = Ledger(), threading.Event()
    threads = [threading.Thread(target=_work, args=(site.port, headers, ledger, done)) for _ in range(WORKERS)]
    for one in threads:
        one.start()
    return Load(ledger, done, threads)


def _sign_in(port: int, login: str, password: str, secret: str) -> dict[str, str]:
    host = {"Host": f"crm.localhost:{port}", "Origin": f"http://crm.localhost:{port}"}
    body = json.dumps({"login": login, "password": password, "code": pyotp.TOTP(secret).now()}).encode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/.crmgate/api/sign-in", body, {**host, "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        cookie = (answer.getheader("set-cookie") or "").split(";")[0]
    if answer.status != 200 or not cookie:
        raise DrillFault(f"the sign-in answers {answer.status}")
    return {**host, "Cookie": cookie}


def _work(port: int, headers: dict[str, dict[str, str]], ledger: Ledger, done: threading.Event) -> None:
    """One person: a record, a look at it, something that is not allowed; again and again."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(what: str, method: str, path: str, role: str, content: object = None) -> bytes | None:
        """The answer when it is an acknowledgement."""
        client = str(ipaddress.IPv6Address(NETWORK + next(ledger.numbers)))
        sent = {**headers[role], "X-Forwarded-For": client, "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if content is None else json.dumps(content), sent)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as fault:
            connection.close()
            ledger.other[type(fault).__name__] += 1
        else:
            if answer.status == STATUS[what]:
                ledger.acknowledged[client] = what
                return body
            ledger.other[f"status {answer.status}"] += 1
        time.sleep(PAUSE_S)
        return None

    while not done.is_set():
        clear = record(next(ledger.numbers))
        person = {name: clear[name] for name in ("name", "phone")}
        created = ask(CREATE, "POST", "/records", "writer", person)
        if created is None:
            continue
        number = json.loads(created)["id"]
        read = ask(READ, "GET", f"/records/{number}", "reader")
        if read is not None and json.loads(read).get("name") != person["name"]:
            ledger.wrong.append(f"record {number} does not come back as it was written")
        ask(REFUSED, "POST", "/records", "reader", person)
    connection.close()
