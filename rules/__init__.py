"""Control catalogues and scores: pure, imports nothing of ours."""
