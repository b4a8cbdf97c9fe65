"""Primitives, envelopes, signed structs, the Noise channel over TCP (docs/protocol.md §2, §7, §12, §14)."""
import hashlib
import hmac
import os
import select
import socket
import struct
import time
from collections import deque

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from codec import (
    FRAME_BYTES_MAX, ID, KEY, U8, U16, U32, VARINT, Fixed, Items, LinkLost, OneOf, Opaque, Reader, Refused,
    Struct, decode,
)

# ── §2 Primitives, §7 Envelopes, §12 signed structs ──────────────────────────────────────────


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hkdf(secret, salt, info, length):
    """RFC 5869."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    out, block = b"", b""
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


def dh_public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def dh(secret, public):
    """An all-zero result is refused by the library."""
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))


def signing_public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed, label, content):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(label.encode() + content)


def is_signed(key, label, content, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, label.encode() + content)
        return True
    except (InvalidSignature, ValueError):
        return False


ENVELOPE = Struct(version=OneOf(1), writeKey=KEY, readKey=KEY, expiryHour=U32,
                  ciphertext=Opaque(249_856), signature=Fixed(64))
STORE_RECEIPT = Struct(nodeKey=KEY, storedHour=U32, envelopeIds=Items(ID, 64), signature=Fixed(64))
TOMBSTONE = Struct(writeKey=KEY, readKey=KEY, envelopeIds=Items(ID, 256), signature=Fixed(64))


def box_id(write_key, read_key):
    return sha256(b"openim box v1", write_key, read_key)


def envelope_id(envelope):
    return sha256(b"openim envelope id v1", envelope[:-64])


def make_envelope(write_seed, read_key, expiry_hour, ciphertext):
    fields = {"version": 1, "writeKey": signing_public(write_seed), "readKey": read_key,
              "expiryHour": expiry_hour, "ciphertext": ciphertext, "signature": bytes(64)}
    content = ENVELOPE.write(fields)[:-64]
    return content + sign(write_seed, "openim envelope v1", content)


def open_signed(codec, label, key_name, data):
    """A signed struct whose signature fits, or a refusal."""
    value = decode(codec, data)
    if not is_signed(value[key_name], label, data[:-64], data[-64:]):
        raise Refused(f"not signed: {label}")
    return value


# ── §14 Channel ──────────────────────────────────────────────────────────────────────────────


def prologue(transport):
    return b"openim channel" + U8.write(1) + Opaque(16).write(transport.encode())


def noise_nonce(counter):
    return struct.pack("<IQ", 0, counter)


class Cipher:
    """CipherState (Noise §5.1)."""

    def __init__(self, key):
        self.key = key
        self.aead = ChaCha20Poly1305(key)
        self.counter = 0

    def seal(self, plaintext, ad=b""):
        self.counter += 1
        return self.seal_at(self.counter - 1, plaintext, ad)

    def open(self, sealed, ad=b""):
        plaintext = self.open_at(self.counter, sealed, ad)
        self.counter += 1
        return plaintext

    def seal_at(self, counter, plaintext, ad):
        return self.aead.encrypt(noise_nonce(counter), plaintext, ad)

    def open_at(self, counter, sealed, ad):
        try:
            return self.aead.decrypt(noise_nonce(counter), sealed, ad)
        except InvalidTag:
            raise Refused("does not authenticate") from None

    def rekeyed(self):
        """Noise §4.2."""
        return Cipher(self.aead.encrypt(noise_nonce(2 ** 64 - 1), bytes(32), b"")[:32])


class IkInitiator:
    """Noise_IK_25519_ChaChaPoly_SHA256, the device's side."""

    NAME = b"Noise_IK_25519_ChaChaPoly_SHA256"

    def __init__(self, secret, door_key, prologue_, ephemeral=None):
        self.secret = secret
        self.ephemeral = ephemeral or os.urandom(32)
        self.door_key = door_key
        self.chaining = self.hash = self.NAME  # 32 bytes long, so taken as it is (§5.2)
        self.cipher = None
        self.mix_hash(prologue_)
        self.mix_hash(door_key)

    def mix_hash(self, data):
        self.hash = sha256(self.hash, data)

    def mix_key(self, secret):
        out = hkdf(secret, self.chaining, b"", 64)
        self.chaining, self.cipher = out[:32], Cipher(out[32:])

    def seal(self, plaintext):
        sealed = self.cipher.seal(plaintext, self.hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        plaintext = self.cipher.open(sealed, self.hash)
        self.mix_hash(sealed)
        return plaintext

    def first(self):
        key = dh_public(self.ephemeral)
        self.mix_hash(key)                              # e
        self.mix_key(dh(self.ephemeral, self.door_key))  # es
        static = self.seal(dh_public(self.secret))      # s
        self.mix_key(dh(self.secret, self.door_key))    # ss
        return key + static + self.seal(b"")

    def second(self, message):
        """The payload."""
        key = message[:32]
        self.mix_hash(key)                              # e
        self.mix_key(dh(self.ephemeral, key))           # ee
        self.mix_key(dh(self.secret, key))              # se
        return self.open(message[32:])

    def split(self):
        """For sending, for receiving."""
        out = hkdf(b"", self.chaining, b"", 64)
        return Cipher(out[:32]), Cipher(out[32:])


class Splitter:
    """varint length ‖ message, again and again."""

    def __init__(self):
        self.buffer = bytearray()

    def push(self, data):
        self.buffer += data
        messages = []
        while self.buffer:
            prefix = 1 << (self.buffer[0] >> 6)
            if len(self.buffer) < prefix:
                break
            length = VARINT.read(Reader(bytes(self.buffer[:prefix])))
            if not 0 < length <= FRAME_BYTES_MAX:
                raise Refused("a message of a length that is not allowed")
            if len(self.buffer) < prefix + length:
                break
            messages.append(bytes(self.buffer[prefix:prefix + length]))
            del self.buffer[:prefix + length]
        return messages


def framed(message):
    assert 0 < len(message) <= FRAME_BYTES_MAX
    return VARINT.write(len(message)) + message


NOISE_PLAINTEXT_MAX = 65_535 - 16


def seal_stream(cipher, plaintext):
    """Transport `tcp` and `http2`: u16 length ‖ Noise message, again and again."""
    out = b""
    for at in range(0, len(plaintext), NOISE_PLAINTEXT_MAX):
        sealed = cipher.seal(plaintext[at:at + NOISE_PLAINTEXT_MAX])
        out += U16.write(len(sealed)) + sealed
    return out


class TcpLink:
    transport = "tcp"

    def __init__(self, host, port, keys, timeout=10):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        noise = IkInitiator(keys["deviceSecret"], keys["doorKey"], prologue("tcp"))
        first = noise.first()
        self.socket.sendall(U16.write(len(first)) + first)
        self.buffer = bytearray()
        answer = self.take(time.monotonic() + timeout)
        if answer is None or len(answer) != 48 or noise.second(answer) != b"":
            raise Refused("the handshake of the node")
        self.sender, self.receiver = noise.split()
        self.splitter = Splitter()
        self.messages = deque()

    def send(self, *messages):
        self.socket.settimeout(30)
        self.socket.sendall(seal_stream(self.sender, b"".join(map(framed, messages))))

    def receive(self, timeout):
        """The next message, or None."""
        deadline = time.monotonic() + timeout
        while not self.messages:
            noise = self.take(deadline)
            if noise is None:
                return None
            if len(noise) <= 16:
                raise Refused("a Noise message without content")
            self.messages.extend(self.splitter.push(self.receiver.open(noise)))
        return self.messages.popleft()

    def take(self, deadline):
        """One Noise message."""
        while len(self.buffer) < 2 or len(self.buffer) < 2 + int.from_bytes(self.buffer[:2], "big"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            chunk = self.socket.recv(65_536)
            if not chunk:
                raise LinkLost("the node closed the connection")
            self.buffer += chunk
        end = 2 + int.from_bytes(self.buffer[:2], "big")
        message = bytes(self.buffer[2:end])
        del self.buffer[:end]
        return message

    def close(self):
        self.socket.close()
