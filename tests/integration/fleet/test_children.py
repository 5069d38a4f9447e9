"""Real child processes, and steps that do to them what steps do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from stackledger.domain.events.runs import Kept, Produced
from stackledger.workers.fleet.protocol.messages import Failure, Success
from tests.support.checkout import ROOT
from tests.support.eventually import eventually
from tests.support.fleet.children import Crew

SOURCE = """
from stackledger import get_step_context

@step
def add(a: int, b: int = 1) -> int:
    print("adding", a)
    return a + b

@step
def total(values: list[int]) -> int:
    return sum(values)

@step
def numbers(count: int) -> list[int]:
    return list(range(count))

@step
def nothing() -> None:
    pass

@step
def told() -> list[str]:
    context = get_step_context()
    run = context.pipeline_run
    return [context.pipeline.name, run.id, run.name, context.step_name, str(context.step_run.attempt)]

@step
def process() -> int:
    return os.getpid()

@step
def raises() -> None:
    raise ValueError("no such thing")

def bare() -> int:
    return 7
"""


def failure(result: object) -> Failure:
    assert isinstance(result, Failure)
    return result


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    except FileNotFoundError:
        return False


class TestExecuting:
    def test_parameters_that_are_too_many_for_a_message_come_out_of_the_store(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            data = msgpack.packb({"values": list(range(10_000))})
            kept = Kept(**crew.store.put(data)._asdict())
            task = crew.task("total").model_copy(update={"kept_parameters": kept})
            assert crew.value(task) == sum(range(10_000))
            missing = task.model_copy(update={"kept_parameters": Kept(digest="0" * 64, size=3)})
            assert failure(crew.run(missing).result).error == "ArtifactMissing"

    def test_a_step_gets_parameters_and_artifacts_and_its_outputs_are_kept(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            made = crew.run(crew.task("numbers", count=4)).result
            assert isinstance(made, Success)
            (values,) = made.outputs
            assert (values.output, values.artifact) == ("output", "artifact of output")
            assert crew.value(crew.task("total", inputs={"values": values})) == 6
            assert crew.value(crew.task("add", a=1, b=2)) == 3
            assert crew.value(crew.task("bare")) == 7

    def test_the_name_that_a_step_gives_an_artifact_counts(self, tmp_path: Path) -> None:
        source = """
        from typing import Annotated

        def named() -> tuple[int, Annotated[int, "best"]]: return 1, 2
        """
        with Crew(tmp_path, source) as crew:
            made = crew.run(crew.task("named", outputs=("output_0", "best"))).result
            assert isinstance(made, Success)
            assert [each.artifact for each in made.outputs] == ["artifact of output_0", "best"]

    def test_a_step_knows_where_it_is(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            assert crew.value(crew.task("told")) == ["the pipeline", "run-1", "the run", "told", "1"]

    def test_slots_work_at_the_same_time(self, tmp_path: Path) -> None:
        source = """
        @step
        def meet(folder: str, me: str, other: str) -> None:
            os.mkfifo(f"{folder}/{me}") if me == "a" else None
            while not Path(f"{folder}/a").exists(): pass
            open(f"{folder}/a", "w" if me == "a" else "r").close()
        """
        with Crew(tmp_path, source, slots=2) as crew:
            for slot, (me, other) in enumerate((("a", "b"), ("b", "a"))):
                crew.start(crew.task("meet", outputs=(), folder=str(tmp_path), me=me, other=other), slot)
            both = [crew.ended(), crew.ended()]
            assert {ended.slot for ended in both} == {0, 1}
            assert all(isinstance(ended.result, Success) for ended in both)

    def test_a_child_is_used_again_up_to_its_limit(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE, max_steps=2) as crew:
            pids = [crew.value(crew.task("process")) for _ in range(5)]
            assert [pids.index(pid) for pid in pids] == [0, 0, 2, 2, 4]

    def test_another_version_of_the_code_gets_another_child(self, tmp_path: Path) -> None:
        with Crew(tmp_path, "def which() -> int: return 1") as crew:
            other = crew.packed("def which() -> int: return 2")
            assert crew.value(crew.task("which")) == 1
            assert crew.value(crew.task("which", code=other)) == 2
            assert crew.value(crew.task("which")) == 1

    def test_the_worker_itself_imports_no_code_of_the_project(self, tmp_path: Path) -> None:
        source = "import sys\ndef keeper() -> list[str]: return Path(f'/proc/{os.getppid()}/maps').read_text().split()"
        with Crew(tmp_path, "import sqlite3\n" + source) as crew:
            maps = crew.value(crew.task("keeper"))
            assert isinstance(maps, list)
            assert not any("_sqlite3" in each for each in maps)
            assert "project" not in sys.modules

    def test_files_of_the_project_are_found_and_changes_to_them_reach_nobody(self, tmp_path: Path) -> None:
        source = """
        def spoil() -> None:
            Path("project.py").write_text("raise SystemExit")
            Path("made.txt").write_text("made")
            raise ValueError("and now a new child")
        def look() -> list[str]:
            return sorted(os.listdir())
        """
        with Crew(tmp_path, source) as crew:
            assert failure(crew.run(crew.task("spoil", outputs=())).result).error == "ValueError"
            assert crew.value(crew.task("look")) == ["project.py"]

    def test_what_a_step_changed_around_it_is_undone_for_the_next(self, tmp_path: Path) -> None:
        source = """
        os.environ["SET_BY_THE_MODULE"] = "1"
        def change() -> int:
            os.environ["LEFT"] = "1"
            os.chdir("/")
            sys.stdout = None
            return os.getpid()
        def look() -> list[str]:
            print("still there")
            return [os.getcwd(), *sorted(set(os.environ) & {"LEFT", "SET_BY_THE_MODULE"}), str(os.getpid())]
        """
        with Crew(tmp_path, source) as crew:
            pid = crew.value(crew.task("change"))
            looked = crew.run(crew.task("look"))
            assert crew.log(looked) == "still there\n"
            seen = crew.value(crew.task("look"))
            assert isinstance(seen, list)
            assert seen[0].endswith("/code")
            assert seen[1:] == ["SET_BY_THE_MODULE", str(pid)]

    def test_references_in_the_store_are_resolved_here_and_kept_out_of_logs_and_errors(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from stackledger.workers.fleet.execution import child  # noqa: F401 - what the nursery loads

        (tmp_path / "plugin").mkdir()
        (tmp_path / "plugin/secretive.py").write_text(_SECRETIVE)
        info = tmp_path / "plugin/secretive-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: secretive\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            "[stackledger.flavors]\nartifact_store.secretive = secretive:Secretive\n"
            "artifact_store.needy = secretive:Needy\n"
        )
        path = [str(tmp_path / "plugin"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path),
            "STACKLEDGER_SECRET_MY_STORE_THE_KEY": "hunter22",
        }
        source = """
        def leak() -> None:
            print("the key is", os.environ["STACKLEDGER_SECRET_MY_STORE_THE_KEY"])
            subprocess.run(["sh", "-c", "echo again hunt''er22"])
            raise ValueError("hunter22 does not fit")
        """
        with Crew(tmp_path, source, environment=environment) as crew:
            configuration = {"path": str(tmp_path / "store"), "key": "{{my-store.the_key}}"}
            store = crew.component.model_copy(update={"flavor": "secretive", "configuration": configuration})
            ended = crew.run(crew.task("leak", outputs=(), store=store))
            assert failure(ended.result).message == "*** does not fit"
            log = crew.log(ended)
            assert "the key is ***" in log
            assert "again ***" in log
            assert "hunter22" not in log
            needy = store.model_copy(update={"flavor": "needy", "configuration": {}})
            told = failure(crew.run(crew.task("leak", outputs=(), store=needy)).result)
            assert (told.error, "no-such-package>=3" in told.message) == ("MissingRequirements", True)
            missing = store.model_copy(update={"configuration": configuration | {"key": "{{other.key}}"}})
            refused = failure(crew.run(crew.task("leak", outputs=(), store=missing)).result)
            assert refused.error == "SecretError"
            assert "STACKLEDGER_SECRET_OTHER_KEY" in refused.message


_SECRETIVE = '''
from stackledger.domain.component_types import ComponentType
from stackledger.flavors.flavor import Flavor, secret_field
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig

class Config(LocalArtifactStoreConfig):
    key: str = secret_field(description="a key")

class Store(LocalArtifactStore):
    def __init__(self, config, **others):
        assert config.key == "hunter22"
        super().__init__(config, **others)

class Secretive(Flavor):
    """Keeps artifacts with a key."""
    name = "secretive"
    type = ComponentType.ARTIFACT_STORE
    config_class = Config
    implementation = "secretive:Store"

class Needy(Flavor):
    """Keeps artifacts with a library."""
    name = "needy"
    type = ComponentType.ARTIFACT_STORE
    implementation = "no_such_package:Store"
    requirements = ("no-such-package>=3",)
'''


IS_SOCKET = """
def is_socket(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return False

"""


class TestFailing:
    @pytest.mark.parametrize(
        ("body", "error", "message"),
        [
            ("raise ValueError('no such thing')", "ValueError", "no such thing"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
            ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", "KeyboardInterrupt", ""),
            ("sys.exit(3)", "SystemExit", "return from its function"),
            ("os._exit(3)", "StepCrashed", "exited with the status 3"),
            ("os._exit(0)", "StepCrashed", "exited with the status 0"),
            ("import ctypes; ctypes.string_at(0)", "StepCrashed", "SIGSEGV"),
            ("os.abort()", "StepCrashed", "SIGABRT"),
            ("os.kill(os.getpid(), signal.SIGKILL)", "StepCrashed", "SIGKILL. The system does that when memory"),
            ("os.killpg(0, signal.SIGTERM); time.sleep(60)", "StepCrashed", "SIGTERM"),
            ("os.closerange(3, 1000); time.sleep(60)", "StepCrashed", "closed descriptors"),
            ("os.closerange(0, 1000); time.sleep(60)", "StepCrashed", "closed descriptors"),
            (
                "[os.write(fd, b'nonsense') for fd in range(3, 20) if is_socket(fd)]; time.sleep(60)",
                "StepCrashed",
                "closed descriptors",
            ),
            ("def f(): f()\n    f()", "RecursionError", ""),
            ("return 3", "PipelineError", "announced no output"),
        ],
    )
    def test_a_step_fails_by_itself_and_the_next_one_runs(
        self, tmp_path: Path, body: str, error: str, message: str
    ) -> None:
        bad = f"def bad() -> None:\n    print('last words', flush=True)\n    {body}\n"
        source = f"{IS_SOCKET}{bad}def good() -> int:\n    return 1\n"
        with Crew(tmp_path, source) as crew:
            ended = crew.run(crew.task("bad", outputs=()))
            told = failure(ended.result)
            assert told.error == error
            assert message in told.message
            assert crew.log(ended).startswith("last words\n")
            assert crew.value(crew.task("good")) == 1

    def test_memory_that_is_not_there_fails_the_step(self, tmp_path: Path) -> None:
        source = "def bad() -> None: bytearray(2 * 10**9)\ndef good() -> int: return len(bytearray(10**7))"
        with Crew(tmp_path, source, memory=500 * 10**6) as crew:
            assert failure(crew.run(crew.task("bad", outputs=())).result).error == "MemoryError"
            assert crew.value(crew.task("good")) == 10**7

    def test_the_system_takes_the_step_first_when_memory_runs_out(self, tmp_path: Path) -> None:
        source = "def score() -> int: return int(Path('/proc/self/oom_score_adj').read_text())"
        with Crew(tmp_path, source) as crew:
            assert crew.value(crew.task("score")) == 500

    @pytest.mark.parametrize(
        ("source", "error", "message"),
        [
            ("raise ValueError('at import')", "ValueError", "at import"),
            ("import nothing_of_that_name", "ModuleNotFoundError", "nothing_of_that_name"),
            ("other = 1", "PipelineError", "has no 'bad'"),
            ("bad = 1", "PipelineError", "is a int, not a step"),
            ("def bad(x) -> None: ...", "PipelineError", "takes or puts out something else here"),
            ("def bad() -> int: ...", "PipelineError", "takes or puts out something else here"),
            ("os._exit(4)", "StepCrashed", "status 4"),
            (
                "from stackledger import pipeline\n@pipeline\ndef p(): s()\n@step\ndef s() -> None: ...\np()",
                "PipelineError",
                "runs a whole pipeline",
            ),
        ],
    )
    def test_code_that_cannot_be_used_fails_the_attempt(
        self, tmp_path: Path, source: str, error: str, message: str
    ) -> None:
        with Crew(tmp_path, source) as crew:
            told = failure(crew.run(crew.task("bad", outputs=())).result)
            assert told.error == error
            assert message in told.message

    def test_what_is_not_installed_is_named(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            needs = ("pydantic>=2", "pydantic>=1000", "no-such-package==1.2", "skipped; python_version<'3'")
            told = failure(crew.run(crew.task("bare").model_copy(update={"requirements": needs})).result)
            assert (told.error, told.final) == ("MissingRequirements", True)
            assert "pydantic>=1000 (there is 2." in told.message
            assert "no-such-package==1.2" in told.message
            assert "skipped" not in told.message

    def test_what_a_step_requires_is_looked_at_before_its_code_is_imported(self, tmp_path: Path) -> None:
        with Crew(tmp_path, "import no_such_package\ndef bad() -> None: pass") as crew:
            task = crew.task("bad", outputs=())
            told = failure(crew.run(task).result)
            assert (told.error, told.final) == ("ModuleNotFoundError", False)
            needs = ("pydantic>=2", "pydantic>=1000", "no-such-package")
            told = failure(crew.run(task.model_copy(update={"requirements": needs})).result)
            assert (told.error, told.final) == ("MissingRequirements", True)
            assert (
                "The step 'bad' needs what is not installed on this machine: pydantic>=1000 (there is 2."
                in told.message
            )
            assert told.message.endswith("; no-such-package. Install it where the workers run, and start them again.")

    def test_a_step_whose_requirements_are_met_runs(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            assert crew.value(crew.task("bare").model_copy(update={"requirements": ("pydantic>=2",)})) == 7

    def test_an_archive_that_is_not_there_or_hostile_fails_the_attempt(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            missing = Kept(digest="0" * 64, size=10)
            assert failure(crew.run(crew.task("bare", code=missing)).result).error == "ArtifactMissing"
            hostile = Kept(**crew.store.put(b"x" * 5000)._asdict())
            assert failure(crew.run(crew.task("bare", code=hostile)).result).error == "PipelineError"

    def test_an_input_that_was_tampered_with_fails_the_attempt(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            stored = crew.store.put(b"[1]")
            (tmp_path / f"store/sha256/{stored.digest}").unlink()
            (tmp_path / f"store/sha256/{stored.digest}").write_bytes(b"[2]")
            values = Produced(
                output="output",
                artifact_id="a",
                artifact="a",
                digest=stored.digest,
                size=3,
                layout="file",
                materializer="json/1",
                data_type="builtins.list",
            )
            told = failure(crew.run(crew.task("total", inputs={"values": values})).result)
            assert told.error == "ArtifactDamaged"

    def test_a_flavor_that_is_not_known_here_is_named(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            store = crew.component.model_copy(update={"flavor": "theirs"})
            assert "'theirs'" in failure(crew.run(crew.task("bare", store=store)).result).message


class TestLogs:
    def test_all_that_a_step_and_its_processes_say_is_kept_in_order(self, tmp_path: Path) -> None:
        source = """
        def talk() -> None:
            print("printed")
            print("to stderr", file=sys.stderr)
            subprocess.run(["echo", "by a process"])
            os.write(1, b"by descriptor \\xff\\n")
            import ctypes; ctypes.CDLL(None).puts(b"by C"); ctypes.CDLL(None).fflush(None)
            import logging; logging.getLogger("x").warning("logged")
            print("without an end", end="")
        """
        with Crew(tmp_path, source) as crew:
            log = crew.log(crew.run(crew.task("talk", outputs=())))
            assert log == "printed\nto stderr\nby a process\nby descriptor \\xff\nby C\nlogged\nwithout an end"

    def test_a_step_that_says_nothing_has_no_log(self, tmp_path: Path) -> None:
        with Crew(tmp_path, SOURCE) as crew:
            assert crew.run(crew.task("nothing", outputs=())).log is None

    def test_of_a_flood_the_beginning_and_the_end_are_kept(self, tmp_path: Path) -> None:
        source = """
        def flood(megabytes: int) -> None:
            print("the beginning", flush=True)
            for _ in range(megabytes):
                os.write(1, b"x" * 999_999 + b"\\n")
            print("the end")
        """
        with Crew(tmp_path, source, log_bytes=100_000) as crew:
            ended = crew.run(crew.task("flood", outputs=(), megabytes=200))
            log = crew.log(ended)
            assert log.startswith("the beginning\nxxx")
            assert log.endswith("xxx\nthe end\n")
            assert len(log) < 110_000
            assert "[... 199,900,022 bytes are left out here ...]" in log

    def test_a_log_that_cannot_be_kept_fails_nothing(self, tmp_path: Path) -> None:
        source = """
        def full(folder: str) -> None:
            print("lost")
            os.rename(f"{folder}/store", f"{folder}/moved")
            Path(f"{folder}/store").write_text("no folder")
        """
        with Crew(tmp_path, source) as crew:
            ended = crew.run(crew.task("full", outputs=(), folder=str(tmp_path)))
            assert isinstance(ended.result, Success)
            assert ended.log is None


STUCK = """
def stuck(flag: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # One in our group, one in a session of its own, and one that nobody but its keeper is the parent of.
    pids = [os.getpid(), subprocess.Popen(["sleep", "600"]).pid]
    pids.append(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
    shell = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
    pids.append(int(subprocess.run(["sh", "-c", shell], capture_output=True, text=True).stdout))
    print("begun", flush=True)
    Path(flag + ".new").write_text(" ".join(map(str, pids)))
    os.rename(flag + ".new", flag)
    while True: time.sleep(60)
def left(flag: str) -> int:
    shell = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
    Path(flag).write_text(subprocess.run(["sh", "-c", shell], capture_output=True, text=True).stdout)
    return os.getpid()
def thread() -> int:
    import threading
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return os.getpid()
def good() -> int:
    return os.getpid()
"""


def begun(flag: Path) -> list[int]:
    eventually(flag.exists)
    pids = [int(pid) for pid in flag.read_text("ascii").split()]
    assert all(map(is_alive, pids))
    return pids


class TestStopping:
    def test_stopping_ends_all_that_a_step_began_and_nothing_is_told(self, tmp_path: Path) -> None:
        with Crew(tmp_path, STUCK, term_seconds=0.1) as crew:
            execution = crew.start(crew.task("stuck", outputs=(), flag=str(tmp_path / "flag")))
            pids = begun(tmp_path / "flag")
            crew.children.stop(0, execution)
            assert crew.value(crew.task("good")) not in pids
            assert not any(map(is_alive, pids))
            assert crew.inbox.empty()

    def test_failing_an_execution_keeps_its_log(self, tmp_path: Path) -> None:
        with Crew(tmp_path, STUCK, term_seconds=0.1) as crew:
            execution = crew.start(crew.task("stuck", outputs=(), flag=str(tmp_path / "flag")))
            pids = begun(tmp_path / "flag")
            why = Failure(error="StepTimeout", message="It was not done after 1 second.")
            crew.children.fail(0, execution, why)
            ended = crew.ended()
            assert (ended.execution, ended.result) == (execution, why)
            assert crew.log(ended) == "begun\n"
            assert not any(map(is_alive, pids))

    def test_what_has_not_begun_is_stopped_and_failed_too(self, tmp_path: Path) -> None:
        with Crew(tmp_path, STUCK, term_seconds=0.1) as crew:
            first = crew.start(crew.task("stuck", outputs=(), flag=str(tmp_path / "flag")))
            begun(tmp_path / "flag")
            crew.children.stop(0, first)
            second = crew.start(crew.task("good"))
            crew.children.stop(0, second)
            third = crew.start(crew.task("good"))
            crew.children.fail(0, third, Failure(error="StepTimeout", message=""))
            ended = crew.ended()
            assert ended.execution == third
            assert crew.inbox.empty()

    def test_stopping_what_has_ended_harms_nothing(self, tmp_path: Path) -> None:
        with Crew(tmp_path, STUCK) as crew:
            ended = crew.run(crew.task("good"))
            crew.children.stop(0, ended.execution)
            crew.children.fail(0, ended.execution, Failure(error="StepTimeout", message=""))
            assert isinstance(crew.run(crew.task("good")).result, Success)

    def test_a_step_may_end_well_when_it_is_asked_to_end(self, tmp_path: Path) -> None:
        source = """
        def polite(flag: str) -> None:
            def leave(*_):
                print("tidied")
                os._exit(0)
            signal.signal(signal.SIGTERM, leave)
            Path(flag).touch()
            while True: time.sleep(60)
        """
        with Crew(tmp_path, source, term_seconds=60.0) as crew:
            execution = crew.start(crew.task("polite", outputs=(), flag=str(tmp_path / "flag")))
            eventually((tmp_path / "flag").exists)
            crew.children.fail(0, execution, Failure(error="StepTimeout", message=""))
            assert crew.log(crew.ended()) == "tidied\n"

    def test_a_child_that_was_stopped_by_a_signal_is_ended_all_the_same(self, tmp_path: Path) -> None:
        with Crew(tmp_path, STUCK, term_seconds=0.1) as crew:
            execution = crew.start(crew.task("stuck", outputs=(), flag=str(tmp_path / "flag")))
            pids = begun(tmp_path / "flag")
            os.kill(pids[0], signal.SIGSTOP)
            crew.children.stop(0, execution)
            assert crew.value(crew.task("good")) not in pids

    def test_processes_and_threads_that_a_step_left_behind_end_with_its_child(self, tmp_path: Path) -> None:
        with Crew(tmp_path, STUCK) as crew:
            pid = crew.value(crew.task("left", flag=str(tmp_path / "flag")))
            assert crew.value(crew.task("good")) != pid
            assert not is_alive(int((tmp_path / "flag").read_text("ascii")))
            pid = crew.value(crew.task("thread"))
            assert crew.value(crew.task("good")) != pid


class TestDying:
    def test_closing_leaves_nothing(self, tmp_path: Path) -> None:
        with Crew(tmp_path, STUCK, slots=2) as crew:
            crew.start(crew.task("stuck", outputs=(), flag=str(tmp_path / "flag")))
            pids = [*begun(tmp_path / "flag"), *crew.children.processes()]
        assert not any(map(is_alive, pids))
        assert list((tmp_path / "worker/scratch").iterdir()) == []

    def test_a_worker_that_is_killed_takes_everything_with_it(self, tmp_path: Path) -> None:
        program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.support.fleet.children import Crew
from tests.integration.fleet.test_children import STUCK
crew = Crew(Path({str(tmp_path)!r}), STUCK, slots=2)
crew.start(crew.task("stuck", outputs=(), flag={str(tmp_path / "flag")!r}))
print(*crew.children.processes(), flush=True)
crew.ended()
"""
        ours, theirs = socket.socketpair()
        worker = subprocess.Popen([sys.executable, "-c", program], stdout=theirs.fileno(), stderr=subprocess.DEVNULL)
        theirs.close()
        with ours, ours.makefile("r") as told:
            pids = [*map(int, told.readline().split()), *begun(tmp_path / "flag")]
            worker.kill()
            worker.wait()
            eventually(lambda: not any(map(is_alive, pids)))
        with Crew(tmp_path, STUCK) as crew:  # the next one sweeps
            assert len(list((tmp_path / "worker/scratch").iterdir())) == 2  # its own folder, and the lock for that
            assert isinstance(crew.run(crew.task("good")).result, Success)

    @pytest.mark.parametrize("who", ["keeper", "nursery", "both"])
    def test_a_keeper_or_the_nursery_that_somebody_kills_is_replaced(self, tmp_path: Path, who: str) -> None:
        with Crew(tmp_path, STUCK) as crew:
            crew.run(crew.task("good"))
            execution = crew.start(crew.task("stuck", outputs=(), flag=str(tmp_path / "flag")))
            pids = begun(tmp_path / "flag")
            nursery, keeper = crew.children.processes()[:2]
            for victim in {"keeper": [keeper], "nursery": [nursery], "both": [nursery, keeper]}[who]:
                os.kill(victim, signal.SIGKILL)
            if who == "nursery":  # its keepers need it no more
                crew.children.stop(0, execution)
            else:
                ended = crew.ended()
                assert failure(ended.result).error == "StepCrashed"
                assert "looked after it" in failure(ended.result).message
            # What is begun while neither is there fails, too.
            eventually(lambda: isinstance(crew.run(crew.task("good")).result, Success))
            eventually(lambda: not is_alive(pids[0]))
            if who == "keeper":
                eventually(lambda: not any(map(is_alive, pids)))
            for pid in filter(is_alive, pids):  # where both are killed, nobody is left who knew of them
                os.kill(pid, signal.SIGKILL)
