"""What goes wrong, and when: drawn from the world's seed."""

from __future__ import annotations

from tests.support.fleet.world import World

FAULTY_FOR = 60.0
GRACE = 300.0


def disturb(world: World, faults: int) -> None:
    """Plan some faults within the first minute; after it everything works again."""
    for _ in range(faults):
        world.timeline.after(world.random.random() * FAULTY_FOR, lambda: _one(world))


def _one(world: World) -> None:  # noqa: C901, PLR0912 - one arm for each fault
    random, broker = world.random, world.broker
    process = random.choice(list(world.processes.values()))
    match random.choice(
        (
            "kill",
            "doom",
            "doom",
            "doom",
            "stop",
            "cut",
            "restart broker",
            "delete queue",
            "purge queue",
            "log away",
            "lossy control",
            "cancel",
            "terminate",
            "unsure",
            "forged",
            "replayed",
        )
    ):
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
            broker.delete(random.choice(("default", "outcomes")))
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
