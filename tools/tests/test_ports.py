import errno
import os
import socket

import pytest

from embedded import ports


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_one_variable_moves_all_ports():
    assert ports.assign({})["gateway"] == 8000
    moved = ports.assign({"MC_PORT": "9100"})
    assert list(moved.values()) == list(range(9100, 9100 + len(ports.NAMES)))


@pytest.mark.parametrize("given", ["http", "0", "-1", "65535", "8000.5", "٨٠٠٠"])
def test_a_wrong_number_is_reported_with_its_variable(given):
    with pytest.raises(ports.PortUnavailable, match=r"MC_PORT is .* but must be a port number from 1 to"):
        ports.assign({"MC_PORT": given})


def test_a_busy_port_is_reported_with_its_service_number_and_variable(listener):
    with pytest.raises(ports.PortUnavailable) as error:
        ports.check({"gateway": listener, "catalogue": ports.suggest(1)})
    assert f"gateway needs port {listener}, which is busy" in str(error.value)
    assert "catalogue" not in str(error.value)
    assert "MC_PORT=" in str(error.value)


def test_free_ports_pass():
    first = ports.suggest(3)
    ports.check({"a": first, "b": first + 1, "c": first + 2})


def test_a_port_whose_last_connection_is_fading_is_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
    ports.check({"gateway": port})


def test_a_privileged_port_is_reported_as_such(monkeypatch):
    bind = socket.socket.bind

    def refuse(self, address):
        if address[1] == 80:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ports.PortUnavailable, match="gateway needs port 80, which only root may use"):
        ports.check({"gateway": 80})
