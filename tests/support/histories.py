"""Plausible histories: events in the order and shape in which commands would have made them.

Used where it matters what is read from a log, not how it was decided: projections, queries, histories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

from stackledger.domain.component_types import ComponentType
from stackledger.domain.event import Envelope, Event
from stackledger.domain.events.components import (
    ComponentDeleted,
    ComponentRegistered,
    ComponentRenamed,
    ComponentShared,
    ComponentUnshared,
    ComponentUpdated,
    FlavorDeleted,
    FlavorRegistered,
    SecretCreated,
    SecretDeleted,
    SecretRenamed,
    SecretUpdated,
    StoresPaired,
    StoresUnpaired,
)
from stackledger.domain.events.fleet import KeyEnrolled, KeyRevoked, KeyRole, TrustPublished
from stackledger.domain.events.log import LogCreated, SubjectEnrolled
from stackledger.domain.events.runs import (
    Code,
    PinnedComponent,
    PinnedStack,
    PlannedStep,
    Produced,
    Retry,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.events.stacks import (
    StackActivated,
    StackDeleted,
    StackRegistered,
    StackRenamed,
    StackShared,
    StackUnshared,
    StackUpdated,
)
from stackledger.eventlog.codec import encode, stored_tags
from stackledger.eventlog.stored import StoredEvent

START = 1_790_000_000_000_000
"""When the histories begin, in microseconds since 1970."""

STEPS = ("load", "train", "evaluate")


@dataclass
class History:
    """A log in the making. Positions leave gaps and recorded times step back now and then."""

    random: Random
    events: list[StoredEvent] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    stacks: dict[str, StackRegistered] = field(default_factory=dict)
    components: dict[str, ComponentRegistered] = field(default_factory=dict)
    secrets: dict[str, SecretCreated] = field(default_factory=dict)
    flavors: dict[str, FlavorRegistered] = field(default_factory=dict)
    keys: dict[str, KeyEnrolled] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, str]] = field(default_factory=dict)
    now: int = START
    gaps: bool = True

    def new_id(self) -> str:
        return f"{self.now // 1000:012x}-{self.random.getrandbits(32):08x}"

    def new_name(self) -> str:
        name = self.random.choice(("stack", "Ärger", "my_stack", "a%b", "x-1", "Prod.EU")) + f"{len(self.names)}"
        self.names.append(name)
        return name

    def append(self, event: Event, *, actor: str = "user-1") -> StoredEvent:
        """Add an event at the next position, or a few behind it."""
        self.now += self.random.choice((0, 1, 1000, 60_000_000, -30_000_000))
        last = self.events[-1].position if self.events else 0
        position = last + (self.random.choice((1, 1, 1, 1, 3)) if self.gaps and last else 1)
        envelope = Envelope(self.new_id(), self.now, actor, "host-1", None, None, "correlation", None)
        stored = StoredEvent(position, event.TYPE, stored_tags(event, envelope), encode(event, envelope))
        self.events.append(stored)
        return stored

    def begin(self) -> None:
        self.append(LogCreated(log_id=self.new_id()))
        self.append(SubjectEnrolled(subject_id="user-1", kind="user", commitment="00"))
        for component_type in (ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE):
            self.register_component(component_type, name="default", built_in=True)
        self.register_stack(name="default", built_in=True)

    def register_component(
        self, component_type: ComponentType | None = None, *, name: str | None = None, built_in: bool = False
    ) -> None:
        event = ComponentRegistered(
            component_id=self.new_id(),
            type=component_type or self.random.choice(list(ComponentType)),
            name=name or self.new_name(),
            flavor=self.random.choice(("local", "s3")),
            custom_flavor=False,
            configuration={"path": "/srv/é", "n": self.random.randrange(9)},
            labels={},
            shared=built_in,
            built_in=built_in,
            secrets=(),
        )
        self.components[event.component_id] = event
        self.append(event, actor=self.random.choice(("user-1", "user-2")))

    def change_component(self) -> None:
        component_id = self._any([each.component_id for each in self.components.values() if not each.built_in])
        if component_id is None:
            return
        held = self.components[component_id]
        change = self.random.choice(("update", "rename", "share", "unshare", "delete"))
        if change == "update":
            new = held.model_copy(update={"configuration": {"n": self.random.random()}, "labels": {"team": "a"}})
            self.append(
                ComponentUpdated(
                    component_id=component_id,
                    configuration=new.configuration,
                    labels=new.labels,
                    secrets=(),
                    previous_configuration=held.configuration,
                    previous_labels=held.labels,
                    previous_secrets=(),
                )
            )
            self.components[component_id] = new
        elif change == "rename":
            name = self.new_name()
            self.append(ComponentRenamed(component_id=component_id, type=held.type, name=name, previous_name=held.name))
            self.components[component_id] = held.model_copy(update={"name": name})
        elif change == "share":
            self.append(ComponentShared(component_id=component_id))
        elif change == "unshare":
            self.append(ComponentUnshared(component_id=component_id))
        elif not any(component_id in ids for stack in self.stacks.values() for ids in stack.components.values()):
            del self.components[component_id]
            self.append(
                ComponentDeleted(
                    component_id=component_id,
                    type=held.type,
                    name=held.name,
                    flavor=held.flavor,
                    custom_flavor=False,
                    secrets=(),
                )
            )

    def register_stack(self, *, name: str | None = None, built_in: bool = False) -> None:
        event = StackRegistered(
            stack_id=self.new_id(),
            name=name or self.new_name(),
            components=self._some_components(),
            labels=self.random.choice(({}, {"team": "a", "x": "ü"}, {"team": "b"})),
            shared=built_in,
            built_in=built_in,
        )
        self.stacks[event.stack_id] = event
        self.append(event, actor=self.random.choice(("user-1", "user-2")))

    def change_stack(self) -> None:
        stack_id = self._any([each.stack_id for each in self.stacks.values() if not each.built_in])
        if stack_id is None:
            return
        held = self.stacks[stack_id]
        uses = tuple(each for ids in held.components.values() for each in ids)
        change = self.random.choice(("update", "rename", "share", "unshare", "delete", "again"))
        if change == "update":
            new = held.model_copy(update={"components": self._some_components(), "labels": {"team": "c"}})
            self.append(
                StackUpdated(
                    stack_id=stack_id,
                    components=new.components,
                    labels=new.labels,
                    previous_components=held.components,
                    previous_labels=held.labels,
                )
            )
            self.stacks[stack_id] = new
        elif change == "rename":
            name = self.new_name()
            self.append(StackRenamed(stack_id=stack_id, name=name, previous_name=held.name, uses=uses))
            self.stacks[stack_id] = held.model_copy(update={"name": name})
        elif change == "share":
            self.append(StackShared(stack_id=stack_id))
        elif change == "unshare":
            self.append(StackUnshared(stack_id=stack_id))
        else:
            del self.stacks[stack_id]
            self.append(StackDeleted(stack_id=stack_id, name=held.name, uses=uses))
            if change == "again":
                self.register_stack(name=held.name)

    def activate(self) -> None:
        stack_id = self._any(list(self.stacks))
        if stack_id is not None:
            scope = self.random.choice((("user", "user-1"), ("user", "user-2"), ("repository", "repo-1")))
            self.append(StackActivated(stack_id=stack_id, scope=scope[0], scope_id=scope[1]))

    def change_secret(self) -> None:
        secret_id = self._any(list(self.secrets))
        if secret_id is None or self.random.random() < 0.4:
            created = SecretCreated(secret_id=self.new_id(), name=self.new_name(), keys=("user", "password"))
            self.secrets[created.secret_id] = created
            self.append(created)
            return
        held = self.secrets[secret_id]
        change = self.random.choice(("update", "rename", "delete"))
        if change == "update":
            self.append(SecretUpdated(secret_id=secret_id, keys=("user",), previous_keys=held.keys, changed=("user",)))
            self.secrets[secret_id] = held.model_copy(update={"keys": ("user",)})
        elif change == "rename":
            name = self.new_name()
            self.append(SecretRenamed(secret_id=secret_id, name=name, previous_name=held.name))
            self.secrets[secret_id] = held.model_copy(update={"name": name})
        else:
            del self.secrets[secret_id]
            self.append(SecretDeleted(secret_id=secret_id, name=held.name))

    def change_flavor(self) -> None:
        name = self._any(list(self.flavors))
        if name is None or self.random.random() < 0.6:
            event = FlavorRegistered(type=ComponentType.ORCHESTRATOR, name=self.new_name(), source="mine.Flavor")
            self.flavors[event.name] = event
            self.append(event)
        else:
            self.append(FlavorDeleted(type=self.flavors.pop(name).type, name=name))

    def change_key(self) -> None:
        key_id = self._any(list(self.keys))
        if key_id is not None and self.random.random() < 0.4:
            self.append(KeyRevoked(key_id=key_id))
            self.publish_trust(without=self.keys.pop(key_id))
            return
        role: KeyRole = self.random.choice(("coordinator", "worker"))
        enrolled = KeyEnrolled(
            key_id=self.new_id(), role=role, name=self.new_name(), public=f"{len(self.names):064x}", queues=("default",)
        )
        self.keys[enrolled.key_id] = enrolled
        self.append(enrolled)
        self.publish_trust(enrolled)

    def publish_trust(self, changed: KeyEnrolled | None = None, *, without: KeyEnrolled | None = None) -> None:
        if "coordinator" not in {each.role for each in (changed, without) if each is not None}:
            return
        coordinators = {key.key_id: key.public for key in self.keys.values() if key.role == "coordinator"}
        root = self.random.choice(("00" * 32, "00" * 32, "11" * 32))  # another one's list counts for nothing
        self.append(
            TrustPublished(
                number=len(self.events), expires=self.now + 1, root=root, coordinators=coordinators, message="00"
            )
        )

    def change_pairing(self) -> None:
        paired = self._any(list(self.pairs))
        if paired is not None and self.random.random() < 0.5:
            self.append(
                StoresUnpaired(artifact_store_id=paired, metadata_store_id=self.pairs.pop(paired), because="decoupled")
            )
            return
        free = [
            each.component_id
            for each in self.components.values()
            if each.type is ComponentType.ARTIFACT_STORE and each.component_id not in self.pairs
        ]
        artifact_store = self._any(free)
        if artifact_store is not None:
            self.pairs[artifact_store] = self.new_id()
            self.append(StoresPaired(artifact_store_id=artifact_store, metadata_store_id=self.pairs[artifact_store]))

    def start_run(self) -> None:
        stack_id = self._any(list(self.stacks))
        if stack_id is None:
            return
        stack = self.stacks[stack_id]
        run_id = self.new_id()
        self.runs[run_id] = dict.fromkeys(STEPS, "planned")
        self.append(
            RunStarted(
                run_id=run_id,
                name=f"run {len(self.runs)}",
                pipeline=self.random.choice(("training", "inference")),
                stack=PinnedStack(
                    id=stack_id,
                    name=stack.name,
                    position=self.events[-1].position,
                    components=tuple(
                        PinnedComponent(
                            id=held.component_id,
                            type=held.type,
                            name=held.name,
                            flavor=held.flavor,
                            configuration=held.configuration,
                        )
                        for ids in stack.components.values()
                        for held in (self.components[each] for each in ids)
                    ),
                ),
                code=Code(digest="ab" * 32, commit=None, dirty=False),
                parameters={"lr": 0.1},
                steps=tuple(
                    PlannedStep(
                        name=step,
                        source=f"mine.{step}",
                        digest="cd" * 32,
                        upstream=STEPS[:index],
                        inputs={},
                        parameters={},
                        outputs=("model", "score"),
                        retry=Retry(),
                    )
                    for index, step in enumerate(STEPS)
                ),
                environment={"python": "3.11.7"},
                retry_of=None,
            )
        )

    def advance_run(self) -> None:
        run_id = self._any(list(self.runs))
        if run_id is None:
            return
        steps = self.runs[run_id]
        step = self._any([name for name, state in steps.items() if state in {"planned", "running"}])
        if step is None:
            del self.runs[run_id]
            failed = tuple(name for name, state in steps.items() if state != "done")
            self.append(
                RunFailed(run_id=run_id, because="steps failed", steps=failed)
                if failed
                else RunSucceeded(run_id=run_id)
            )
            return
        if steps[step] == "planned" and self.random.random() < 0.1:
            steps[step] = "skipped"
            self.append(StepSkipped(run_id=run_id, step=step, because=("load",)))
        elif steps[step] == "planned":
            steps[step] = "running"
            self.append(StepStarted(run_id=run_id, step=step, attempt=1, inputs={"data": "ef" * 32}))
        elif self.random.random() < 0.2:
            again = self.random.random() < 0.5
            steps[step] = "planned" if again else "failed"
            self.append(
                StepFailed(
                    run_id=run_id,
                    step=step,
                    attempt=1,
                    error="ValueError",
                    message="no",
                    retry_at=self.now + 1_000_000 if again else None,
                )
            )
        else:
            steps[step] = "done"
            self.append(
                StepSucceeded(
                    run_id=run_id, step=step, attempt=1, outputs=tuple(map(self._produced, ("model", "score")))
                )
            )

    def _produced(self, output: str) -> Produced:
        return Produced(
            output=output,
            artifact_id=self.new_id(),
            artifact=self.random.choice((output, output.upper(), "shared name")),
            digest=f"{self.random.getrandbits(256):064x}",
            size=self.random.randrange(1000),
            layout="file",
            materializer="json/1",
            data_type="builtins.float",
        )

    def _some_components(self) -> dict[ComponentType, tuple[str, ...]]:
        by_type: dict[ComponentType, list[str]] = {}
        for held in self.components.values():
            by_type.setdefault(held.type, []).append(held.component_id)
        chosen = {}
        for component_type, ids in by_type.items():
            most = 2 if component_type is ComponentType.STEP_OPERATOR else 1
            if (
                component_type in {ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE}
                or self.random.random() < 0.5
            ):
                chosen[component_type] = tuple(self.random.sample(ids, min(most, len(ids))))
        return chosen

    def _any(self, choices: list[str]) -> str | None:
        return self.random.choice(choices) if choices else None

    def go_on(self, changes: int) -> None:
        """Let some changes happen."""
        possible: tuple[tuple[Callable[[], None], int], ...] = (
            (self.register_component, 4),
            (self.change_component, 4),
            (self.register_stack, 4),
            (self.change_stack, 6),
            (self.activate, 2),
            (self.change_secret, 2),
            (self.change_flavor, 1),
            (self.change_key, 1),
            (self.change_pairing, 1),
            (self.start_run, 2),
            (self.advance_run, 10),
        )
        changers = [change for change, _ in possible]
        weights = [weight for _, weight in possible]
        for change in self.random.choices(changers, weights, k=changes):
            change()


def history(random: Random, changes: int) -> list[StoredEvent]:
    """Return a log with a default stack and some changes."""
    made = History(random)
    made.begin()
    made.go_on(changes)
    return made.events


def histories(most: int = 60) -> st.SearchStrategy[list[StoredEvent]]:
    """Return a strategy for logs of up to `most` changes behind the default stack."""
    return st.builds(history, st.randoms(use_true_random=False), st.integers(0, most))
