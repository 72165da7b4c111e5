"""Small servers that speak the documented shapes of hosted CRMs, for tests in front of which no real one can stand."""
