"""Reviews of access: who has what since when, what nobody used, and rounds in which somebody confirms or removes it."""
