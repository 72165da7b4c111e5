"""GraphQL requests: what a profile says of a schema, and what one request asks for. Pure functions."""
