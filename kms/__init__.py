"""Keys, envelopes and surrogates: how a personal value is sealed, named and found again."""
