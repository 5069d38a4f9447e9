"""What only stores in object storage can meet: a network, other writers, rights, clocks, and large uploads.

The suite of all stores is test_artifact_stores.py. Google Cloud Storage is our own stand-in here (gcs_fake).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import obstore
import pytest

from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing
from stackledger.flavors.object_artifact_store import AT_ONCE, PIECE
from tests.support.artifact_stores import AnyObjectStore, object_store
from tests.support.gcs_fake import fake_gcs
from tests.support.http_faults import Fault, Front, Request, front_of
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.processes import ended, forked

LARGE = 2 * PIECE + 1
DAY = 24 * 3600


@pytest.fixture(params=["s3", "gcs", "azure"])
def server(request: pytest.FixtureRequest) -> ObjectServer:
    found: ObjectServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def front(server: ObjectServer) -> Iterator[Front]:
    with front_of(server.url) as front:
        yield front


@pytest.fixture
def store(server: ObjectServer) -> AnyObjectStore:
    return object_store(server.configuration())


@pytest.fixture
def fronted(server: ObjectServer, front: Front) -> AnyObjectStore:
    return object_store(server.configuration(url=front.url, timeout="10"))


def left_in(store: AnyObjectStore) -> list[str]:
    return [found["path"] for page in obstore.list(store._store, "writing") for found in page]


def writes_an_object(request: Request) -> bool:
    return request.method in {"PUT", "POST"} and "/sha256/" in unquote(request.path)


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, LARGE])
def test_bytes_and_files_of_every_size_come_back(store: AnyObjectStore, size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    stored = store.put(data)
    assert stored == (hashlib.sha256(data).hexdigest(), size)
    assert store.get(*stored) == data
    store.delete(stored.digest)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    assert store.put_file(source) == stored
    store.get_file(*stored, target)
    assert target.read_bytes() == data
    assert left_in(store) == []


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_what_is_there_is_not_written_again(store: AnyObjectStore, size: int) -> None:
    data = os.urandom(size)
    key = f"sha256/{hashlib.sha256(data).hexdigest()}"
    obstore.put(store._store, key, data, use_multipart=False, attributes={"Cache-Control": "first"})
    before = obstore.get(store._store, key)
    store.put(data)
    after = obstore.get(store._store, key)
    assert (after.meta["e_tag"], after.meta["version"], after.attributes) == (
        before.meta["e_tag"],
        before.meta["version"],
        before.attributes,
    )


def test_racing_writers_of_a_large_object_all_keep_it(store: AnyObjectStore) -> None:
    data = os.urandom(LARGE)
    barrier = threading.Barrier(4)

    def write(_: int) -> tuple[str, int]:
        barrier.wait()
        return store.put(data)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(write, range(4)))) == 1
    digest = hashlib.sha256(data).hexdigest()
    assert list(store.digests()) == [digest]
    assert store.get(digest, LARGE) == data
    assert left_in(store) == []


def test_a_damaged_large_object_is_never_handed_out_and_mended(store: AnyObjectStore, tmp_path: Path) -> None:
    data = os.urandom(LARGE)
    stored = store.put(data)
    obstore.put(store._store, f"sha256/{stored.digest}", data[:-1] + bytes([data[-1] ^ 1]))
    target = tmp_path / "target"
    with pytest.raises(ArtifactDamaged):
        store.get(*stored)
    with pytest.raises(ArtifactDamaged):
        store.get_file(*stored, target)
    assert list(tmp_path.iterdir()) == []
    store.put(data)
    assert store.get(*stored) == data


def test_more_objects_than_fit_on_a_page_are_all_listed(store: AnyObjectStore) -> None:
    blobs = [str(number).encode() for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(store.put, blobs))
    assert sorted(store.digests()) == sorted(each.digest for each in stored)


def test_objects_of_others_under_odd_names_are_no_digests_of_ours(store: AnyObjectStore) -> None:
    stored = store.put(b"ours")
    odd = [
        f"sha256/{'A' * 64}",
        f"sha256/{'a' * 63}",
        f"sha256/{'a' * 64}/{'b' * 64}",
        f"sha256/{'a' * 64}.tmp",
        "sha256/white space",
        "sha256/\u0430\u0301",
        "sha256/[red]&<tag>",
        f"sha256x/{'a' * 64}",
        f"other/{'a' * 64}",
    ]
    for name in odd:
        obstore.put(store._store, name, b"x")
    assert list(store.digests()) == [stored.digest]


def test_an_upload_whose_source_fails_leaves_nothing(
    store: AnyObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * PIECE))
    read = os.read
    reads = iter(range(100))

    def failing(descriptor: int, size: int) -> bytes:
        if size == PIECE and next(reads) == 2:
            raise OSError(5, "Input/output error")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", failing)
    with pytest.raises(ArtifactError, match=r"Cannot read the file .*source: OSError: Input/output error"):
        store.put_file(source)
    monkeypatch.undo()
    assert list(store.digests()) == []
    assert left_in(store) == []


def test_what_a_killed_writer_left_is_no_object_and_is_swept(
    server: ObjectServer, front: Front, tmp_path: Path
) -> None:
    configuration = server.configuration(url=front.url)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(LARGE))
    # All pieces are there, and it dies over copying them to their name.
    copying = threading.Event()

    def fault(request: Request) -> Fault | None:
        if not writes_an_object(request):
            return None
        copying.set()
        return "hang"

    front.fault = fault
    program = (
        "import json, sys; from pathlib import Path; from tests.support.artifact_stores import object_store\n"
        "object_store(json.loads(sys.argv[1])).put_file(Path(sys.argv[2]))"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, json.dumps(configuration), str(source)])
    assert copying.wait(100)
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(100) == -signal.SIGKILL
    front.fault = lambda _: None
    store = object_store({**configuration, "endpoint_url": server.url})
    assert list(store.digests()) == []
    assert store.sweep_temporary(time.time() - DAY) == 0
    assert store.sweep_temporary(time.time() + DAY) == 1
    assert left_in(store) == []
    store.put_file(source)
    assert store.sweep_temporary(time.time() + DAY) == 0


@pytest.mark.parametrize("ahead", [-2 * DAY, 2 * DAY], ids=["behind", "ahead"])
def test_leavings_are_swept_by_their_age_whatever_the_stores_clock_says(ahead: int) -> None:
    with fake_gcs([BUCKET], "t", clock_ahead=ahead) as url:
        store = object_store(ObjectServer("gcs", "gs", url, {"token": "t"}).configuration())
        obstore.put(store._store, "writing/of-somebody", b"x")
        assert store.sweep_temporary(time.time() - DAY) == 0
        assert store.sweep_temporary(time.time() + DAY) == 1


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_a_server_that_fails_for_a_moment_is_asked_again(
    front: Front, fronted: AnyObjectStore, size: int, tmp_path: Path
) -> None:
    data = os.urandom(size)
    front.fail(2, 503)
    stored = fronted.put(data)
    for attempt in (
        lambda: fronted.get(*stored),
        lambda: fronted.exists(stored.digest),
        lambda: list(fronted.digests()),
        lambda: fronted.get_file(*stored, tmp_path / "target"),
        lambda: fronted.delete(stored.digest),
    ):
        front.fail(2, 503)
        attempt()
    assert not fronted.exists(stored.digest)


def test_a_server_that_goes_on_failing_is_told_after_a_few_requests(
    server: ObjectServer, front: Front, tmp_path: Path
) -> None:
    store = object_store(server.configuration(url=front.url, timeout="2"))
    front.fault = lambda _: 503
    for attempt in (
        lambda: store.put(b"x"),
        lambda: store.get("0" * 64, 1),
        lambda: store.get_file("0" * 64, 1, tmp_path / "target"),
        lambda: store.exists("0" * 64),
        lambda: list(store.digests()),
        lambda: store.delete("0" * 64),
        lambda: store.sweep_temporary(0),
    ):
        front.requests.clear()
        with pytest.raises(ArtifactError, match=r"cannot .*: it answered 503.*\. Try again") as told:
            attempt()
        assert not isinstance(told.value, ArtifactMissing | ArtifactDamaged)
        assert 1 < len(front.requests) < 20


@pytest.mark.parametrize("fault", ["lose answer", "keep answer"])
@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_a_write_whose_answer_is_lost_is_a_write(server: ObjectServer, front: Front, size: int, fault: Fault) -> None:
    # Only what is kept is waited for.
    store = object_store(server.configuration(url=front.url, timeout="4" if fault == "keep answer" else "20"))
    data = os.urandom(size)
    front.fail(1, fault, writes_an_object)
    stored = store.put(data)
    assert store.get(*stored) == data
    assert list(store.digests()) == [stored.digest]
    assert left_in(store) == []


def test_a_deletion_whose_answer_is_lost_is_a_deletion(front: Front, fronted: AnyObjectStore) -> None:
    stored = fronted.put(b"x")
    front.fail(1, "lose answer", lambda request: request.method in {"DELETE", "POST"})
    fronted.delete(stored.digest)
    assert not fronted.exists(stored.digest)


def test_an_answer_that_is_cut_is_never_taken_for_the_whole(
    front: Front, fronted: AnyObjectStore, tmp_path: Path
) -> None:
    data = os.urandom(LARGE)
    stored = fronted.put(data)
    front.fault = lambda request: "cut answer" if request.method == "GET" else None
    with pytest.raises(ArtifactError):
        fronted.get(*stored)
    with pytest.raises(ArtifactError):
        fronted.get_file(*stored, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []
    front.fail(1, "cut answer")
    assert fronted.get(*stored) == data


def test_nobody_waits_for_ever_for_an_answer(server: ObjectServer) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = object_store(server.configuration(url=url, timeout="0.5"))
        for attempt in (store.check, lambda: store.put(b"x"), lambda: store.get("0" * 64, 1)):
            with pytest.raises(ArtifactError, match=r"it gave no answer in time.*longer `timeout`"):
                attempt()


def test_a_store_that_does_what_is_needed_passes_and_keeps_nothing_of_it(store: AnyObjectStore) -> None:
    store.check()
    assert left_in(store) == []
    assert list(store.digests()) == []


def test_a_missing_bucket_is_told_and_not_taken_for_a_missing_object(server: ObjectServer) -> None:
    store = object_store(server.configuration(bucket="nobody-made-this"))
    told = r"cannot .*: .*\((NoSuchBucket|ContainerNotFound)\)\. Stackledger makes no buckets: create it"
    for attempt in (
        store.check,
        lambda: store.put(b"x"),
        lambda: store.get("0" * 64, 1),
        lambda: list(store.digests()),
    ):
        with pytest.raises(ArtifactError, match=told) as refused:
            attempt()
        assert not isinstance(refused.value, ArtifactMissing)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("method", "what"), [("PUT", "keep"), ("GET", "give back"), ("LIST", "list"), ("DELETE", "del")]
)
def test_each_missing_right_is_told(front: Front, fronted: AnyObjectStore, method: str, what: str, status: int) -> None:
    def asked(request: Request) -> str:
        if re.search(r"comp=batch|\?delete", request.path):
            return "DELETE"
        return "LIST" if re.search(r"[?&](list-type|comp=list)", request.path) else request.method

    front.fault = lambda request: status if asked(request) == method else None
    with pytest.raises(ArtifactError, match=rf"cannot {what}.*it answered {status}.*the right to read, write, list"):
        fronted.check()


def test_who_is_not_let_in_is_told_without_their_credentials(azure: ObjectServer, gcs: ObjectServer) -> None:
    wrong = {"account_key": "d3Jvbmcga2V5"}
    for server, other in ((azure, wrong), (gcs, {"token": "wrong-token"})):
        with pytest.raises(ArtifactError, match=r"the right to read, write, list and delete") as refused:
            object_store(server.configuration(**other)).check()
        assert not any(value in str(refused.value) for value in other.values())


def test_a_credential_of_a_wrong_form_is_told_and_not_repeated(azure: ObjectServer) -> None:
    with pytest.raises(ArtifactError) as refused:
        object_store(azure.configuration(account_key="not base64!")).check()
    assert "not base64!" not in str(refused.value)


def test_an_address_where_nobody_listens_is_told() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        given = {"path": "az://container/x", "endpoint_url": f"{url}/a", "allow_http": True, "account_name": "a"}
        store = object_store({**given, "sas_token": "sv=2021&sig=hunter2"})
        with pytest.raises(
            ArtifactError, match=r"it cannot be reached \(Connection refused\).*`endpoint_url`"
        ) as refused:
            store.check()
    assert "hunter2" not in str(refused.value)


def test_a_process_forked_from_one_that_used_it_is_told_instead_of_waiting_for_ever(store: AnyObjectStore) -> None:
    stored = store.put(b"x")

    def read() -> None:
        signal.alarm(60)  # it would wait for ever
        with pytest.raises(ArtifactError, match=r"forked from one that uses object storage.*`spawn`"):
            store.get(*stored)

    assert ended(forked(read)) == 0


def test_a_store_that_was_only_made_can_be_used_by_a_forked_process(s3: ObjectServer) -> None:
    program = (
        "import json, sys; from tests.support.artifact_stores import object_store\n"
        "from tests.support.processes import ended, forked\n"
        "store = object_store(json.loads(sys.argv[1]))\n"
        "sys.exit(ended(forked(store.check)))"
    )
    subprocess.run([sys.executable, "-c", program, json.dumps(s3.configuration())], check=True, timeout=100)


def test_an_upload_and_a_download_take_little_memory(s3: ObjectServer, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    size = 128 * 1024 * 1024
    with source.open("wb") as file:
        for _ in range(16):
            file.write(os.urandom(size // 16))
    program = (
        "import json, resource, sys; from pathlib import Path; from tests.support.artifact_stores import object_store\n"
        "store = object_store(json.loads(sys.argv[1]))\n"
        "store.check()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "stored = store.put_file(Path(sys.argv[2]))\n"
        "store.get_file(*stored, Path(sys.argv[3]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", program, json.dumps(s3.configuration()), str(source), str(target)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert target.stat().st_size == size
    assert grown * 1024 < 3 * PIECE * AT_ONCE  # each piece once in Python and once in the library, and some room
