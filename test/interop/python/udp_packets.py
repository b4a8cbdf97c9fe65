"""Packets, frames, keys, acknowledgements, loss of the channel over UDP (docs/protocol.md §14, RFC 9002)."""
from collections import OrderedDict

from channel import prologue
from codec import U64, VARINT, Fixed, Items, OneOf, Opaque, Reader, Refused, Struct, Union, Zeros, decode

DATAGRAM_BYTES = 1_200
HEADER_BYTES = 17
PLAINTEXT_BYTES_MIN = 48 - HEADER_BYTES - 16
PLAINTEXT_BYTES_MAX = DATAGRAM_BYTES - HEADER_BYTES - 16
WINDOW_INITIAL_BYTES = 65_536
KEY_PACKETS = 2 ** 20
REPLAY_PACKETS = 2_048
ACK_RANGES_MAX = 64
ACK_DELAY = 0.025
ACK_PACKETS = 4
KEEP_ALIVE = 25
IDLE = 60
PROBE_MAX = 4

INITIATION = Struct(type=OneOf(1), version=OneOf(1), deviceId=Fixed(8), noise=Fixed(96), cookie=Fixed(16),
                    padding=Zeros())
RESPONSE = Struct(type=OneOf(2), deviceId=Fixed(8), noise=Fixed(72))
RESPONSE_PAYLOAD = Struct(nodeId=Fixed(8), resetToken=Fixed(16))
COOKIE_REPLY = Struct(type=OneOf(3), deviceId=Fixed(8), cookie=Fixed(16))
DATA_HEADER = Struct(type=OneOf(4), id=Fixed(8), counter=U64)
RESET = Struct(type=OneOf(5), nodeId=Fixed(8), token=Fixed(16))

UDP_FRAMES = Union(
    padding=(0, Struct(length=Zeros())),
    ping=(1, Struct()),
    ack=(2, Struct(largest=VARINT, delayUs=VARINT, first=VARINT,
                   ranges=Items(Struct(gap=VARINT, length=VARINT), ACK_RANGES_MAX - 1))),
    stream=(3, Struct(offset=VARINT, data=Opaque(DATAGRAM_BYTES))),
    end=(4, Struct(offset=VARINT)),
    maxData=(5, Struct(offset=VARINT)),
    challenge=(6, Struct(data=Fixed(8))),
    answer=(7, Struct(data=Fixed(8))),
    close=(8, Struct(reason=VARINT)),
    ackNow=(9, Struct()),
)
ASK_FOR_ACK = {"ping", "stream", "end", "maxData", "ackNow"}


def decode_udp_frames(plaintext):
    reader = Reader(plaintext)
    frames = []
    while reader.left() > 0:
        frames.append(UDP_FRAMES.read(reader))
    return frames


def initiation(device_id, noise, cookie=bytes(16)):
    padding = DATAGRAM_BYTES - 2 - 8 - 96 - 16
    fields = {"deviceId": device_id, "noise": noise, "cookie": cookie, "padding": padding}
    return INITIATION.write({"type": 1, "version": 1, **fields})


def udp_prologue(device_id):
    return prologue("udp") + bytes([1, 1]) + device_id


class PacketKeys:
    """The keys of all epochs of one direction, made as they are needed."""

    def __init__(self, cipher):
        self.ciphers = {0: cipher}
        self.epoch = 0

    def of(self, counter):
        epoch = counter // KEY_PACKETS
        if not self.epoch - 1 <= epoch <= self.epoch + 1:
            raise Refused("an epoch too far away")
        if epoch not in self.ciphers:
            self.ciphers[epoch] = self.ciphers[epoch - 1].rekeyed()
        return self.ciphers[epoch]

    def used(self, counter):
        epoch = counter // KEY_PACKETS
        if epoch > self.epoch:
            self.epoch = epoch
            self.ciphers = {number: key for number, key in self.ciphers.items() if number >= epoch - 1}


def seal_packet(keys, peer_id, counter, frames):
    """`frames` encoded; padded to the shortest packet."""
    missing = PLAINTEXT_BYTES_MIN - len(frames)
    plaintext = frames + bytes(max(0, missing))  # a padding frame is a zero and zeros
    header = DATA_HEADER.write({"type": 4, "id": peer_id, "counter": counter})
    sealed = keys.of(counter).seal_at(counter, plaintext, header)
    keys.used(counter)
    return header + sealed


def open_packet(keys, datagram):
    """Counter and plaintext, or a refusal."""
    counter = decode(DATA_HEADER, datagram[:HEADER_BYTES])["counter"]
    plaintext = keys.of(counter).open_at(counter, datagram[HEADER_BYTES:], datagram[:HEADER_BYTES])
    keys.used(counter)
    return counter, plaintext


class Received:
    """Counters that came, as ranges [first, last], lowest first; older ones than it keeps count as come."""

    def __init__(self):
        self.ranges = []
        self.floor = 0

    def is_new(self, counter):
        return counter >= self.floor and not any(first <= counter <= last for first, last in self.ranges)

    def add(self, counter):
        merged = [counter, counter]
        rest = []
        for first, last in self.ranges:
            if last == counter - 1:
                merged[0] = first
            elif first == counter + 1:
                merged[1] = last
            else:
                rest.append((first, last))
        self.ranges = sorted([*rest, tuple(merged)])[-ACK_RANGES_MAX:]
        self.floor = max(self.ranges[0][0], self.largest - REPLAY_PACKETS + 1)

    @property
    def largest(self):
        return self.ranges[-1][1] if self.ranges else -1

    def ack(self, delay):
        (lowest, largest), *below = reversed(self.ranges)
        ranges = []
        for first, last in below:
            ranges.append({"gap": lowest - last - 2, "length": last - first})
            lowest = first
        return UDP_FRAMES.encode("ack", largest=largest, delayUs=int(delay * 1e6),
                                 first=largest - self.ranges[-1][0], ranges=ranges)


def acked_ranges(ack):
    last, first = ack["largest"], ack["largest"] - ack["first"]
    ranges = [(first, last)]
    for item in ack["ranges"]:
        last = first - item["gap"] - 2
        first = last - item["length"]
        ranges.append((first, last))
    if first < 0:
        raise Refused("an acknowledgement below zero")
    return ranges


class Recovery:
    """Loss, round trips and congestion as RFC 9002 has them, without pacing: small bursts only."""

    INITIAL_WINDOW = 10 * DATAGRAM_BYTES
    MINIMUM_WINDOW = 2 * DATAGRAM_BYTES

    def __init__(self):
        self.sent = OrderedDict()
        self.next_number = 0
        self.largest_acked = -1
        self.in_flight = 0
        self.probes = 0
        self.last_sent = 0
        self.lost_packets = 0
        self.restart()

    def restart(self):
        """§5, §7: nothing is known of the path."""
        self.smoothed, self.variation, self.least, self.sampled = 0.333, 0.1665, 0.333, False
        self.window, self.threshold, self.recovery_since = self.INITIAL_WINDOW, float("inf"), -1.0

    def record(self, number, now, size, content):
        self.sent[number] = (now, size, content)
        self.in_flight += size
        self.last_sent = now

    def may_send(self):
        return self.in_flight + DATAGRAM_BYTES <= self.window

    def acknowledged(self, ack, now):
        """Contents that arrived, and contents that are lost now."""
        if ack["largest"] >= self.next_number:
            raise Refused("an acknowledgement of what was not sent")
        newly = [number for first, last in acked_ranges(ack)
                 for number in list(self.sent) if first <= number <= last]
        if ack["largest"] in newly:
            self.sample(now - self.sent[ack["largest"]][0], min(ack["delayUs"] / 1e6, ACK_DELAY))
        self.largest_acked = max(self.largest_acked, ack["largest"])
        arrived = []
        for number in newly:
            sent_at, size, content = self.sent.pop(number)
            self.in_flight -= size
            arrived.append(content)
            if sent_at > self.recovery_since:
                grows = size if self.window < self.threshold else DATAGRAM_BYTES * size / self.window
                self.window += grows
        if newly:
            self.probes = 0
        return arrived, self.detect(now)

    def sample(self, round_trip, delay):
        if not self.sampled:
            self.sampled = True
            self.least = self.smoothed = round_trip
            self.variation = round_trip / 2
            return
        self.least = min(self.least, round_trip)
        adjusted = round_trip - delay if round_trip >= self.least + delay else round_trip
        self.variation = 0.75 * self.variation + 0.25 * abs(self.smoothed - adjusted)
        self.smoothed = 0.875 * self.smoothed + 0.125 * adjusted

    def detect(self, now):
        """§6.1: three packets or 9/8 of a round trip behind an acknowledged one."""
        patience = max(9 / 8 * self.smoothed, 0.001)
        lost = [number for number, (sent_at, _, _) in self.sent.items() if number < self.largest_acked
                and (number <= self.largest_acked - 3 or sent_at + patience <= now)]
        contents = []
        for number in lost:
            sent_at, size, content = self.sent.pop(number)
            self.in_flight -= size
            contents.append(content)
            if sent_at > self.recovery_since:
                self.recovery_since = now
                self.threshold = self.window = max(self.window / 2, self.MINIMUM_WINDOW)
        self.lost_packets += len(lost)
        return contents

    def deadline(self):
        """When something is lost, or time for a probe (§6.2)."""
        if not self.sent:
            return float("inf")
        first = next(iter(self.sent))
        if first < self.largest_acked:
            return self.sent[first][0] + max(9 / 8 * self.smoothed, 0.001)
        probe = self.smoothed + max(4 * self.variation, 0.001) + ACK_DELAY
        return self.last_sent + min(probe * 2 ** self.probes, max(PROBE_MAX, probe))
