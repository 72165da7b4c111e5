"""dbos behind four verbs: open, enqueue, take over what dead processes left, close.

dbos recovers workflows by the id of the process that ran them. Here each process has an id of its own and holds a
PostgreSQL advisory lock named after it on a connection kept for nothing else; the lock goes with the process, however
it ends. Whoever gets the lock of another process's id knows that it is dead and puts its workflows back into their
queue, under that lock, so no workflow is taken over twice. The application version is constant: an update of crmgate
takes up what the old one left. A queue a kind of job, so a process only meets kinds it knows.

dbos phones nobody: no Conductor, no OTLP, no admin server; its settings from the environment do not count. Arguments
and results are JSON, exceptions are stored as the name of their class, and of its log lines only the place is kept.
"""

import asyncio
import json
import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import psycopg
import sqlalchemy
import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos._serialization import Serializer
from dbos._utils import GlobalParams
from psycopg.rows import TupleRow
from sqlalchemy.exc import SQLAlchemyError

from gateway.job import WorkflowsUnavailable
from gateway.process_store import ProcessLock

APPLICATION = "crmgate"
VERSION = "crmgate-jobs-1"  # changes only when old workflows could not be gone on with
SCHEMA = "dbos"
THREADS = 8
CONNECTIONS = 6
LEAVE_S = 10.0  # for a thread that waits for the database
_ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})

log = structlog.get_logger(__name__)


class Told(TypedDict):
    """What a step says: how the workflow ends ("" goes on), seconds until the next step, failures in a row."""

    end: str
    pause_s: float
    failures: int


class Closed(Exception):  # noqa: N818 - a state
    """This process has left; not an error of the database, so dbos does not wait for it to pass."""


class Workflows:
    """dbos in this process; there can be one at a time.

    drive: the one workflow function, called with job id and run in a thread of dbos.
    """

    def __init__(self, dsn: str, drive: Callable[[str, int], str], *, poll_s: float) -> None:
        self._dsn = dsn
        self._drive = drive
        self._poll_s = poll_s
        self._id = uuid.uuid4().hex
        self._lock = ProcessLock(dsn, self._id)
        self._engine: sqlalchemy.Engine | None = None
        self._queues: list[str] = []
        self._workflow: Callable[[str, int], str] | None = None
        self._closed = False

    async def open(self, kinds: Mapping[str, int]) -> None:
        """Start dbos for these kinds (kind → jobs at once); raises WorkflowsUnavailable."""
        try:
            await self._lock.hold()
            await asyncio.to_thread(self._launch, kinds)
        except (psycopg.Error, SQLAlchemyError, OSError) as fault:
            message = f"durable work cannot start: the database refuses or does not answer ({type(fault).__name__})"
            raise WorkflowsUnavailable(message) from None

    async def close(self) -> None:
        """Stop the threads, keep what is under way for the next process, let the lock go."""
        self._closed = True
        if self._engine is not None:
            await asyncio.to_thread(_end_threads)
            self._engine.dispose()
            self._engine = None
        await self._lock.close()

    async def enqueue(self, kind: str, job: str, run: int) -> bool:
        """See that the workflow of this run exists; False when it has ended already."""
        return await asyncio.to_thread(self._enqueue, kind, job, run)

    def step(self, function: Callable[..., Told], *arguments: Any) -> Told:
        """Run a step of the workflow this thread is in, or tell again what it told."""
        return DBOS.run_step({"name": "slice"}, function, *arguments)

    async def take_over(self) -> int:
        """Put workflows of dead processes back into their queues; how many."""
        taken = 0
        for owner in await asyncio.to_thread(self._foreign):
            async with self._lock.of_dead(owner) as dead:
                # Read again under the lock: another process may have been quicker.
                left = (await asyncio.to_thread(self._foreign)).get(owner, []) if dead else []
                for name, queue in left:
                    await asyncio.to_thread(DBOS.resume_workflow, name, queue_name=queue)
                taken += len(left)
        if taken:
            log.info("jobs-taken-over", count=taken)
        return taken

    def _launch(self, kinds: Mapping[str, int]) -> None:
        _quiet()
        if GlobalParams.dbos_cloud:
            raise WorkflowsUnavailable("DBOS__CLOUD is set in the environment; crmgate runs its jobs itself: unset it")
        engine = self._engine = sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=30,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": engine,
            "dbos_system_schema": SCHEMA,
            "application_version": VERSION,
            "executor_id": self._id,
            "serializer": JsonSerializer(),
            "log_level": "WARNING",
            "enable_otlp": False,
            "use_listen_notify": False,
            "max_executor_threads": THREADS,
            "sys_db_polling_concurrency": 2,
            "scheduler_polling_interval_sec": 3600.0,
            "notification_listener_polling_interval_sec": self._poll_s,
        }
        DBOS(config=config)
        drive = self._drive

        def work(job: str, run: int) -> str:
            return drive(job, run)

        self._workflow = DBOS.workflow(name="crmgate.job", max_recovery_attempts=None)(work)
        self._queues = [_queue(kind) for kind in kinds]
        DBOS.listen_queues(self._queues)
        DBOS.launch()
        for kind, at_once in kinds.items():
            DBOS.register_queue(
                _queue(kind),
                worker_concurrency=at_once,
                polling_interval_sec=self._poll_s,
                on_conflict="always_update",
            )

    def _connect(self) -> psycopg.Connection[TupleRow]:
        if self._closed:
            raise Closed
        return psycopg.connect(self._dsn, application_name="crmgate jobs", connect_timeout=10)

    def _enqueue(self, kind: str, job: str, run: int) -> bool:
        assert self._workflow is not None
        with SetWorkflowID(f"{job}/{run}"):
            handle = DBOS.enqueue_workflow(_queue(kind), self._workflow, job, run)
        return handle.get_status().status not in _ENDED

    def _foreign(self) -> dict[str, list[tuple[str, str]]]:
        """Running workflows of other processes: (workflow, queue) by process id."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        if not self._queues:
            return found
        for one in DBOS.list_workflows(status="PENDING", queue_name=self._queues, load_input=False, load_output=False):
            if one.executor_id and one.executor_id != self._id and one.queue_name:
                found[one.executor_id].append((one.workflow_id, one.queue_name))
        return found


class JsonSerializer(Serializer):
    """JSON for arguments and results; an exception is stored as the name of its class and read back as `StepFailed`."""

    def serialize(self, data: Any) -> str:
        """Text of a JSON value; raises TypeError for anything else."""
        if isinstance(data, BaseException):
            return json.dumps({"fault": type(data).__name__})
        return json.dumps(data, allow_nan=False)

    def deserialize(self, serialized_data: str) -> Any:
        """The value again."""
        data = json.loads(serialized_data)
        if isinstance(data, dict) and data.keys() == {"fault"}:
            return StepFailed(str(data["fault"]))
        return data

    def name(self) -> str:
        """What dbos notes beside each stored text."""
        return "crmgate_json"


class StepFailed(Exception):  # noqa: N818 - names what happened
    """An exception of an earlier execution; its text was not kept."""


def _queue(kind: str) -> str:
    return f"{APPLICATION}-{kind}"


def _end_threads() -> None:
    """End dbos; what its threads still do with a connection is waited for, so that none is left open."""
    DBOS.destroy(destroy_registry=True)
    for thread in threading.enumerate():
        if thread.name.startswith(("dbos-executor", "queue-worker")):
            thread.join(LEAVE_S)


def _quiet() -> None:
    """Only where a line of dbos comes from goes into our log: its text may repeat what an exception said."""

    class Place(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fault = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
            log.warning("dbos", place=f"{record.module}:{record.lineno}", level=record.levelname, fault=fault)

    logger = logging.getLogger("dbos")
    logger.handlers = [Place(level=logging.WARNING)]
    logger.propagate = False
