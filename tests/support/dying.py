"""Workers that do not live long, for the parent that has to notice."""

from __future__ import annotations

import os
import socket
import sys
from multiprocessing.connection import Connection

from consilience.cli.stop import READY


def dies_at_start(number: int, line: Connection, bound: socket.socket) -> None:
    sys.exit(7)


def is_killed_at_start(number: int, line: Connection, bound: socket.socket) -> None:
    os.abort()


def serves_once(number: int, line: Connection, bound: socket.socket) -> None:
    """Serves the first time, until it is told to stop; dies every time after."""
    bound.settimeout(0)
    try:
        bound.accept()
    except BlockingIOError:
        sys.exit(9)
    line.send_bytes(READY)
    sys.exit(3)
