"""Compares this client with the frozen vectors: every byte both ways, as far as a device goes."""
import json
from collections import deque

from channel import (
    ENVELOPE, STORE_RECEIPT, TOMBSTONE, IkInitiator, Splitter, box_id, dh_public, envelope_id, framed,
    is_signed, make_envelope, open_signed, prologue, seal_stream, sha256, signing_public,
)
from codec import CONTROL, FRAMES, U16, Refused, decode
from session import Session
from udp_packets import (
    COOKIE_REPLY, RESET, RESPONSE, RESPONSE_PAYLOAD, UDP_FRAMES, PacketKeys, decode_udp_frames, initiation,
    open_packet, seal_packet, udp_prologue,
)

unhex = bytes.fromhex


def same(got, expected, what):
    if got != expected:
        raise AssertionError(f"{what}: got {got!r}, expected {expected!r}")


def plain(value):
    """As the vectors write it."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def check_vectors(files):
    counts = {}
    for file in files:
        with open(file, encoding="utf8") as text:
            vectors = json.load(text)
        checks = WIRE if "dialogue" in vectors else OBJECTS
        for part, check in checks.items():
            counts[part] = counts.get(part, 0) + check(vectors[part])
    return {"checked": counts}


def check_union(union):
    def check(examples):
        for example in examples:
            data, what = unhex(example["bytes"]), example["type"]
            decoded = union.decode(data) if union is not UDP_FRAMES else decode_udp_frames(data)[0]
            raw = {name: field for name, field in decoded.items() if name != "type"}
            same(decoded["type"], example["type"], what)
            same(plain(raw), example["fields"], what)
            same(union.encode(decoded["type"], **raw), data, what)
            for cut in range(len(data)):
                # `data` ends where its message does, and padding where its packet does.
                if what not in ("data", "padding") or cut == 0:
                    must_refuse(union, data[:cut], f"{what} cut at {cut}")
            if what not in ("data", "padding"):
                must_refuse(union, data + b"\0", f"{what} and a byte")
        missing = set(union.codes) - {example["type"] for example in examples}
        same(missing, set(), "types without an example")
        return len(examples)
    return check


def must_refuse(union, data, what):
    try:
        union.decode(data)
    except Refused:
        return
    raise AssertionError(f"takes {what}: {data.hex()}")


def check_refused(lists):
    unions = {"control": CONTROL, "frames": FRAMES, "udpFrames": UDP_FRAMES}
    for name, examples in lists.items():
        for example in examples:
            must_refuse(unions[name], unhex(example["bytes"]), example["what"])
    return sum(map(len, lists.values()))


def check_objects(one):
    write_seed, read_key = unhex(one["writeSeed"]), signing_public(unhex(one["readSeed"]))
    same(box_id(signing_public(write_seed), read_key).hex(), one["boxId"], "box id")
    made = make_envelope(write_seed, read_key, one["expiryHour"], unhex(one["ciphertext"]))
    same(made.hex(), one["envelope"], "envelope")
    same(envelope_id(made).hex(), one["envelopeId"], "envelope id")
    open_signed(ENVELOPE, "openim envelope v1", "writeKey", made)
    receipt = open_signed(STORE_RECEIPT, "openim store receipt v1", "nodeKey", unhex(one["storeReceipt"]))
    same(receipt["nodeKey"], signing_public(unhex(one["nodeSeed"])), "node key")
    tombstone = open_signed(TOMBSTONE, "openim tombstone v1", "readKey", unhex(one["tombstone"]))
    same(tombstone["envelopeIds"], receipt["envelopeIds"], "envelope ids")
    return 4


def frozen_handshake(vector, prologue_):
    """Up to the first message; `second` is the other side's."""
    secret, door_key = unhex(vector["deviceSecret"]), unhex(vector["doorKey"])
    same(dh_public(secret).hex(), vector["deviceKey"], "device key")
    same(prologue_.hex(), vector["prologue"], "prologue")
    return IkInitiator(secret, door_key, prologue_, unhex(vector["deviceEphemeralSecret"]))


def check_handshakes(vectors):
    for vector in vectors:
        transport = vector["transport"]
        is_stream = transport != "ws"
        noise = frozen_handshake(vector, prologue(transport))
        first, second = noise.first(), unhex(vector["second"])
        length = U16.write(len(first)) if is_stream else b""
        same(length + first, unhex(vector["first"]), f"{transport}: first")
        if is_stream:
            same(second[:2], U16.write(48), f"{transport}: length")
        same(noise.second(second[2:] if is_stream else second), b"", f"{transport}: second")
        sender, receiver = noise.split()
        splitter = Splitter()
        for step in vector["exchange"]:
            messages = [unhex(one) for one in step["messages"]]
            written = [unhex(one) for one in step["written"]]
            if step["from"] == "device":
                stream = b"".join(map(framed, messages))
                made = [seal_stream(sender, stream)] if is_stream else [sender.seal(stream)]
                same(made, written, f"{transport}: from the device")
            else:
                read = read_all(written, receiver, splitter, is_stream)
                same(read, messages, f"{transport}: from the node")
        check_long(vector["long"], receiver, is_stream)
    return len(vectors)


def read_all(written, receiver, splitter, is_stream):
    messages = []
    for data in written:
        while data:
            length = int.from_bytes(data[:2], "big") if is_stream else len(data)
            start = 2 if is_stream else 0
            messages += splitter.push(receiver.open(data[start:start + length]))
            data = data[start + length:]
    return messages


def check_long(long, receiver, is_stream):
    """Only hashes are frozen, so it is sealed again with the node's key, which a device has, too."""
    stream = framed(bytes(i % 251 for i in range(long["length"])))
    if is_stream:
        made = [seal_stream(receiver, stream)]
    else:
        made = [receiver.seal(stream[at:at + 65_519]) for at in range(0, len(stream), 65_519)]
    same([sha256(one).hex() for one in made], long["written"], "a long message")


def check_udp(vector):
    device_id, node_id = unhex(vector["deviceId"]), unhex(vector["nodeId"])
    noise = frozen_handshake(vector, udp_prologue(device_id))
    first = noise.first()
    same(initiation(device_id, first).hex(), vector["initiation"], "initiation")
    cookie = decode(COOKIE_REPLY, unhex(vector["cookieReply"]))
    same(cookie["deviceId"], device_id, "cookie reply")
    said_again = initiation(device_id, first, cookie["cookie"])
    same(said_again.hex(), vector["initiationWithCookie"], "initiation with a cookie")
    response = decode(RESPONSE, unhex(vector["response"]))
    payload = decode(RESPONSE_PAYLOAD, noise.second(response["noise"]))
    same(plain(payload), {"nodeId": vector["nodeId"], "resetToken": vector["resetToken"]}, "response")
    reset = decode(RESET, unhex(vector["reset"]))
    same((reset["nodeId"], reset["token"]), (node_id, payload["resetToken"]), "reset")
    ends = {end: (PacketKeys(cipher), peer) for end, cipher, peer
            in zip(("device", "node"), noise.split(), (node_id, device_id))}
    opened = {end: PacketKeys(cipher) for end, cipher in zip(("device", "node"), noise.split())}
    for packet in vector["packets"]:
        sender, counter, plaintext = packet["from"], packet["counter"], unhex(packet["plaintext"])
        keys, peer = ends[sender]
        same(seal_packet(keys, peer, counter, plaintext).hex(), packet["datagram"], f"packet {counter}")
        decode_udp_frames(plaintext)
        read = open_packet(opened[sender], unhex(packet["datagram"]))
        same(read, (counter, plaintext), f"packet {counter}, opened")
    return check_union(UDP_FRAMES)(vector["frames"]) + len(vector["packets"])


def check_dialogue(steps):
    """The device's part is said by our own session: byte for byte the same."""
    session, again = Session(), deque()
    for number, step in enumerate(steps):
        message, what = unhex(step["message"]), f"step {number}"
        frame = CONTROL.decode(message)
        kind = frame["type"]
        if step["from"] == "device":
            if kind == "hello":
                made = session.hello()
            elif kind == "ack":
                session.consumed = session.received
                made = session.ack()
            elif kind == "data":
                made = again.popleft() if again else session.data(frame["payload"])
            else:
                made = CONTROL.encode(kind, code=frame["code"])
            same(made.hex(), step["message"], what)
        elif not step["lost"]:
            if kind == "welcome":
                _, resend = session.welcome(message)
                again = deque(resend)
            else:
                session.receive(message)
    return len(steps)


def check_object_file(one):
    envelope = unhex(one["envelope"])
    same(envelope_id(envelope).hex(), one["envelopeId"], "envelope id")
    value = decode(ENVELOPE, envelope)
    same(box_id(value["writeKey"], value["readKey"]).hex(), one["boxId"], "box id")
    assert is_signed(value["writeKey"], "openim envelope v1", envelope[:-64], envelope[-64:])
    return 1


WIRE = {
    "control": check_union(CONTROL),
    "frames": check_union(FRAMES),
    "refused": check_refused,
    "objects": check_objects,
    "handshakes": check_handshakes,
    "udp": check_udp,
    "dialogue": check_dialogue,
}
OBJECTS = {"envelope": check_object_file}
