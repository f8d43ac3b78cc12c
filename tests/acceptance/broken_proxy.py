"""A proxy before a registry that breaks large requests, as a seed says."""

import random
import socket
import threading

LARGE = 1_000_000  # bytes from which on a request may break
PIECE = 1 << 20


class BrokenProxy:
    """`buffers`: it passes on whole requests only, as most proxies do; otherwise what came before the break arrives."""

    def __init__(self, target, seed, breaks, buffers):
        self.target, self.buffers, self.breaks = target, buffers, breaks
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.passed_on = 0  # bytes of large requests that were passed on whole
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            with client, socket.create_connection(self.target) as server:
                asked, answered = client.makefile("rb"), server.makefile("rb")
                while self.exchange(client, asked, server, answered):
                    pass
        except OSError:
            pass  # either side may hang up

    def exchange(self, client, asked, server, answered):
        """Passes on a request and its answer; gives whether there may be another."""
        head, size = message(asked)
        broken = self.breaks_at(size)
        if not head:
            return False
        if not self.buffers:
            server.sendall(head)
        pieces = []
        for piece in body(asked, size if broken is None else broken):
            if self.buffers:
                pieces.append(piece)
            else:
                server.sendall(piece)
        if broken is not None:
            return False
        if self.buffers:
            server.sendall(b"".join([head, *pieces]))
        self.passed_on += size if size > LARGE else 0
        answer, length = message(answered)
        length = 0 if head.startswith(b"HEAD ") else length
        client.sendall(answer + b"".join(body(answered, length)))
        return bool(answer)

    def breaks_at(self, size):
        """The number of bytes after which a request of this size breaks, if it does."""
        with self.lock:
            if size > LARGE and self.breaks and self.random.random() < 0.6:
                self.breaks -= 1
                return self.random.randrange(size)
        return None


def message(stream):
    """The head of a request or an answer, and the size of a body that it tells; nothing where the stream has ended."""
    head, size = b"", 0
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b"", 0
        head += line
        name, _, value = line.partition(b":")
        size = int(value) if name.lower() == b"content-length" else size
    return head, size


def body(stream, size):
    while size:
        piece = stream.read(min(size, PIECE))
        if not piece:
            raise OSError("the connection ended")
        size -= len(piece)
        yield piece
