#!/usr/bin/env python3
"""A network between real processes, with delay, jitter, loss, reordering and duplication per direction.

    tests/tun_switch.py --name NAME --hosts a,b,c [--seed 7]

Makes one network namespace a host (`NAME-a` …) with loopback and one TUN device: host i (from 1) has 10.77.0.i and
fd77::i. This process is the wire between them: a packet read from one device is written to the device that owns
its destination, as the link of that direction says. Kernels without netem can do this; it needs root and no more.

Spoken over stdin and stdout, a JSON object a line:

    {"links": [["a", "b"]], "set": {"delay_ms": 25, "jitter_ms": 5, "loss": 0.05, "reorder": 0.01, "duplicate": 0.01}}
    {"links": "all", "set": {"loss": 1.0}}
    {"stats": true}

Each is answered by one line, `{"ok": true, …}` or `{"error": "…"}`; the first line, unasked, says that the hosts are
ready. A link is a direction. Jitter keeps the order; a reordered packet is held back `reorder_ms` longer while later
ones pass. The same seed and the same packets meet the same fate. The end of stdin, SIGINT or SIGTERM ends it and
removes the namespaces.
"""

import argparse
import ctypes
import dataclasses
import fcntl
import heapq
import ipaddress
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
CLONE_NEWNET = 0x40000000
MTU = 1500
QUEUE_PACKETS = 4096  # per direction: 55 Mbit/s of full packets at one second of delay
READ_BUDGET = 64  # packets taken from one device per turn, so that no host starves the others

LIBC = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass
class Link:
    """What one direction does to its packets, and what it did."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 10.0
    duplicate: float = 0.0
    last_due: float = 0.0
    queued: int = 0
    forwarded: int = 0
    lost: int = 0
    reordered: int = 0
    duplicated: int = 0
    overflowed: int = 0
    octets: int = 0

    SETTINGS = ("delay_ms", "jitter_ms", "loss", "reorder", "reorder_ms", "duplicate")
    COUNTERS = ("forwarded", "lost", "reordered", "duplicated", "overflowed", "octets")

    def change(self, settings):
        for name, value in settings.items():
            if name not in self.SETTINGS:
                raise ValueError(f"'{name}' is no setting: {', '.join(self.SETTINGS)}")
            top = 60_000 if name.endswith("_ms") else 1
            if not isinstance(value, (int, float)) or not 0 <= value <= top:
                raise ValueError(f"{name} = {value}: expected a number from 0 to {top}")
        for name, value in settings.items():
            setattr(self, name, float(value))

    def fates(self, now, rng):
        """When each copy of a packet that came at `now` is due; none when it is lost."""
        if self.loss and rng.random() < self.loss:
            self.lost += 1
            return
        due = now + (self.delay_ms + rng.uniform(-self.jitter_ms, self.jitter_ms)) / 1000
        due = max(due, now, self.last_due)
        if self.reorder and rng.random() < self.reorder:
            self.reordered += 1
            yield due + self.reorder_ms / 1000
        else:
            self.last_due = due
            yield due
        if self.duplicate and rng.random() < self.duplicate:
            self.duplicated += 1
            yield due


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def open_tun(namespace):
    """A TUN device inside a namespace, held by this process outside of it."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        enter(there)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN_WITHOUT_HEADER))
        return device
    finally:
        enter(home)
        os.close(home)
        os.close(there)


def enter(namespace):
    if LIBC.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "can't enter the network namespace")


class Host:
    """A namespace and its device."""

    def __init__(self, name, namespace, index):
        self.name, self.namespace = name, namespace
        self.v4 = ipaddress.ip_address(f"10.77.0.{index}")
        self.v6 = ipaddress.ip_address(f"fd77::{index:x}")
        run("ip", "netns", "add", namespace)
        self.device = open_tun(namespace)
        inside = ("ip", "-n", namespace)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "set", "tun0", "mtu", str(MTU), "txqueuelen", "1000")
        run(*inside, "addr", "add", f"{self.v4}/24", "dev", "tun0")
        run(*inside, "addr", "add", f"{self.v6}/64", "dev", "tun0", "nodad")
        run(*inside, "link", "set", "tun0", "up")

    def remove(self):
        os.close(self.device)
        subprocess.run(("ip", "netns", "del", self.namespace), stdin=subprocess.DEVNULL, check=False)


class Switch:
    """All hosts and the links between them."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.hosts, self.owner, self.links = [], {}, {}
        self.queue, self.order = [], 0

    def attach(self, host):
        self.links.update({(host.name, other.name): Link() for other in self.hosts})
        self.links.update({(other.name, host.name): Link() for other in self.hosts})
        self.hosts.append(host)
        self.owner[host.v4.packed] = self.owner[host.v6.packed] = host

    def read(self, host, now):
        for _ in range(READ_BUDGET):
            try:
                packet = os.read(host.device, MTU)
            except BlockingIOError:
                return
            to = self.owner.get(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])
            if to is None or to is host:
                continue
            link = self.links[host.name, to.name]
            for due in link.fates(now, self.rng):
                self.enqueue(link, due, to.device, packet)

    def enqueue(self, link, due, device, packet):
        if link.queued >= QUEUE_PACKETS:
            link.overflowed += 1
            return
        link.queued += 1
        self.order += 1
        heapq.heappush(self.queue, (due, self.order, device, packet, link))

    def deliver(self, now):
        while self.queue and self.queue[0][0] <= now:
            _, _, device, packet, link = heapq.heappop(self.queue)
            link.queued -= 1
            try:
                os.write(device, packet)
            except OSError:
                link.overflowed += 1
                continue
            link.forwarded += 1
            link.octets += len(packet)

    def timeout(self, now):
        return max(0.0, self.queue[0][0] - now) if self.queue else None

    def answer(self, line):
        try:
            request = json.loads(line)
            if "set" in request:
                wanted = request.get("links", "all")
                for link in self.links if wanted == "all" else map(tuple, wanted):
                    if link not in self.links:
                        raise ValueError(f"no link {link}: hosts are {[host.name for host in self.hosts]}")
                    self.links[link].change(request["set"])
            counts = {
                f"{a}>{b}": {name: getattr(link, name) for name in Link.COUNTERS} for (a, b), link in self.links.items()
            }
            return {"ok": True, **({"links": counts} if request.get("stats") else {})}
        except (ValueError, AttributeError, TypeError) as error:
            return {"error": str(error)}

    def serve(self):
        """Runs until stdin ends."""
        pending = b""
        while True:
            now = time.monotonic()
            self.deliver(now)
            readable, _, _ = select.select([0, *(host.device for host in self.hosts)], [], [], self.timeout(now))
            now = time.monotonic()
            for host in self.hosts:
                if host.device in readable:
                    self.read(host, now)
            if 0 in readable:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in filter(None, lines):
                    print(json.dumps(self.answer(line)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="prefix of the namespaces; put your pid into it")
    parser.add_argument("--hosts", required=True, help="names, with commas between them")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    switch = Switch(arguments.seed)
    try:
        for index, name in enumerate(arguments.hosts.split(","), 1):
            switch.attach(Host(name, f"{arguments.name}-{name}", index))
        hosts = {h.name: {"namespace": h.namespace, "v4": str(h.v4), "v6": str(h.v6)} for h in switch.hosts}
        print(json.dumps({"ok": True, "hosts": hosts}), flush=True)
        switch.serve()
    finally:
        for host in switch.hosts:
            host.remove()


if __name__ == "__main__":
    main()
