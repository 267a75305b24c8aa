"""Ports of the tests' servers: nobody else takes one between the choice and the server's start."""

import socket

import pytest

from tests.ports import free_port


def test_a_free_port_is_kept_for_a_server_and_refuses_until_it_listens() -> None:
    place = ("127.0.0.1", free_port())
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(place)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
    for _ in range(2):  # a server that is started again
        with socket.create_server(place), socket.create_connection(place):
            pass
