"""A device talks with its node and, through it, with somebody who sends every envelope's content back.

    TCP, cut in the middle ─► the same session over UDP, with loss and a change of address, ended in
    good order ─► the same session over TCP ─► bye ─► a new session
"""
import os
import time

from channel import (
    ENVELOPE, STORE_RECEIPT, TOMBSTONE, TcpLink, box_id, envelope_id, make_envelope, open_signed,
    signing_public,
)
from session import Device
from udp import UdpLink

RECEIPT_ACCEPTED, RECEIPT_STORED, RECEIPT_ACKNOWLEDGED = 0, 1, 2
PATIENCE = 30


class Talk:
    def __init__(self, settings):
        unhex = bytes.fromhex
        self.place = settings["host"]
        self.ports = settings["tcpPort"], settings["udpPort"]
        self.keys = {"deviceSecret": unhex(settings["deviceSecret"]), "doorKey": unhex(settings["doorKey"])}
        self.node_key = unhex(settings["nodeKey"])
        self.write_seed, self.read_seed = unhex(settings["writeSeed"]), unhex(settings["readSeed"])
        self.read_key = signing_public(self.read_seed)
        self.box = box_id(signing_public(self.write_seed), self.read_key)
        self.peer = unhex(settings["peerWriteSeed"]), unhex(settings["peerReadKey"])
        self.loss, self.seed = settings["loss"], settings["seed"]
        self.device = Device()
        self.waiting = set()    # contents that we wait to see again
        self.delivered = set()  # envelope ids
        self.receipts = {}      # by envelope id: states
        self.told = {"echoed": 0, "receiptsProven": 0, "resumed": []}

    def tcp(self):
        return TcpLink(self.place, self.ports[0], self.keys)

    def udp(self):
        return UdpLink(self.place, self.ports[1], self.keys, self.loss, self.seed)

    def connect(self, link):
        resumed = self.device.connect(link)
        self.told["resumed"].append([link.transport, resumed])
        return link

    # Requests

    def open_inbox(self):
        request = self.device.next_request()
        self.device.send("inbox", request=request, action=1, writeKey=signing_public(self.write_seed),
                         readSeed=self.read_seed, placement=bytes(32), itemsMax=1_000, bytesMax=8_000_000,
                         expiryHour=0)
        frame = self.until(lambda frame: frame["type"] == "inboxState" and frame["request"] == request)
        assert frame["boxId"] == self.box and frame["homes"] == [self.node_key], frame

    def refused(self):
        """Fetching with a proof that is none."""
        request = self.device.next_request()
        self.device.send("fileFetch", request=request, holder=self.node_key, proof=b"?", after=0, itemsMax=1)
        frame = self.until(lambda frame: frame.get("request") == request)
        assert frame["type"] == "refusal", frame
        return frame["code"]

    def envelope(self, write_seed, read_key, ciphertext):
        return make_envelope(write_seed, read_key, int(time.time() / 3_600) + 24, ciphertext)

    def submit(self, envelope):
        self.device.send("submit", envelope=envelope, homes=[self.node_key], replicas=[], purpose=1, level=0)

    def say(self, count, size=512):
        """Submits envelopes to somebody who sends their contents back."""
        for _ in range(count):
            ciphertext = os.urandom(size)
            self.waiting.add(ciphertext)
            self.submit(self.envelope(*self.peer, ciphertext))

    # What comes

    def until(self, is_it):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            frame = self.device.receive(1)
            if frame is not None:
                self.take(frame)
                if is_it(frame):
                    return frame
        raise AssertionError(f"nothing came: {len(self.waiting)} contents missing")

    def take(self, frame):
        if frame["type"] == "deliver":
            ids = [self.take_envelope(envelope) for envelope in frame["envelopes"]]
            self.device.send("acknowledge", boxId=self.box, envelopeIds=ids)
        elif frame["type"] == "receipt":
            self.take_receipt(frame)

    def take_envelope(self, envelope):
        one = open_signed(ENVELOPE, "openim envelope v1", "writeKey", envelope)
        assert (one["writeKey"], one["readKey"]) == (signing_public(self.write_seed), self.read_key)
        number = envelope_id(envelope)
        assert number not in self.delivered, "an envelope came twice in one session"
        self.delivered.add(number)
        if one["ciphertext"] in self.waiting:
            self.waiting.remove(one["ciphertext"])
            self.told["echoed"] += 1
        return number

    def take_receipt(self, frame):
        number, state = frame["envelopeId"], frame["state"]
        self.receipts.setdefault(number, set()).add(state)
        for proof in frame["proofs"]:
            if state == RECEIPT_STORED:
                value = open_signed(STORE_RECEIPT, "openim store receipt v1", "nodeKey", proof)
                assert value["nodeKey"] == self.node_key
            elif state == RECEIPT_ACKNOWLEDGED:
                value = open_signed(TOMBSTONE, "openim tombstone v1", "readKey", proof)
            assert number in value["envelopeIds"]
            self.told["receiptsProven"] += 1

    def own_mail(self):
        """An envelope to ourselves: stored, delivered, acknowledged; then it is known to be gone."""
        envelope = self.envelope(self.write_seed, self.read_key, os.urandom(2_048))
        own = envelope_id(envelope)
        self.submit(envelope)
        self.until(lambda _: own in self.delivered and RECEIPT_STORED in self.receipts.get(own, ()))
        assert RECEIPT_ACCEPTED in self.receipts[own], self.receipts[own]
        self.device.send("withdraw", envelopeIds=[own])
        self.submit(envelope)
        self.until(lambda _: RECEIPT_ACKNOWLEDGED in self.receipts[own])

    def all_back(self):
        while self.waiting:
            self.until(lambda frame: frame["type"] == "deliver")

    # The whole

    def run(self):
        link = self.connect(self.tcp())
        self.open_inbox()
        self.told["refusal"] = self.refused()
        self.own_mail()
        self.say(20)
        self.all_back()

        # Cut while envelopes and their answers are on the way.
        self.say(30)
        self.until(lambda frame: frame["type"] == "deliver")
        link.close()
        link = self.connect(self.udp())
        self.all_back()

        began = time.monotonic()
        self.say(60)
        self.say(4, 65_536)
        link.move()
        self.all_back()
        self.told["udp"] = {
            "seconds": round(time.monotonic() - began, 2), "packets": link.recovery.next_number,
            "lost": link.recovery.lost_packets, "dropped": link.dropped,
        }
        # Where the acknowledgement is lost, a reset tells that the node has let go.
        link.finish()
        assert link.end_acked or link.closed, "nobody says that the stream has ended"

        link = self.connect(self.tcp())
        self.say(10)
        self.all_back()
        self.device.bye()
        link.close()
        self.connect(self.tcp()).close()
        self.told["delivered"] = len(self.delivered)
        return self.told


def talk(settings):
    return Talk(settings).run()
