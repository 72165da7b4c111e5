"""Handing the trail to a SIEM: four formats, three ways, at least once."""
