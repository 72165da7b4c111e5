"""The demo: a real CRM, crmgate in front of it, synthetic people in it, all on this machine only."""
