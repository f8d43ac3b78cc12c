"""Compiles source text that comes on standard input; imports nothing of where it lies, and runs nothing of it.

    request   length of the path, length of the source (4 bytes each, little-endian), path, source
    answer    b"+" and a .pyc, or b"-" and why there is none; before them, the length in 4 bytes

The first answer, to no request, says which interpreter this is. Each request is served by a fork of its own: what
marshal writes depends on how often an object is referred to in the whole process, and every fork begins with the same.
"""

import _imp
import marshal
import posix
import sys

from _frozen_importlib_external import MAGIC_NUMBER

# https://peps.python.org/pep-0552/: the pyc is based on a hash, and nobody checks it.
UNCHECKED_HASH = 0b01


def number(data):
    return int.from_bytes(data, "little")


def four_bytes(value):
    return value.to_bytes(4, "little")


def read(count):
    parts = []
    while count:
        part = posix.read(0, count)
        if not part:
            posix._exit(1)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def answer(kind, content):
    data = kind + four_bytes(len(content)) + content
    while data:
        data = data[posix.write(1, data) :]


def pyc(path, source):
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    source_hash = _imp.source_hash(number(MAGIC_NUMBER), source)
    return MAGIC_NUMBER + four_bytes(UNCHECKED_HASH) + source_hash + marshal.dumps(code)


def serve():
    lengths = read(8)
    path = read(number(lengths[:4])).decode()
    source = read(number(lengths[4:]))
    try:
        compiled = pyc(path, source)
    except MemoryError:
        posix._exit(1)
    except Exception as error:  # whatever it is, installers leave such a file without bytecode
        answer(b"-", repr(error).encode(errors="replace"))
    else:
        answer(b"+", compiled)


def main():
    del sys.path[0]  # where this script is
    sys.stderr = None  # what the compiler warns of
    answer(b"+", f"{sys.implementation.name} {sys.version.split()[0]}".encode())
    while True:
        child = posix.fork()
        if child == 0:
            status = 1
            try:
                serve()
                status = 0
            finally:
                posix._exit(status)
        if posix.waitpid(child, 0)[1] != 0:
            return


main()
