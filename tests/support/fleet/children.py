"""A project in an archive, and warm children that execute its steps, without any broker."""

from __future__ import annotations

import textwrap
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from stackledger.domain.component_types import ComponentType
from stackledger.domain.events.runs import Kept, PinnedComponent, Produced
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig
from stackledger.pipelines.archive import packed
from stackledger.workers.execute import load
from stackledger.workers.fleet.broker.told import Broke, Ended
from stackledger.workers.fleet.execution.children import WarmChildren
from stackledger.workers.fleet.protocol.messages import Ref, Success, Task

SECONDS = 60.0
"""How long a test waits for what has to come."""


class Crew:
    """Warm children of a worker, and the steps of a small project for them."""

    def __init__(self, home: Path, source: str = "", *, slots: int = 1, **settings: Any) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        config = LocalArtifactStoreConfig(path=str(home / "store"))
        self.store = LocalArtifactStore(config, home=home, component_id="store")
        self.component = PinnedComponent(
            id="store",
            type=ComponentType.ARTIFACT_STORE,
            name="store",
            flavor="local",
            configuration={"path": str(home / "store")},
        )
        self.code = self.packed(source)
        self.inbox: SimpleQueue[Ended | Broke] = SimpleQueue()
        self._ids = count()
        self.children = WarmChildren(home, slots, self.inbox.put, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.children.close()

    @property
    def scratch(self) -> Path:
        """The folder for what is under way."""
        return next(each for each in (self.home / "worker/scratch").iterdir() if each.suffix != ".lock")

    def packed(self, source: str) -> Kept:
        """Return the archive of a project with one module, `project`."""
        root = self.home / f"project-{len(list(self.home.glob('project-*')))}"
        root.mkdir()
        text = "import os, signal, subprocess, sys, time\nfrom pathlib import Path\nfrom stackledger import step\n\n"
        (root / "project.py").write_text(text + textwrap.dedent(source))
        archive = packed(root, search_path=[str(root)])
        return Kept(**self.store.put(archive.data)._asdict())

    def task(
        self,
        source: str,
        *,
        inputs: dict[str, Produced] | None = None,
        outputs: tuple[str, ...] = ("output",),
        code: Kept | None = None,
        store: PinnedComponent | None = None,
        **parameters: JsonValue,
    ) -> Task:
        """Return a task for a function of the project."""
        return Task(
            ref=Ref(run_id="run-1", step=source, attempt=1, dispatch="dispatch"),
            run_name="the run",
            pipeline="the pipeline",
            queue="default",
            source=f"project.{source}",
            parameters=parameters,
            inputs=inputs or {},
            artifacts={output: f"artifact of {output}" for output in outputs},
            store=store or self.component,
            code=code or self.code,
        )

    def start(self, task: Task, slot: int = 0) -> str:
        """Begin an execution; return its id."""
        execution = f"execution-{next(self._ids)}"
        self.children.start(slot, execution, task)
        return execution

    def ended(self) -> Ended:
        """Return what ended next."""
        told = self.inbox.get(timeout=SECONDS)
        assert isinstance(told, Ended), told.error
        return told

    def run(self, task: Task) -> Ended:
        """Execute a task to its end."""
        execution = self.start(task)
        ended = self.ended()
        assert ended.execution == execution
        return ended

    def value(self, task: Task) -> object:
        """Execute a task and return its only output."""
        ended = self.run(task)
        assert isinstance(ended.result, Success), self.log(ended)
        return load(self.store, ended.result.outputs[0])

    def log(self, ended: Ended) -> str:
        """Return what an execution said."""
        return "" if ended.log is None else self.store.get(ended.log.digest, ended.log.size).decode()
