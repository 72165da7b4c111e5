# With [audit] checkpoint_signer = "key-server": what the serving token needs besides serving.hcl. It signs and cannot make,
# rotate, export or delete the key.
path "transit/keys/audit-checkpoint" { capabilities = ["read"] }
path "transit/sign/audit-checkpoint" { capabilities = ["update"] }
# Whoever runs crmgate audit key --create (--token-file) needs, in a policy of its own:
#   path "transit/keys/audit-checkpoint" { capabilities = ["create", "update", "read"] }
