"""The company's directory (LDAP, Active Directory) as the check of a password."""
