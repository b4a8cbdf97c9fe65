"""The numbered, resumable session and a device on it (docs/protocol.md §14)."""
import time
from collections import deque

from codec import CONTROL, FRAMES, LinkLost, Refused, SessionOver

PAYLOAD_BYTES_MAX = 262_135
WINDOW_BYTES = 1_048_576
WINDOW_BYTES_MIN = 262_199
FRAME_OVERHEAD_BYTES = 64
RESEND_FRAMES_MAX = 4_096


class Session:
    """The device's end, without sockets: messages in, messages out."""

    def __init__(self):
        self.forget()

    def forget(self):
        self.id = None
        self.received = 0
        self.consumed = 0
        self.acknowledged = 0
        self.unconsumed = deque()   # payloads from `acknowledged + 1` on
        self.peer_window = 0

    def hello(self):
        return CONTROL.encode("hello", version=1, session=self.id, received=self.received,
                              windowBytes=WINDOW_BYTES)

    def welcome(self, message):
        """Whether the session goes on, and what has to be sent again."""
        frame = CONTROL.decode(message)
        if frame["type"] == "error":
            raise SessionOver(frame["code"])
        if frame["type"] != "welcome" or frame["windowBytes"] < WINDOW_BYTES_MIN:
            raise Refused("expected a welcome")
        last = self.acknowledged + len(self.unconsumed)
        if frame["resumed"]:
            if frame["session"] != self.id or not self.acknowledged <= frame["received"] <= last:
                raise Refused("a welcome that does not fit")
            again = list(self.unconsumed)[frame["received"] - self.acknowledged:]
            first = frame["received"] + 1
        else:
            if frame["received"] != 0:
                raise Refused("a new session that is not")
            self.forget()
            self.id, again, first = frame["session"], [], 1
        self.peer_window = frame["windowBytes"]
        return frame["resumed"], [CONTROL.encode("data", number=first + i, payload=payload)
                                  for i, payload in enumerate(again)]

    def has_room(self, payload):
        used = sum(len(one) + FRAME_OVERHEAD_BYTES for one in self.unconsumed)
        return (used + len(payload) + FRAME_OVERHEAD_BYTES <= self.peer_window
                and len(self.unconsumed) < RESEND_FRAMES_MAX)

    def data(self, payload):
        assert len(payload) <= PAYLOAD_BYTES_MAX and self.has_room(payload)
        self.unconsumed.append(payload)
        return CONTROL.encode("data", number=self.acknowledged + len(self.unconsumed), payload=payload)

    def ack(self):
        return CONTROL.encode("ack", number=self.consumed)

    def receive(self, message):
        """A payload that is new and what to answer at once; either may be None."""
        frame = CONTROL.decode(message)
        kind = frame["type"]
        if kind == "data":
            if frame["number"] > self.received + 1:
                raise Refused("a gap in the numbers")
            if frame["number"] <= self.received:
                return None, None
            self.received += 1
            return frame["payload"], None
        if kind == "ack":
            if not self.acknowledged <= frame["number"] <= self.acknowledged + len(self.unconsumed):
                raise Refused("an acknowledgement of what was not sent")
            while self.acknowledged < frame["number"]:
                self.unconsumed.popleft()
                self.acknowledged += 1
        elif kind == "ping":
            return None, CONTROL.encode("pong")
        elif kind in ("error", "bye"):
            raise SessionOver(frame["code"])
        elif kind in ("hello", "welcome"):
            raise Refused("a second greeting")
        return None, None


class Device:
    """A device at its node: frames in, frames out, over one link at a time."""

    def __init__(self):
        self.session = Session()
        self.link = None
        self.request = 0
        self.frames = deque()

    def connect(self, link, timeout=10):
        """Greets over a fresh link; true: the session goes on."""
        link.send(self.session.hello())
        message = link.receive(timeout)
        if message is None:
            raise LinkLost("no welcome")
        resumed, again = self.session.welcome(message)
        self.link = link
        if self.session.consumed > 0:
            link.send(self.session.ack())
        if again:
            link.send(*again)
        return resumed

    def send(self, name, **fields):
        payload = FRAMES.encode(name, **fields)
        while not self.session.has_room(payload):
            frame = self.pull(time.monotonic() + 10)
            if frame is not None:
                self.frames.append(frame)
        self.link.send(self.session.data(payload))

    def receive(self, timeout):
        """The next frame, or None."""
        return self.frames.popleft() if self.frames else self.pull(time.monotonic() + timeout)

    def pull(self, deadline):
        """What comes next, consumed and acknowledged at once. None: it was no frame, or nothing came."""
        message = self.link.receive(max(0, deadline - time.monotonic()))
        if message is None:
            return None
        payload, answer = self.session.receive(message)
        if answer is not None:
            self.link.send(answer)
        if payload is None:
            return None
        self.session.consumed += 1
        self.link.send(self.session.ack())
        return FRAMES.decode(payload)

    def next_request(self):
        self.request += 1
        return self.request

    def bye(self):
        self.link.send(CONTROL.encode("bye", code="SESSION_BYE"))
