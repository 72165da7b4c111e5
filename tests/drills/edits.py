"""`make edits`: random edits by roles that see all, some or no fields, as forms, JSON, bulk edits and imports.

In front of a small CRM of our own (edit_crm.py) stands the real gateway with its own PostgreSQL and keys. What a role
reads is what it posts back, unchanged, changed, with text around it, with a mask of somebody else, from a stale page.
After each edit a manager reads the contacts concerned: every accepted change arrived, nothing else changed, and the CRM
holds no declared value in clear.
"""

import argparse
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from html import unescape
from multiprocessing import get_context

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from gateway.demo.browser import Answer, Browser, Upload, forms
from gateway.refusal import CRM_NOT_SHOWN
from gateway.reveal import PLACEHOLDER
from privacy.render import unguarded
from tests.drills.edit_crm import (
    DECLARED,
    FIELDS,
    NOBODYS_YEAR,
    POLICY,
    TABLE,
    XLSX,
    EditCrm,
    as_csv,
    as_xlsx,
    edit_crm,
    rows_of,
)
from tests.drills.edit_model import (
    SEES,
    WRITES,
    Fault,
    Said,
    Snapshot,
    World,
    Writer,
    around,
    at_rest,
    guessed,
    judge,
    keeps_day,
    kept,
    leaks,
    parts_kept,
    pasted,
    readable,
    same,
    same_number,
    summary,
)
from tests.drills.stack import Stack, installed

EDITORS = {
    f"{role}{number}": f"{role}{number}"
    for role in ("sales", "clerk", "blind", "reader", "manager")
    for number in (1, 2)
}
MEMBERS = {"manager": "manager", **EDITORS}
SEED = 20261126
WAYS = ("json-put", "json-patch", "form", "json-bulk", "form-bulk", "csv", "xlsx")
_DD = re.compile(r"<dt>(\w+)</dt><dd[^>]*>(.*?)</dd>", re.DOTALL)
REFUSED = frozenset({403, 409, 415, 422})
BULK = frozenset({"json-bulk", "form-bulk"})
UNSURE = "date-unsure"
IN_VAIN = frozenset({CRM_NOT_SHOWN.id})  # the CRM was too slow to be compared with


@dataclass(slots=True)
class Tally:
    """Figures of a run."""

    edits: int = 0
    fields: int = 0
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    how: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_vain: Counter[str] = field(default_factory=Counter)


class Drill:
    """One run over a stack."""

    def __init__(self, stack: Stack, crm: EditCrm, rng: random.Random) -> None:
        self.stack, self.crm, self.rng = stack, crm, rng
        self.world, self.tally, self.writer = World(), Tally(), Writer(rng)
        self.browsers: dict[str, Browser] = {who: stack.signed_in(who) for who in MEMBERS}
        self.pages: dict[str, list[Snapshot]] = {who: [] for who in EDITORS}

    def disconnect(self) -> None:
        """Close every connection; cookies stay, so that work goes on at a gateway started anew."""
        for browser in self.browsers.values():
            browser.close()

    def seed(self, contacts: int) -> None:
        """Create contacts as manager."""
        for _ in range(contacts):
            values = self.writer.contact()
            answer = self.browsers["manager"].post_json("/api/contacts", values).expect(201)
            self.world.settle(int(answer.json()["id"]), values)
        for record in self.world.truth:
            self._check(0, "manager", "create", {}, False, [record])

    def edit(self, number: int) -> None:
        """One random edit and the look at what it did."""
        rng = self.rng
        who = rng.choice(list(EDITORS))
        way = rng.choice(WAYS)
        before = self.crm.writes
        if way in ("csv", "xlsx"):
            posted = self._table(number, who, way)
            answer = self._import(who, way, posted)
        elif way.endswith("bulk"):
            posted = self._bulk(number, who, way)
            answer = self._send_bulk(who, way, posted)
        else:
            posted = self._single(number, who, way)
            answer = self._send(who, way, posted)
        accepted = answer.status < 400
        self._note(number, who, way, posted, answer)
        if not accepted and self.crm.writes != before:
            self.world.faults.append(Fault(number, "refused but written", who, way, "", "", str(answer.status)))
        self._check(number, who, way, posted, accepted, sorted(posted))

    def _note(self, number: int, who: str, way: str, posted: Mapping[int, Mapping[str, Said]], answer: Answer) -> None:
        self.tally.edits += 1
        role = who.rstrip("12")
        self.tally.answers[role, way, answer.status] += 1
        for record, fields in posted.items():
            for name, said in fields.items():
                self.tally.fields += 1
                self.tally.how[said.how, "accepted" if answer.status < 400 else "refused"] += 1
                if answer.status < 400 and not said.means:
                    self.world.faults.append(
                        Fault(number, "accepted but wrong", who, way, name, said.how, repr(said.text))
                    )
                if answer.status < 400 and guessed(role, name, said):
                    self.world.faults.append(
                        Fault(number, "guess confirmed", who, way, name, said.how, repr(said.text))
                    )
            sure = all(
                said.sure and (name in WRITES[role] or self._stands(role, way, record, name, said))
                for name, said in fields.items()
            )
            if answer.status >= 400 and sure and len(posted) == 1 and way not in ("csv", "xlsx"):
                hows = ",".join(sorted({said.how for said in fields.values()}))
                detail = f"{answer.status} {answer.text[:600]}"
                if way in BULK and "birthday" in fields and record in self.world.unsure:
                    self.tally.in_vain[UNSURE] += 1  # a bulk edit cannot ask the CRM, and no look-out settles it here
                elif reason_of(answer) in IN_VAIN:  # no fault of the rules; it may be saved again
                    self.tally.in_vain[reason_of(answer)] += 1
                else:
                    self.world.faults.append(Fault(number, "refused without a reason", who, way, "", hows, detail))
            if answer.status < 400 and way in BULK and "birthday" in fields:
                self.world.unsure.add(record)
        if answer.status >= 400 and answer.status not in REFUSED and reason_of(answer) not in IN_VAIN:
            self.world.faults.append(Fault(number, f"answer {answer.status}", who, way, "", "", answer.text[:300]))

    def _stands(self, role: str, way: str, record: int, name: str, said: Said) -> bool:
        """Whether what is posted is what stands there, and the gateway can know it, from the CRM or the vault.

        What a person typed without seeing the value may be the same by chance: that has to be refused, else every
        guess would be answered.
        """
        behind = name in self.world.imported or (record, name) in self.world.loose
        knows = not way.endswith("bulk") or not behind
        now = self.world.truth[record][name]
        return knows and not said.old and not guessed(role, name, said) and any(same(one, now) for one in said.means)

    def _check(
        self,
        number: int,
        who: str,
        way: str,
        posted: Mapping[int, Mapping[str, Said]],
        accepted: bool,
        records: Sequence[int],
    ) -> None:
        read = {}
        for record in records:
            row = self.browsers["manager"].get(f"/api/contacts/{record}").expect(200).json()
            read[record] = {name: str(row[name]) for name in FIELDS}
        judge(self.world, number, who, way, posted, accepted, read)
        for record in records:
            at_rest(self.world, number, record, self.crm.contacts[record])
            parts_kept(self.world, number, who, way, record, self.crm.contacts[record]["note"])

    # -- reading ----------------------------------------------------------------------------------------------

    def _look(self, number: int, who: str, way: str, record: int) -> Snapshot:
        """A fresh page, or now and then one that this browser has had open for a while."""
        old = [one for one in self.pages[who] if one.way == way and one.record == record]
        if old and self.rng.random() < 0.25:
            return replace(self.rng.choice(old), old=True)
        return self._read(number, who, way, [record])[0]

    def _read(self, number: int, who: str, way: str, records: Sequence[int]) -> list[Snapshot]:
        browser, first = self.browsers[who], records[0]
        rows: list[Mapping[str, str]]
        if way == "json":
            row = browser.get(f"/api/contacts/{first}").expect(200).json()
            rows = [{name: str(row[name]) for name in FIELDS}]
        elif way == "form":
            answer = browser.get(f"/contacts/{first}/edit")
            rows = [dict(forms(answer.expect(200))[0].fields)]
        elif way == "page":
            found = _DD.findall(browser.get(f"/contacts/{first}").expect(200).text)
            rows = [{name: unescape(text) for name, text in found}]
        else:
            answer = browser.get(f"/export/{'-'.join(map(str, records))}/{way}").expect(200)
            rows = list(rows_of(answer.header("content-type"), answer.body))
        seen = []
        for record, row in zip(records, rows, strict=True):
            one = Snapshot(way, record, row, dict(self.world.truth[record]))
            leaks(self.world, number, who, one)
            self.pages[who] = [*self.pages[who][-40:], one]
            seen.append(one)
        return seen

    # -- making up ---------------------------------------------------------------------------------------------

    def _said(self, number: int, who: str, way: str, seen: Snapshot, name: str) -> Said:
        """What this person does to one field."""
        rng, now = self.rng, self.world.truth[seen.record]
        dice = rng.random()
        if dice < 0.55 or name == "stage":
            return kept(seen, name, now) if name != "stage" else self._new(name)
        if dice < 0.75:
            return self._new(name)
        if dice < 0.80:
            return Said("", frozenset({""}), "emptied", sure=name in WRITES[who.rstrip("12")])
        if dice < 0.86:
            return around(seen, name, rng)
        if dice < 0.92 and self.pages[who]:
            other = rng.choice(self.pages[who])
            from_name = name if rng.random() < 0.7 and name in other.shown else rng.choice(DECLARED)
            return pasted(other, from_name, name, now)
        if dice < 0.97:
            page = self._read(number, who, "page", [seen.record])[0]
            plain = same(page.shown[name], page.truth[name])
            if SEES[who.rstrip("12")].get(name) == "clear" or not page.truth[name] or plain:
                return Said(page.shown[name], frozenset({page.truth[name]}), "retyped")
            return readable(page.shown[name], page.truth[name])
        if name in ("note", "stage", "memo"):
            return self._new(name)
        return Said("x" * 600 if way == "xlsx" else self.writer.bad(name), frozenset(), "bad")

    def _new(self, name: str) -> Said:
        value = self.writer.value(name)
        return Said(value, frozenset({value}), "new", sure=True)

    def _single(self, number: int, who: str, way: str) -> dict[int, dict[str, Said]]:
        record = self.rng.choice(list(self.world.truth))
        seen = self._look(number, who, "form" if way == "form" else "json", record)
        names = FIELDS if way != "json-patch" else self.rng.sample(FIELDS, self.rng.randint(1, 4))
        quiet = self.rng.random() < 0.25  # saved as it is, as people do
        now = self.world.truth[record]
        return {
            record: {
                name: kept(seen, name, now) if quiet else self._said(number, who, way, seen, name) for name in names
            }
        }

    def _bulk(self, number: int, who: str, way: str) -> dict[int, dict[str, Said]]:
        records = self.rng.sample(list(self.world.truth), self.rng.randint(1, 4))
        seen = self._look(number, who, "form" if way == "form-bulk" else "json", records[0])
        said = {
            name: self._said(number, who, way, seen, name) for name in self.rng.sample(FIELDS, self.rng.randint(1, 3))
        }
        if len(records) > 1:  # one text for several records: it means the same in each, and a mask cannot
            said = {name: _for_many(one) for name, one in said.items()}
        return {record: {name: self._in_bulk(record, name, one) for name, one in said.items()} for record in records}

    def _in_bulk(self, record: int, name: str, said: Said) -> Said:
        """A day that stands for what is kept beside the CRM, and six bullets, keep each record's own."""
        stays = name == "birthday" and (said.text == PLACEHOLDER or said.text.startswith(NOBODYS_YEAR))
        return replace(said, means=keeps_day(said.text, self.world.truth[record], said.how).means) if stays else said

    def _table(self, number: int, who: str, way: str) -> dict[int, dict[str, Said]]:
        records = self.rng.sample(list(self.world.truth), self.rng.randint(1, 3))
        pages = self._read(number, who, way, records)
        names = TABLE if self.rng.random() < 0.5 else self.rng.sample(TABLE, self.rng.randint(1, 3))
        quiet = self.rng.random() < 0.4
        posted = {}
        for seen in pages:
            now = self.world.truth[seen.record]
            posted[seen.record] = {
                name: kept(seen, name, now) if quiet else self._said(number, who, way, seen, name) for name in names
            }
        return posted

    # -- sending -----------------------------------------------------------------------------------------------

    def _send(self, who: str, way: str, posted: Mapping[int, Mapping[str, Said]]) -> Answer:
        browser, (record, fields) = self.browsers[who], next(iter(posted.items()))
        values = {name: said.text for name, said in fields.items()}
        if way == "form":
            about = {"referer": f"{browser.base}/contacts/{record}/edit", "origin": browser.base}
            if self.rng.random() < 0.5:
                values = {name: text.replace("\r\n", "\n").replace("\n", "\r\n") for name, text in values.items()}
            return browser.post(f"/contacts/{record}/edit", values, follow=False, headers=about)
        return _send_json(browser, way.removeprefix("json-").upper(), f"/api/contacts/{record}", values)

    def _send_bulk(self, who: str, way: str, posted: Mapping[int, Mapping[str, Said]]) -> Answer:
        browser = self.browsers[who]
        values = {name: said.text for name, said in next(iter(posted.values())).items()}
        if way == "form-bulk":
            pairs = [("ids", str(record)) for record in posted] + list(values.items())
            return browser.post("/contacts/bulk", pairs, follow=False, headers={"origin": browser.base})
        return _send_json(browser, "POST", "/api/bulk", {"ids": list(posted), "set": values})

    def _import(self, who: str, way: str, posted: Mapping[int, Mapping[str, Said]]) -> Answer:
        rows = [
            {"id": record, **{name: said.text for name, said in fields.items()}} for record, fields in posted.items()
        ]
        names = ("id", *next(iter(posted.values())))
        file = (
            Upload("c.csv", as_csv(rows, names), "text/csv")
            if way == "csv"
            else Upload("c.xlsx", as_xlsx(rows, names), XLSX)
        )
        return self.browsers[who].post_files("/contacts/import", [], [("file", file)], follow=False)

    # -- the end -----------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Read everything once more, in every way, and look through all that the CRM holds."""
        for record, truth in self.world.truth.items():
            for way in ("json", "form", "page", "csv", "xlsx"):
                shown = self._read(-1, "manager1", way, [record])[0].shown
                for name in TABLE if way in ("csv", "xlsx") else FIELDS:
                    if name == "birthday" and truth[name].startswith(NOBODYS_YEAR) and way == "page":
                        continue  # who reads is told that nothing is kept; only who may post it back gets that day
                    if not _reads(shown[name], truth[name], way):
                        if way in ("csv", "xlsx") and same_number(shown[name], truth[name]):
                            self.world.respelled += 1  # it stands elsewhere too, spelled so; an export names no record
                            continue
                        detail = f"{truth[name]!r} read as {shown[name]!r}"
                        self.world.faults.append(
                            Fault(-1, "read otherwise at the end", "manager", way, name, "", detail)
                        )
        held = "\n".join(text for contact in self.crm.contacts.values() for text in contact.values())
        for value in sorted(one for one in self.world.ever if len(one) > 9):
            if value in held:
                self.world.faults.append(Fault(-1, "clear at rest", "", "", "", "at the end", repr(value)))


def _reads(shown: str, truth: str, way: str) -> bool:
    """Whether what was read in one of the ways is the truth: HTML has no lone returns, CSV guards formulas."""
    if way in ("page", "form"):
        return shown.replace("\r", "") == truth.replace("\r", "")
    return same(unguarded(shown) if way == "csv" else shown, truth)


def _for_many(said: Said) -> Said:
    return Said(said.text, frozenset(), said.how) if "mask" in said.how else said


def reason_of(answer: Answer) -> str:
    """The reason id of a refusal, "" for anything else."""
    try:
        told = answer.json() if answer.status >= 400 else {}
    except ValueError:
        return ""
    return str(told.get("reason", "")) if isinstance(told, dict) else ""


def _send_json(browser: Browser, method: str, path: str, value: Mapping[str, object]) -> Answer:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    headers = {"content-type": "application/json", "accept": "application/json", "origin": browser.base}
    return browser.send(method, path, body, headers)


def drill(
    edits: int, contacts: int, seed: int, *, restart_every: int = 1_000, minutes: float = 600, show: bool = True
) -> tuple[Tally, World]:
    """The whole drill; figures and the world with its faults. minutes: it ends early then, as if that were all."""
    end = time.monotonic() + minutes * 60
    extra = f'[tenant.main]\npolicy = "{POLICY}"'
    with edit_crm() as crm, installed(crm, extra, members=MEMBERS) as stack:  # type: ignore[arg-type]
        run = Drill(stack, crm, random.Random(seed))
        try:
            run.seed(contacts)
            for number in track(range(1, edits + 1), "edits", disable=not show):
                if time.monotonic() > end:
                    break
                run.edit(number)
                if number % restart_every == 0:
                    run.disconnect()
                    stack.restart_gateway()
            run.finish()
        finally:
            run.disconnect()
        return run.tally, run.world


def shards(edits: int, contacts: int, seed: int, workers: int, minutes: float) -> tuple[Tally, World]:
    """The drill by several installations at the same time, each with its share of edits and a seed of its own."""
    tally, world = Tally(), World()
    each = [edits // workers + (number < edits % workers) for number in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        runs = [
            pool.submit(drill, share, contacts, seed + number, show=number == 0, minutes=minutes)
            for number, share in enumerate(each)
        ]
        for number, run in enumerate(runs):
            try:
                done, seen = run.result()
            except Exception as fault:  # the others still count; the run as a whole has failed
                world.faults.append(Fault(-1, "installation failed", "", "", "", f"{number}", repr(fault)[:2000]))
                continue
            tally.edits, tally.fields = tally.edits + done.edits, tally.fields + done.fields
            tally.answers.update(done.answers)
            tally.how.update(done.how)
            tally.in_vain.update(done.in_vain)
            world.faults += seen.faults
            world.tolerated += seen.tolerated
            world.respelled += seen.respelled
    return tally, world


def report(console: Console, tally: Tally, world: World) -> None:
    """Print what was done, how it was answered and what was wrong."""
    table = Table("role", *WAYS, title=f"{tally.edits} edits, {tally.fields} fields posted: accepted / refused")
    for role in SEES:
        cells = []
        for way in WAYS:
            mine = {status: count for (who, by, status), count in tally.answers.items() if (who, by) == (role, way)}
            good = sum(count for status, count in mine.items() if status < 400)
            cells.append(f"{good} / {sum(mine.values()) - good}")
        table.add_row(role, *cells)
    console.print(table)
    hows = Table("posted as", "accepted", "refused with the whole request")
    for how in sorted({one for one, _ in tally.how}):
        hows.add_row(how, str(tally.how[how, "accepted"]), str(tally.how[how, "refused"]))
    console.print(hows)
    for key, count in sorted(summary(world.faults).items(), key=lambda pair: -pair[1]):
        console.print(f"  {count} × {' | '.join(filter(None, key))}", style="red")
        for one in [fault for fault in world.faults if (fault.what, fault.way, fault.name, fault.how) == key][:3]:
            console.print(f"      #{one.number} {one.who} {escape(one.detail[:500])}")
    kinds = Counter(one.what for one in world.faults)
    for what in ("value lost or overwritten", "not what was meant", "accepted but wrong", "written without the right"):
        console.print(f"{what}: {kinds.pop(what, 0)}")
    for reason in sorted(IN_VAIN):
        console.print(f"refused for lack of time ({reason}), may be saved again: {tally.in_vain[reason]}")
    console.print(f"bulk edits refused while nobody is sure which date stands: {tally.in_vain[UNSURE]}")
    for what in (
        "refused but written",
        "refused without a reason",
        "guess confirmed",
        "clear at rest",
        "shown in clear",
    ):
        console.print(f"{what}: {kinds.pop(what, 0)}")
    console.print(
        f"part of a text changed without the right: {kinds.pop('part of a text changed without the right', 0)}"
    )
    console.print(f"numbers in exports in another of their spellings: {world.respelled}")
    console.print(f"old pages put back where an import or an unseen copy had changed the field: {world.tolerated}")
    for what, count in kinds.items():
        console.print(f"{what}: {count}")


def main() -> int:
    """Run; exit code 1 when anything was lost, overwritten, leaked or refused without a reason."""
    parser = argparse.ArgumentParser(prog="make edits", description=__doc__)
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--contacts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="installations at the same time"
    )
    parser.add_argument("--minutes", type=float, default=600, help="end early, with what was done until then")
    given = parser.parse_args()
    console = Console(highlight=False, width=150)
    tally, world = shards(given.edits, given.contacts, given.seed, given.workers, given.minutes)
    report(console, tally, world)
    return 1 if world.faults else 0


if __name__ == "__main__":
    sys.exit(main())
