"""Who passes: users, both factors of a sign-in, sessions, and the pages that ask for them."""
