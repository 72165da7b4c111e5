"""The console on its own host: who is on, live activity, users and roles, health."""
