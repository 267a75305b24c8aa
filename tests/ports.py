"""Ports for the servers of tests."""

import socket

_kept: list[socket.socket] = []


def free_port() -> int:
    """Return a TCP port of this machine on which nobody listens but a server that is told of it.

    It stays bound while this process lives, so the kernel gives it to nobody who asks for any. A server
    that reuses addresses, as all do, may bind it nevertheless. Until it listens, it refuses connections.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _kept.append(kept)
    return int(kept.getsockname()[1])
