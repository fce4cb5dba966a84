"""A port for a process that cannot choose one by itself."""

import socket


def free_port() -> int:
    """Return a loopback port that nobody has now; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
