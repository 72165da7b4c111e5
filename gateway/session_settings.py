"""What the settings say about sessions, as the sessions take it."""

from datetime import timedelta

from gateway.access.device import DeviceRules
from gateway.access.session_rules import Room, Timeouts
from gateway.settings import AccessSettings
from gateway.toml_tree import SettingInvalid


def timeouts_of(access: AccessSettings) -> Timeouts:
    """Timeouts of sessions; raises SettingInvalid where they contradict each other."""
    idle, absolute = timedelta(minutes=access.idle_minutes), timedelta(hours=access.absolute_hours)
    lock = timedelta(minutes=access.lock_minutes)
    if idle > absolute:
        raise SettingInvalid("access.idle_minutes", "must not be longer than absolute_hours")
    if lock >= idle:
        raise SettingInvalid("access.lock_minutes", "must be shorter than idle_minutes")
    return Timeouts(idle=idle, absolute=absolute, lock=lock)


def devices_of(access: AccessSettings) -> DeviceRules:
    """What sessions need of a device; raises SettingInvalid where a proof would last too long."""
    try:
        return DeviceRules(
            access.devices,
            access.devices_approval,
            access.devices_most,
            timedelta(minutes=access.devices_renew_minutes),
            access.devices_programs,
        )
    except ValueError as fault:
        raise SettingInvalid("access.devices_renew_minutes", "must be 1 to 5") from fault


def room_of(access: AccessSettings) -> Room:
    """How many sessions an account may have."""
    return Room(access.sessions_most, access.sessions_full)
