"""TLS to a real broker that lets in only who shows a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from stackledger.domain.errors import BrokerUnreachable, InvalidConfiguration
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig
from stackledger.workers.fleet.broker.configured import broker_address, topology
from stackledger.workers.fleet.broker.visiting import visiting
from tests.support.rabbitmq import PASSWORD, USER, private_node
from tests.support.services import free_port

pytestmark = pytest.mark.xdist_group("rabbitmq")

SETTINGS = """
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {folder}/authority.pem
ssl_options.certfile = {folder}/broker.pem
ssl_options.keyfile = {folder}/broker.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""


class Authority:
    """Somebody who signs certificates, in files of a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = self._written(name, self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))

    def certificate(self, name: str, *, place: str | None = None) -> tuple[str, str]:
        """Make a certificate and its key; return their files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        places = x509.SubjectAlternativeName([x509.IPAddress(ip_address(place))]) if place else None
        file = self._written(name, subject, key, places)
        path = self.folder / f"{name}.key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return file, str(path)

    def _written(
        self, name: str, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType | None
    ) -> str:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        if extension is not None:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        path = self.folder / f"{name}.pem"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return str(path)


class Site:
    """A broker that speaks TLS, and the certificates for it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.authority.certificate("broker", place="127.0.0.1")
        self.certificate, self.key = self.authority.certificate("client")
        self.port = free_port()
        self.settings = SETTINGS.format(port=self.port, folder=folder)

    def config(self, *, host: str = "127.0.0.1", **changes: Any) -> RabbitMQOrchestratorConfig:
        """Return the configuration that is right, but for some changes."""
        right = {
            "url": f"amqps://{USER}:{PASSWORD}@{host}:{self.port}/%2F",
            "ca_certificate": self.authority.file,
            "client_certificate": self.certificate,
            "client_key": self.key,
        }
        return RabbitMQOrchestratorConfig.model_validate(right | changes)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("tls"))
    with private_node(site.settings):
        yield site


def test_with_the_right_certificates_one_is_let_in(site: Site) -> None:
    config = site.config()
    with visiting(broker_address(config)) as visit:
        assert "RabbitMQ" in visit.checked(topology(config, "log", "o"))


@pytest.mark.parametrize("wrong", ["unknown authority", "another host", "no certificate of one's own"])
def test_with_wrong_ones_nobody_goes_in(site: Site, tmp_path: Path, wrong: str) -> None:
    config = {
        "unknown authority": lambda: site.config(ca_certificate=Authority(tmp_path, "other").file),
        "another host": lambda: site.config(host="localhost"),
        "no certificate of one's own": lambda: site.config(client_certificate=None, client_key=None),
    }[wrong]()
    with pytest.raises(BrokerUnreachable) as refused, visiting(broker_address(config)):
        pytest.fail("it went in")
    assert PASSWORD not in str(refused.value)
    if wrong != "no certificate of one's own":
        assert "certificate verify failed" in str(refused.value)


@pytest.mark.parametrize("field", ["ca_certificate", "client_certificate"])
def test_files_that_are_not_there_or_are_none_are_told(site: Site, tmp_path: Path, field: str) -> None:
    (tmp_path / "none").write_text("nothing")
    for name in ("nowhere", "none"):
        with pytest.raises(InvalidConfiguration, match=f"cannot be used .*{name}"):
            broker_address(site.config(**{field: str(tmp_path / name)}))
