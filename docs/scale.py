#!/usr/bin/env python3
"""Measures what docs/scale.md calculates with: the server's CPU for each call, and bytes for each peer.

Starts a Redis server of its own: `docs/scale.py [redis-server]`.
"""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

SCRIPTS = pathlib.Path(__file__).parent.parent / "src/store/redis/scripts"
PEERS = 100_000
BATCH = 500
WINDOW, LEASE = b"600000", b"600000"


def packed(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Server:
    def __init__(self, program):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tempfile.mkdtemp()]
        self.process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        self.replies = self.socket.makefile("rb")

    def reply(self):
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise SystemExit(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.replies.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def ask(self, *words):
        self.socket.sendall(packed(*words))
        return self.reply()

    def run(self, name, *arguments, peers=PEERS):
        """Runs a script once for each peer. Returns its first reply and the server's CPU for each call."""
        code = (SCRIPTS / "common.lua").read_bytes() + (SCRIPTS / f"{name}.lua").read_bytes()
        digest = self.ask("SCRIPT", "LOAD", code)
        before, first = self.cpu(), None
        for start in range(0, peers, BATCH):
            calls = []
            for peer in range(start, start + BATCH):
                floor = b"od1:{%03x}" % (peer % 4096)
                digested = peer.to_bytes(16, "little")
                keys = (floor + digested, floor + digested + b"a", floor)
                own = [one(peer) if callable(one) else one for one in arguments]
                calls.append(packed("EVALSHA", digest, 3, *keys, b"od1:0:node:", os.urandom(56), *own))
            self.socket.sendall(b"".join(calls))
            replies = [self.reply() for _ in calls]
            first = first or replies[0]
        return first, (self.cpu() - before) / peers * 1e6

    def info(self, name):
        lines = self.ask("INFO").decode().splitlines()
        return next(line.split(":")[1] for line in lines if line.startswith(f"{name}:"))

    def cpu(self):
        """Seconds of CPU so far. Unlike the times of calls, it does not count what else the machine does."""
        return float(self.info("used_cpu_user")) + float(self.info("used_cpu_sys"))

    def memory(self):
        return int(self.info("used_memory"))


def token(round):
    return lambda peer: b"n" * 8 + round + peer.to_bytes(7, "little")


def fingerprint(peer):
    return (peer + 7).to_bytes(16, "big")


def main():
    server = Server(sys.argv[1] if len(sys.argv) > 1 else "redis-server")
    try:
        print(f"Redis {server.info('redis_version')}, {PEERS} peers")
        print(f"{'':34} {'µs of CPU':>10} {'bytes a peer':>13}")
        for answer, name in ((b"", "no answer"), (b"x" * 1540, "a sealed answer of 1,540 bytes")):
            server.ask("FLUSHALL")
            empty = server.memory()

            def report(what, call, expected):
                reply, micros = call
                assert (reply[0] if isinstance(reply, list) else reply) == expected, reply
                print(f"{what:34} {micros:10.1f} {(server.memory() - empty) / PEERS:13.0f}")

            print(f"with {name}")
            claim = (token(b"1"), fingerprint, LEASE, b"1", b"")
            report("claim, new", server.run("claim", *claim), b"admitted")
            report("renew", server.run("renew", token(b"1"), LEASE, b""), 1)
            report("complete", server.run("complete", token(b"1"), fingerprint, WINDOW, b"0", answer), 1)
            claim = (token(b"2"), fingerprint, LEASE, b"1", b"")
            report("claim, duplicate", server.run("claim", *claim), b"processed")
        server.ask("FLUSHALL")
        empty, peers = server.memory(), PEERS // 10
        for n in range(16):
            text = lambda peer, n=n: (peer * 16 + n).to_bytes(16, "big")
            server.run("claim", token(b"%x" % n), text, LEASE, b"1", b"", peers=peers)
            server.run("complete", token(b"%x" % n), text, WINDOW, b"0", b"", peers=peers)
        print(f"16 memories of one peer, without answers: {(server.memory() - empty) / peers:.0f} bytes")
    finally:
        server.process.kill()
        server.process.wait()


if __name__ == "__main__":
    main()
