#!/usr/bin/env python3
"""Prints `ready`, then [offset, length, whole length] of each DTLS ClientHello fragment (RFC 6347 section 4.2.2) that is
sent over the loopback interface of this network namespace, until stdin ends."""

import select
import socket
import sys

ETH_P_ALL = 3
HANDSHAKE, CLIENT_HELLO = 22, 1
RECORD_HEADER, HANDSHAKE_HEADER = 13, 12


def udp_payload(frame):
    """The payload of an IPv4 UDP datagram behind an Ethernet header, else nothing."""
    packet = frame[14:]
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
        return b""
    return packet[(packet[0] & 15) * 4 + 8 :]


def fragment(payload):
    if len(payload) < RECORD_HEADER + HANDSHAKE_HEADER or payload[0] != HANDSHAKE or payload[1] != 254:
        return None
    if payload[3:5] != b"\0\0":  # encrypted from epoch 1 on
        return None
    message = payload[RECORD_HEADER:]
    if message[0] != CLIENT_HELLO:
        return None
    number = lambda at: int.from_bytes(message[at : at + 3], "big")
    return [number(6), number(9), number(1)]


def main():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.bind(("lo", 0))
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([0, wire], [], [])
        if 0 in readable:
            return
        frame, (_, _, kind, _, _) = wire.recvfrom(65536)
        # Loopback shows each packet twice: going out and coming in.
        found = fragment(udp_payload(frame)) if kind == socket.PACKET_OUTGOING else None
        if found:
            print(found, flush=True)


if __name__ == "__main__":
    sys.exit(main())
