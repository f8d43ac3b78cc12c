"""Calls one hook of a build backend (PEP 517) in a sandbox, and writes its answer as JSON."""

import importlib
import json
import os
import sys

HOOK, BACKEND, BACKEND_PATH, SOURCE, OUTPUT = sys.argv[1:6]
SAME_MACHINE = (None, "", b"", "localhost", "127.0.0.1", "::1", "sandbox")


def note_network(event, arguments):
    """Notes the first place that the build wants to reach: there is no network."""
    if event == "socket.getaddrinfo":
        place = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        place = arguments[1][0]
    elif event == "urllib.Request":
        place = arguments[0]
    else:
        return
    path = os.path.join(OUTPUT, "network")
    if place not in SAME_MACHINE and not os.path.exists(path):
        with open(path, "w") as file:
            file.write(str(place))


def backend():
    """The object that has the hooks."""
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    sys.path[:0] = [os.path.abspath(path) for path in json.loads(BACKEND_PATH)]
    module, _, names = BACKEND.partition(":")
    found = importlib.import_module(module)
    for name in filter(None, names.split(".")):
        found = getattr(found, name)
    return found


def call():
    """The answer of the hook."""
    hook = getattr(backend(), HOOK, None)
    if HOOK == "build_wheel":
        return hook(OUTPUT)
    return hook() if hook else []


os.dup2(1, 2)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.chdir(SOURCE)
if hasattr(sys, "addaudithook"):
    sys.addaudithook(note_network)
answer = call()
with open(os.path.join(OUTPUT, "answer.json"), "w") as file:
    json.dump(answer, file)
