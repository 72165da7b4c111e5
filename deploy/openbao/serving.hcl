# The serving gateway, in OpenBao or Vault: makes its two keys once, wraps and opens with them, and nothing else.
# It can neither forget versions of a key nor delete, export or import one. For each CRM, write its name instead of "main".
# Names are whole on purpose: with transit/keys/crmgate-* the token may rotate, configure and trim these keys as well.
path "transit/keys/crmgate-main"            { capabilities = ["create", "update", "read"] }
path "transit/encrypt/crmgate-main"         { capabilities = ["update"] }
path "transit/decrypt/crmgate-main"         { capabilities = ["update"] }
path "transit/keys/crmgate-main_persons"    { capabilities = ["create", "update", "read"] }
path "transit/encrypt/crmgate-main_persons" { capabilities = ["update"] }
path "transit/decrypt/crmgate-main_persons" { capabilities = ["update"] }
# What `crmgate check` and every start try themselves on.
path "transit/keys/crmgate-check"    { capabilities = ["create", "update", "read"] }
path "transit/encrypt/crmgate-check" { capabilities = ["update"] }
path "transit/decrypt/crmgate-check" { capabilities = ["update"] }
