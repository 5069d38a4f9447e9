"""A private RabbitMQ node for the tests.

Which one: that of `STACKLEDGER_TEST_AMQP`, the URL of somebody who may do everything in its virtual host; else one in a
container, where Docker is; else one that is started here from the installed programs, which ends with this process.
Tests share it: each uses a log id of its own, and so queues of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pika
from pika.exceptions import AMQPError

from tests.support.services import docker_answers, end_with_parent, free_port, missing

ADDRESS = "STACKLEDGER_TEST_AMQP"

USER = "tester"
PASSWORD = "Tr0ub4dor"
"""So that any test can see it leak."""

# The one on PATH changes to another user.
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")

_SETTINGS = f"""
listeners.tcp.1 = 127.0.0.1:{{port}}
default_user = {USER}
default_pass = {PASSWORD}
consumer_timeout = 60000
disk_free_limit.absolute = 1MB
log.file.level = warning
"""


class PrivateNode:
    """A node of our own on free ports, with an epmd of its own. Both end with this process, however that ends."""

    def __init__(self, folder: Path, more_settings: str = "") -> None:
        self.port = free_port()
        self.url = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/%2F"
        self._folder = folder
        epmd_port = free_port()
        settings = folder / "rabbitmq.conf"
        settings.write_text(_SETTINGS.format(port=self.port) + more_settings, encoding="utf-8")
        plugins = folder / "enabled_plugins"
        plugins.write_text("[].\n", encoding="utf-8")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": f"tests{os.getpid()}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # So the script becomes the node instead of waiting for it, and a signal to it is one to the node.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        self._epmd = self._started("epmd", "-port", str(epmd_port), "-address", "127.0.0.1")
        self._node: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the node, and wait until it lets people in."""
        self._node = self._started(str(_PROGRAMS / "rabbitmq-server"))
        deadline = time.monotonic() + 120
        while True:
            try:
                pika.BlockingConnection(pika.URLParameters(self.url)).close()
            except (AMQPError, OSError):
                if self._node.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "output").read_text(encoding="utf-8")[-1_000:]) from None
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        """Kill the node, as a crash would; `start` brings it back with all that it had confirmed."""
        if self._node is not None:
            self._node.kill()
            self._node.wait(timeout=60)
            self._node = None

    def end(self) -> None:
        """End the node and its epmd."""
        self.kill()
        self._epmd.kill()
        self._epmd.wait(timeout=60)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on the node and return what it prints."""
        done = subprocess.run(
            [str(_PROGRAMS / "rabbitmqctl"), "--quiet", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _started(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it makes one system call
            )


@contextmanager
def private_node(more_settings: str = "") -> Iterator[PrivateNode]:
    """Start a node that the test may stop, start and reconfigure as it likes; with more lines for its settings."""
    if not (_PROGRAMS / "rabbitmq-server").exists() or shutil.which("epmd") is None:
        missing("RabbitMQ", "its programs are not installed (Debian, Ubuntu: apt install rabbitmq-server).")
    folder = Path(mkdtemp(prefix="stackledger-rabbitmq-"))
    try:
        node = PrivateNode(folder, more_settings)
        try:
            yield node
        finally:
            node.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def broker_url(node: Callable[[], PrivateNode]) -> Iterator[str]:
    """Return the URL of whatever broker there is; `node` starts one of our own."""
    given = os.environ.get(ADDRESS)
    if given:
        yield given
    elif docker_answers():
        from testcontainers.community.rabbitmq import RabbitMqContainer

        with RabbitMqContainer("rabbitmq:4", username=USER, password=PASSWORD) as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(5672)
            yield f"amqp://{USER}:{PASSWORD}@{host}:{port}/%2F"
    else:
        yield node().url
