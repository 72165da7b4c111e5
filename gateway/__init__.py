"""The gateway: data plane, sign-in, console, settings and composition."""
