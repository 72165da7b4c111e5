# Whoever runs crmgate keys import, keys destroy, keys rotate --tenant-key and keys person (--token-file): a token of its
# own, short-lived, never on disk where the gateway serves. For each CRM, write its name instead of "main".
path "transit/keys/crmgate-main"              { capabilities = ["create", "update", "read", "delete"] }
path "transit/keys/crmgate-main/*"            { capabilities = ["create", "update", "read", "delete"] }
path "transit/encrypt/crmgate-main"           { capabilities = ["update"] }
path "transit/decrypt/crmgate-main"           { capabilities = ["update"] }
path "transit/rewrap/crmgate-main"            { capabilities = ["update"] }
path "transit/wrapping_key"                   { capabilities = ["read"] }
# Of the key above person keys nothing is deleted: its versions are turned and trimmed.
path "transit/keys/crmgate-main_persons"        { capabilities = ["create", "update", "read"] }
path "transit/keys/crmgate-main_persons/rotate" { capabilities = ["update"] }
path "transit/keys/crmgate-main_persons/config" { capabilities = ["update"] }
path "transit/keys/crmgate-main_persons/trim"   { capabilities = ["update"] }
path "transit/encrypt/crmgate-main_persons"     { capabilities = ["update"] }
path "transit/decrypt/crmgate-main_persons"     { capabilities = ["update"] }
# What `crmgate check` and every start try themselves on.
path "transit/keys/crmgate-check"    { capabilities = ["create", "update", "read"] }
path "transit/encrypt/crmgate-check" { capabilities = ["update"] }
path "transit/decrypt/crmgate-check" { capabilities = ["update"] }
