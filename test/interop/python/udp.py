"""The device's end of the channel over UDP: a socket, and time (docs/protocol.md §14)."""
import hmac
import os
import random
import select
import socket
import time
from collections import deque

from channel import IkInitiator, Splitter, framed
from codec import LinkLost, Refused, decode
from udp_packets import (
    ACK_DELAY, ACK_PACKETS, ASK_FOR_ACK, COOKIE_REPLY, DATA_HEADER, DATAGRAM_BYTES, HEADER_BYTES, IDLE,
    KEEP_ALIVE, PLAINTEXT_BYTES_MAX, RESET, RESPONSE, RESPONSE_PAYLOAD, UDP_FRAMES, WINDOW_INITIAL_BYTES,
    PacketKeys, Received, Recovery, decode_udp_frames, initiation, open_packet, seal_packet, udp_prologue,
)

# Type, offset and length of a stream frame; and all small frames that may share a packet with it.
STREAM_OVERHEAD = 1 + 8 + 2
SMALL_FRAMES = 3 * (1 + 8)


class UdpLink:
    """§14 Channel over UDP. `loss` throws datagrams away both ways, to show that nothing is lost by it."""

    transport = "udp"

    def __init__(self, host, port, keys, loss=0.0, seed=0, timeout=10):
        family, _, _, _, self.address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(self.address)
        self.loss, self.chance = loss, random.Random(seed)
        self.dropped = 0
        self.device_id = os.urandom(8)
        self.shake_hands(keys, time.monotonic() + timeout)
        self.recovery = Recovery()
        self.received = Received()
        self.received_at = 0.0
        self.heard_at = self.sent_at = time.monotonic()
        self.asking, self.ack_due = 0, float("inf")
        self.again = deque()            # lost pieces of the stream: (offset, bytes)
        self.unsent, self.offset = bytearray(), 0
        self.peer_allows = WINDOW_INITIAL_BYTES
        self.end_due = self.end_acked = self.closed = False
        self.pieces, self.read = {}, 0
        self.allowed, self.peer_end = WINDOW_INITIAL_BYTES, None
        self.max_data_due = False
        self.ping_due, self.probes_due = True, 0
        self.splitter, self.messages = Splitter(), deque()
        self.flush()

    def shake_hands(self, keys, deadline):
        cookie, ephemeral = bytes(16), os.urandom(32)
        pause, due = 0.3, 0.0
        while time.monotonic() < deadline:
            bound = udp_prologue(self.device_id)
            noise = IkInitiator(keys["deviceSecret"], keys["doorKey"], bound, ephemeral)
            first = noise.first()
            if time.monotonic() >= due:
                self.write(initiation(self.device_id, first, cookie))
                due = time.monotonic() + pause
                pause *= 2
            datagram = self.take(min(due, deadline) - time.monotonic())
            if datagram is None or datagram[1:9] != self.device_id:
                continue
            try:
                if datagram[0] == 3:
                    cookie = decode(COOKIE_REPLY, datagram)["cookie"]
                    due = 0.0
                elif datagram[0] == 2:
                    payload = decode(RESPONSE_PAYLOAD, noise.second(decode(RESPONSE, datagram)["noise"]))
                    self.node_id, self.reset_token = payload["nodeId"], payload["resetToken"]
                    sender, receiver = noise.split()
                    self.sender, self.receiver = PacketKeys(sender), PacketKeys(receiver)
                    return
            except Refused:
                continue
        raise LinkLost("no answer to the handshake")

    # Datagrams

    def write(self, datagram):
        if self.chance.random() < self.loss:
            self.dropped += 1
            return
        try:
            self.socket.send(datagram)
        except OSError:
            pass  # As lost as any other.

    def take(self, timeout):
        if not select.select([self.socket], [], [], max(0, timeout))[0]:
            return None
        try:
            datagram = self.socket.recv(65_536)
        except OSError:
            return None
        if self.chance.random() < self.loss:
            self.dropped += 1
            return None
        return datagram or None

    # Upwards

    def send(self, *messages):
        for message in messages:
            self.unsent += framed(message)
        self.flush()

    def receive(self, timeout):
        """The next message, or None. Everything that is due happens in here."""
        deadline = time.monotonic() + timeout
        while not self.messages:
            now = time.monotonic()
            if self.closed:
                raise LinkLost("the connection is over")
            if now >= deadline:
                return None
            self.turn(deadline)
        return self.messages.popleft()

    def turn(self, deadline):
        """Waits for a datagram or for what is due before `deadline`."""
        due = min(deadline, self.recovery.deadline(), self.ack_due, self.sent_at + KEEP_ALIVE,
                  self.heard_at + IDLE)
        datagram = self.take(due - time.monotonic())
        while datagram is not None:
            self.receive_datagram(datagram)
            datagram = self.take(0)
        now = time.monotonic()
        if self.heard_at + IDLE <= now:
            self.closed = True
        if self.sent_at + KEEP_ALIVE <= now:
            self.ping_due = True
        if self.recovery.deadline() <= now:
            lost = self.recovery.detect(now)
            self.send_again(lost)
            if not lost:
                self.probe()
        self.flush()

    def probe(self):
        """Nothing says that it is lost, but what waits longest goes again."""
        self.recovery.probes += 1
        self.probes_due = 2
        self.send_again([next(iter(self.recovery.sent.values()))[2]])
        self.ping_due = True

    def send_again(self, contents):
        for content in contents:
            self.again.extend(content["stream"])
            self.max_data_due = self.max_data_due or content["maxData"]
            self.end_due = self.end_due or content["end"]

    def finish(self, timeout=5):
        """Our stream ends; settles when the node has read all of it."""
        self.end_due = True
        self.flush()
        deadline = time.monotonic() + timeout
        while not self.closed and not self.end_acked and time.monotonic() < deadline:
            self.turn(deadline)
        self.socket.close()

    def close(self):
        """Away without a word, as a device that lost its network."""
        self.socket.close()

    def move(self):
        """Another address, as when a phone changes networks."""
        self.socket.close()
        self.socket = socket.socket(self.socket.family, socket.SOCK_DGRAM)
        self.socket.connect(self.address)
        self.send_again([content for _, _, content in self.recovery.sent.values()])
        self.recovery.sent.clear()
        self.recovery.in_flight = 0
        self.recovery.restart()
        self.ping_due = True
        self.flush()

    # Packets in

    def receive_datagram(self, datagram):
        if datagram[0] == 5 and len(datagram) == 25:
            reset = decode(RESET, datagram)
            if reset["nodeId"] == self.node_id and hmac.compare_digest(reset["token"], self.reset_token):
                self.closed = True
            return
        if datagram[0] != 4 or not 48 <= len(datagram) <= DATAGRAM_BYTES or datagram[1:9] != self.device_id:
            return
        try:
            counter = decode(DATA_HEADER, datagram[:HEADER_BYTES])["counter"]
            if not self.received.is_new(counter):
                return
            counter, plaintext = open_packet(self.receiver, datagram)
        except Refused:
            return
        now = time.monotonic()
        self.heard_at = now
        # Authentic, so a refusal from here on is a finding: let it be seen.
        frames = decode_udp_frames(plaintext)
        in_order = counter == self.received.largest + 1
        if counter > self.received.largest:
            self.received_at = now
        self.received.add(counter)
        for frame in frames:
            self.apply(frame, now)
        kinds = {frame["type"] for frame in frames}
        if kinds & ASK_FOR_ACK:
            self.asking += 1
            at_once = not in_order or kinds & {"end", "ackNow"} or self.asking >= ACK_PACKETS
            self.ack_due = now if at_once else min(self.ack_due, now + ACK_DELAY)
        if self.read == self.peer_end:
            self.packet(self.owed_ack(now) + UDP_FRAMES.encode("close", reason=0))
            self.closed = True

    def apply(self, frame, now):
        kind = frame["type"]
        if kind == "ack":
            arrived, lost = self.recovery.acknowledged(frame, now)
            self.send_again(lost)
            self.end_acked = self.end_acked or any(content["end"] for content in arrived)
        elif kind == "stream":
            self.take_piece(frame["offset"], frame["data"])
        elif kind == "end":
            self.peer_end = frame["offset"]
        elif kind == "maxData":
            self.peer_allows = max(self.peer_allows, frame["offset"])
        elif kind == "challenge":
            self.packet(UDP_FRAMES.encode("answer", data=frame["data"]))
        elif kind == "close":
            self.closed = True

    def take_piece(self, offset, data):
        if offset + len(data) > self.allowed:
            raise Refused("more than the window")
        if offset + len(data) > self.read:
            known = self.pieces.get(offset, b"")
            self.pieces[offset] = max(known, data, key=len)
        while True:
            start = next((at for at in self.pieces if at <= self.read), None)
            if start is None:
                break
            piece = self.pieces.pop(start)[self.read - start:]
            self.read += len(piece)
            self.messages.extend(self.splitter.push(piece))
        if self.allowed - self.read <= WINDOW_INITIAL_BYTES // 2:
            self.allowed = self.read + WINDOW_INITIAL_BYTES
            self.max_data_due = True

    # Packets out

    def owed_ack(self, now):
        if self.asking == 0:
            return b""
        self.asking, self.ack_due = 0, float("inf")
        return self.received.ack(now - self.received_at)

    def wants(self):
        """Whether something waits that asks for an acknowledgement."""
        return (self.again or self.ping_due or self.max_data_due or (self.end_due and not self.unsent)
                or (self.unsent and self.offset < self.peer_allows))

    def flush(self):
        while not self.closed:
            now = time.monotonic()
            may = self.wants() and (self.probes_due > 0 or self.recovery.may_send())
            if not may and self.ack_due > now:
                return
            frames = self.owed_ack(now)
            if not may:
                self.packet(frames)
                continue
            content = self.next_content(PLAINTEXT_BYTES_MAX - len(frames) - STREAM_OVERHEAD - SMALL_FRAMES)
            self.probes_due = max(0, self.probes_due - 1)
            for start, data in content["stream"]:
                frames += UDP_FRAMES.encode("stream", offset=start, data=data)
            if content["maxData"]:
                frames += UDP_FRAMES.encode("maxData", offset=self.allowed)
            if content["end"]:
                frames += UDP_FRAMES.encode("end", offset=self.offset)
            if not content["stream"] and not content["maxData"] and not content["end"]:
                frames += UDP_FRAMES.encode("ping")
            is_held = self.wants() and not self.recovery.may_send()
            if is_held or (self.unsent and self.offset >= self.peer_allows):
                frames += UDP_FRAMES.encode("ackNow")
            number, size = self.packet(frames)
            self.recovery.record(number, now, size, content)

    def next_content(self, room):
        """What goes into the next packet: a lost piece before a new one."""
        if self.again:
            start, data = self.again.popleft()
            # The packet that was lost may have had more room.
            if len(data) > room:
                self.again.appendleft((start + room, data[room:]))
            stream = [(start, data[:room])]
        else:
            length = max(0, min(room, len(self.unsent), self.peer_allows - self.offset))
            stream = [(self.offset, bytes(self.unsent[:length]))] if length > 0 else []
            del self.unsent[:length]
            self.offset += length
        content = {"stream": stream, "maxData": self.max_data_due, "end": self.end_due and not self.unsent}
        self.ping_due = self.max_data_due = False
        self.end_due = self.end_due and not content["end"]
        return content

    def packet(self, frames):
        number = self.recovery.next_number
        self.recovery.next_number += 1
        datagram = seal_packet(self.sender, self.node_id, number, frames)
        self.sent_at = time.monotonic()
        self.write(datagram)
        return number, len(datagram)
