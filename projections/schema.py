"""The tables of the views: what the folds write and the queries read. Changing one takes a new version.

Every row says from which position of the log it holds, and up to which (excluded) it held; so a query as of
an earlier position is the same SQL with another number. A set of tables is named by the version of its
projection: a new version is built beside the old one, and each program uses its own.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import NamedTuple

FOREVER = 2**63 - 1
"""`to_pos` of a row that still holds."""


class Table(NamedTuple):
    """A table of rows over time. At each position, at most one row of a key holds.

    Besides key and columns every row has `from_pos` and `to_pos`. `indexes` name columns; there is always one on the
    key and `from_pos`.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()

    def ddl(self) -> tuple[str, ...]:
        """Return the statements that make the table."""
        columns = ", ".join((*self.key, *self.columns))
        key = ", ".join((*self.key, "from_pos"))
        return (
            f"CREATE TABLE {self.name} ({columns}, from_pos INTEGER NOT NULL, to_pos INTEGER NOT NULL)",
            f"CREATE UNIQUE INDEX {self.name}_by_key ON {self.name} ({key})",
            *map(self._index, self.indexes),
        )

    def _index(self, columns: tuple[str, ...]) -> str:
        return f"CREATE INDEX {self.name}_by_{'_'.join(columns)} ON {self.name} ({', '.join(columns)})"


HOLDS = "from_pos <= :at AND to_pos > :at"
"""The condition on a row that it holds at the position `:at`."""

_BOOKKEEPING_FORMAT = 1

CHECKPOINTS = f"checkpoints_{_BOOKKEEPING_FORMAT}"
"""How far each projection has got, the data of the event there, and the log's time there."""

MARKS = f"marks_{_BOOKKEEPING_FORMAT}"
"""The log's time at one event in about MARK_EVERY positions, to find a position by time."""

MARK_EVERY = 256

BOOKKEEPING = (
    f"""CREATE TABLE IF NOT EXISTS {CHECKPOINTS} (
        projection TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        data BLOB,
        log_time INTEGER NOT NULL,
        skipped INTEGER NOT NULL,
        checked INTEGER NOT NULL
    )""",
    f"CREATE TABLE IF NOT EXISTS {MARKS} (position INTEGER PRIMARY KEY, log_time INTEGER NOT NULL)",
)

REGISTRY = "registry_v2"

STACKS = Table(
    f"{REGISTRY}_stacks",
    ("stack_id",),
    ("name", "folded", "components", "labels", "shared", "built_in", "owner", "registered", "created"),
    (("registered", "from_pos"), ("folded", "from_pos")),
)
"""`components` is JSON {type: [component id, ...]}; `registered` a position, `created` microseconds since 1970."""

COMPONENTS = Table(
    f"{REGISTRY}_components",
    ("component_id",),
    (
        *("type", "name", "folded", "flavor", "configuration", "labels", "shared", "built_in"),
        *("owner", "registered", "created"),
    ),
    (("type", "registered", "from_pos"), ("type", "folded", "from_pos")),
)

ACTIVATIONS = Table(f"{REGISTRY}_activations", ("scope", "scope_id"), ("stack_id",))
"""Which stack was last activated for a user or a repository; the stack may be gone."""

FLAVORS = Table(f"{REGISTRY}_flavors", ("type", "folded"), ("name", "source", "owner", "created"))
"""The flavors that users registered."""

SECRETS = Table(
    f"{REGISTRY}_secrets",
    ("secret_id",),
    ("name", "folded", "keys", "owner", "registered", "created"),
    (("folded", "from_pos"),),
)

KEYS = Table(
    f"{REGISTRY}_keys",
    ("key_id",),
    ("name", "folded", "role", "public", "queues", "status", "owner", "registered", "created"),
    (("folded", "from_pos"),),
)
"""Keys that were enrolled; `status` is `enrolled` or `revoked`, `queues` JSON."""

TRUST = Table(f"{REGISTRY}_trust", ("subject",), ("root", "number", "expires"))
"""The newest list that the log's root key signed, of the subject `coordinators`."""

SUBJECTS = Table(f"{REGISTRY}_subjects", ("subject_id",), ("kind", "created"))

COUNTS = Table(f"{REGISTRY}_counts", ("kind",), ("live",))
"""How many there are of `stack`, `secret`, `key` and each type of component."""

REGISTRY_TABLES = (STACKS, COMPONENTS, ACTIVATIONS, FLAVORS, SECRETS, KEYS, TRUST, SUBJECTS, COUNTS)

RUNS_VIEW = "runs_v3"

RUNS = Table(
    f"{RUNS_VIEW}_runs",
    ("run_id",),
    (
        *(
            "name",
            "folded",
            "pipeline",
            "pipeline_folded",
            "stack_id",
            "stack_name",
            "stack",
            "parameters",
            "code",
            "environment",
            "plan",
        ),
        *("retry_of", "owner", "started"),
    ),
    (("from_pos",), ("folded",), ("pipeline_folded", "from_pos")),
)
"""What was fixed when the run started; the rows never change. `stack`, `code`, `plan` … are JSON as in the event."""

RUN_STATES = Table(f"{RUNS_VIEW}_run_states", ("run_id",), ("status", "ended", "because"), (("status", "to_pos"),))
"""Where the run has got. By the index, the few that are running are found among all that ever were."""

STEP_STATES = Table(
    f"{RUNS_VIEW}_step_states",
    ("run_id", "step"),
    (
        *("status", "attempt", "queued", "started", "ended", "error", "message", "retry_at", "inputs", "because"),
        *("queue", "execution", "worker"),
    ),
)
"""Where a planned step has got; before its first attempt there is no row."""

ARTIFACTS = Table(
    f"{RUNS_VIEW}_artifacts",
    ("artifact_id",),
    (
        *("name", "folded", "version", "run_id", "step", "output", "digest", "size", "layout", "materializer"),
        *("data_type", "owner", "created"),
    ),
    (("from_pos",), ("folded", "version", "from_pos"), ("run_id",)),
)
"""What steps put out; the rows never change. `version` counts the artifacts of that name in the order of the log."""

RUN_COUNTS = Table(f"{RUNS_VIEW}_counts", ("kind",), ("live",))
"""How many there are of `run`, and of `version/NAME` for each folded name of an artifact."""

RUN_TABLES = (RUNS, RUN_STATES, STEP_STATES, ARTIFACTS, RUN_COUNTS)

VIEWS = (REGISTRY, RUNS_VIEW)
"""The sets of tables that this program reads."""
