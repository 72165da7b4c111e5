"""How a record that somebody names is named inside the audit trail, and back: the one place where the two meet."""


class TrailNames:
    """The trail names records by the CRM's own keys."""

    async def looked_up(self, tenant: str, entity: str, record: str) -> str:
        """What stands in the trail for a record that an auditor names by its key in the CRM."""
        del tenant, entity
        return record

    async def told(self, tenant: str, entity: str, record: str) -> str:
        """What an auditor reads for a record as the trail names it."""
        del tenant, entity
        return record
