"""Stands in for an interpreter: a copy of the server of `forking.py` runs what this is asked to run.

Its arguments are those of Python; the server's address lies beside it. It imports little, so that it starts at once.
"""

import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress


def hand_on(number: int, _: object) -> None:
    with suppress(ProcessLookupError):
        os.kill(copy, number)


with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect(os.path.join(os.path.dirname(__file__), "socket"))
    request = {"argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}
    request["file_size"] = resource.getrlimit(resource.RLIMIT_FSIZE)
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    copy = int(server.recv(100))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)
    status = int(server.recv(100))
if status < 0:
    with suppress(OSError):  # Nothing handles SIGKILL.
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
