"""Adds people and organisations to Creme through its own models; run by its own `shell` command.

Reads people.json ({"owners": [login], "people": [...], "organisations": [...]}) in the project folder, its working
directory's `crmproj`. Thousands take a minute, through its forms they would take hours.
"""

import json
from datetime import date
from pathlib import Path

from creme.creme_core.models import CremeUser
from creme.persons.models import Address, Contact, Organisation
from django.db import transaction

given = json.loads((Path("crmproj") / "people.json").read_text())
owners = [CremeUser.objects.get(username=login) for login in given["owners"]]


def keep(made, one, number):
    """Store a record, and its address as Creme's own form does."""
    made.user = owners[number % len(owners)]
    made.email, made.description = one["email"], one["notes"]
    made.save()
    made.billing_address = Address.objects.create(owner=made, address=one["address"], city=one["city"])
    made.save()


with transaction.atomic():
    for number, one in enumerate(given["people"]):
        born = date.fromisoformat(one["birthday"])
        keep(Contact(last_name=one["last_name"], first_name=one["first_name"], mobile=one["phone"], birthday=born),
             one, number)  # fmt: skip
    for number, one in enumerate(given["organisations"]):
        keep(Organisation(name=one["name"], phone=one["phone"]), one, number)
