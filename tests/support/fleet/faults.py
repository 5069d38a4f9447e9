"""What goes wrong, and when: drawn from the world's seed."""

from __future__ import annotations

from collections.abc import Collection

from tests.support.fleet.world import World

FAULTY_FOR = 60.0
GRACE = 1_000.0


FAULTS = (
    *("kill", "doom", "doom", "doom", "stop", "cut", "restart broker", "delete queue", "log away", "lossy control"),
    *("cancel", "terminate", "unsure", "forged", "replayed", "purge queue"),
    *("replace", "expire", "full disk"),
)


def disturb(world: World, faults: int, *, without: Collection[str] = ()) -> None:
    """Plan some faults within the first minute; after it everything works again."""
    kinds = [kind for kind in FAULTS if kind not in without]
    for _ in range(faults):
        kind = world.random.choice(kinds)
        world.timeline.after(world.random.random() * FAULTY_FOR, lambda kind=kind: _one(world, kind))  # type: ignore[misc]


def _one(world: World, kind: str) -> None:  # noqa: C901, PLR0912, PLR0915 - one arm for each fault
    random, broker = world.random, world.broker
    process = random.choice(list(world.processes.values()))
    match kind:
        case "kill":
            process.kill()
        case "doom":
            process.doom(random.randrange(40))
        case "stop":
            process.stop(random.choice((1.0, 4.0, 8.0, 20.0)))
        case "cut":
            if broker.sessions:
                random.choice(broker.sessions).cut()
        case "restart broker":
            broker.restart()
        case "delete queue":
            broker.delete(random.choice(("default", "outcomes", "parked")))
        case "purge queue":
            broker.purge("default")
        case "log away":
            world.log.away = True
            world.timeline.after(random.random() * 15, lambda: setattr(world.log, "away", False))
        case "lossy control":
            broker.lossy_control = 0.7
            world.timeline.after(10, lambda: setattr(broker, "lossy_control", 0.0))
        case "cancel":
            runs = world.open_runs()
            if runs:
                world.cancel(random.choice(runs))
        case "terminate":
            name = random.choice(list(world.workers))
            if world.processes[name].alive:
                world.processes[name].act(world.workers[name].stop)
        case "unsure":
            world.unsure = 0.3
            world.timeline.after(10, lambda: setattr(world, "unsure", 0.0))
        case "forged":
            world.send_nonsense()
        case "replayed":
            world.replay_some()
        case "full disk":
            name = random.choice(list(world.workers))
            world.full.add(name)
            world.timeline.after(random.random() * 15, lambda: world.full.discard(name))
        case "replace":
            names = [name for name in world.processes if world.counts(name)]
            world.replace(random.choice(names))
        case "expire":
            world.publish_trust(random.random() * 10)
            world.timeline.after(10 + random.random() * 10, world.publish_trust)
        case _:
            raise ValueError(kind)
