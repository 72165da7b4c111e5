"""Adds users to BottleCRM; run by `django-admin shell` with the CRM's folder as working directory.

Reads users.json ([{login, password, admin, first_name, last_name, links}]) and writes user_ids.json ({login: id}).
BottleCRM knows no passwords: it lets in whoever brings a sign-in link, good for one time. `links`: those of one user.
"""

import json
from datetime import timedelta
from pathlib import Path

from common.models import MagicLinkToken, Org, Profile, User
from common.tasks import set_rls_context
from django.utils import timezone

org = Org.objects.filter(name="Demo").first() or Org.objects.create(name="Demo", default_country="CN")
set_rls_context(org.id)
ids = {}
for wanted in json.loads(Path("users.json").read_text()):
    email = wanted["login"] if "@" in wanted["login"] else wanted["login"] + "@staff.example.com"
    user, _ = User.objects.get_or_create(email=email)
    user.name = f"{wanted['first_name']} {wanted['last_name']}"
    user.is_active = True
    user.set_unusable_password()
    user.save()
    # Everybody may see everything in the CRM: who sees what is for the gateway to say.
    Profile.objects.get_or_create(
        user=user, org=org, defaults={"role": "ADMIN", "is_active": True, "is_organization_admin": True}
    )
    expires = timezone.now() + timedelta(days=3650)
    MagicLinkToken.objects.filter(email=email, is_used=False).delete()
    MagicLinkToken.objects.bulk_create(
        [MagicLinkToken(email=email, token=link, expires_at=expires) for link in wanted["links"]]
    )
    ids[wanted["login"]] = str(user.pk)
Path("user_ids.json").write_text(json.dumps(ids))
