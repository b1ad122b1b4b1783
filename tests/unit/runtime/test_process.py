"""Small services of the operating system."""

import os
import socket

from servers.runtime.process import PortTaken, exit_within, port_owner
from servers.runtime.security import is_loopback


def test_the_owner_of_a_taken_port_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert f"pid {os.getpid()} (" in port_owner(port)
        assert f"gRPC address 127.0.0.1:{port} is taken by pid {os.getpid()}" in str(
            PortTaken("127.0.0.1", port, "gRPC address")
        )


def test_an_address_that_nobody_listens_on_is_said_to_be_unusable() -> None:
    assert port_owner(1) == "nobody that can be seen: the address cannot be bound"


def test_a_watchdog_can_be_called_off() -> None:
    timer = exit_within(60.0, 70)
    timer.cancel()
    timer.join(5)
    assert not timer.is_alive()


def test_loopback_is_this_machine_alone() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.1.2.3", "localhost", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "10.0.0.1", "::", "example.com", ""]))
