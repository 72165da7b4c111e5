"""Work in Tryton."""

from tests.drills.workflow import Workflow

WORKFLOWS: tuple[Workflow, ...] = ()
