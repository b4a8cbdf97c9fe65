"""Encoding (docs/protocol.md §1) and all frames of a session (§14): structs as lists of named fields."""

FRAME_BYTES_MAX = 262_144
SAFE_INTEGER_MAX = 2 ** 53 - 1


class Refused(Exception):
    """What came does not fit the specification."""


class LinkLost(Exception):
    """The link is gone; the session may go on over another."""


class SessionOver(Exception):
    """The node ended the session; the message is its code."""


# ── §1 Encoding ──────────────────────────────────────────────────────────────────────────────


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, length):
        if self.at + length > len(self.data):
            raise Refused("cut short")
        self.at += length
        return self.data[self.at - length:self.at]

    def left(self):
        return len(self.data) - self.at

    def end(self):
        if self.left() != 0:
            raise Refused("bytes left over")


class Number:
    def __init__(self, size):
        self.size = size

    def write(self, value):
        return value.to_bytes(self.size, "big")

    def read(self, reader):
        value = int.from_bytes(reader.take(self.size), "big")
        if value > SAFE_INTEGER_MAX:
            raise Refused("a number above 2^53 - 1")
        return value


class Varint:
    def write(self, value):
        for prefix, bits in enumerate((6, 14, 30, 62)):
            if value < 2 ** bits:
                return (value | prefix << bits).to_bytes(1 << prefix, "big")
        raise ValueError(value)

    def read(self, reader):
        first = reader.take(1)[0]
        prefix = first >> 6
        value = int.from_bytes(bytes([first & 0x3F]) + reader.take((1 << prefix) - 1), "big")
        if prefix > 0 and value < 2 ** (6, 14, 30)[prefix - 1]:
            raise Refused("a varint that is not in its shortest form")
        if value > SAFE_INTEGER_MAX:
            raise Refused("a number above 2^53 - 1")
        return value


class OneOf(Number):
    def __init__(self, *values):
        super().__init__(1)
        self.values = values

    def read(self, reader):
        value = super().read(reader)
        if value not in self.values:
            raise Refused("a value that is not known")
        return value


class Bool(OneOf):
    def __init__(self):
        super().__init__(0, 1)

    def read(self, reader):
        return super().read(reader) == 1


class Fixed:
    def __init__(self, size):
        self.size = size

    def write(self, value):
        assert len(value) == self.size
        return value

    def read(self, reader):
        return reader.take(self.size)


class Opaque:
    def __init__(self, size_max):
        self.size_max = size_max

    def write(self, value):
        assert len(value) <= self.size_max
        return VARINT.write(len(value)) + value

    def read(self, reader):
        size = VARINT.read(reader)
        if size > self.size_max:
            raise Refused("a field above its limit")
        return reader.take(size)


class Text(Opaque):
    def write(self, value):
        return super().write(value.encode())

    def read(self, reader):
        try:
            return super().read(reader).decode()
        except UnicodeDecodeError:
            raise Refused("text that is not UTF-8") from None


class Code(Text):
    def __init__(self):
        super().__init__(64)

    def read(self, reader):
        code = super().read(reader)
        allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
        if code == "" or not "A" <= code[0] <= "Z" or any(letter not in allowed for letter in code):
            raise Refused("a code in other letters")
        return code


class Rest:
    def write(self, value):
        return value

    def read(self, reader):
        return reader.take(reader.left())


class Zeros(Rest):
    def write(self, length):
        return bytes(length)

    def read(self, reader):
        rest = super().read(reader)
        if any(rest):
            raise Refused("padding that is not zero")
        return len(rest)


class Items:
    def __init__(self, item, count_max):
        self.item = item
        self.count_max = count_max

    def write(self, values):
        assert len(values) <= self.count_max
        return VARINT.write(len(values)) + b"".join(self.item.write(value) for value in values)

    def read(self, reader):
        count = VARINT.read(reader)
        if count > self.count_max or count > reader.left():
            raise Refused("too many items")
        return [self.item.read(reader) for _ in range(count)]


class Maybe:
    def __init__(self, item):
        self.item = item

    def write(self, value):
        return b"\0" if value is None else b"\1" + self.item.write(value)

    def read(self, reader):
        return self.item.read(reader) if BOOL.read(reader) else None


class Struct:
    def __init__(self, **fields):
        self.fields = fields

    def write(self, value):
        return b"".join(codec.write(value[name]) for name, codec in self.fields.items())

    def read(self, reader):
        return {name: codec.read(reader) for name, codec in self.fields.items()}


def encode(codec, value):
    return codec.write(value)


def decode(codec, data):
    reader = Reader(data)
    value = codec.read(reader)
    reader.end()
    return value


U8, U16, U32, U64 = Number(1), Number(2), Number(4), Number(8)
VARINT, BOOL = Varint(), Bool()
KEY, ID = Fixed(32), Fixed(32)
HOMES, REPLICAS = Items(KEY, 4), Items(KEY, 8)


class Union:
    """A type byte, then the fields."""

    def __init__(self, **types):
        self.codes = {name: code for name, (code, _) in types.items()}
        self.structs = {name: struct_ for name, (_, struct_) in types.items()}
        self.names = {code: name for name, code in self.codes.items()}

    def encode(self, name, **fields):
        return bytes([self.codes[name]]) + self.structs[name].write(fields)

    def read(self, reader):
        name = self.names.get(reader.take(1)[0])
        if name is None:
            raise Refused("a type that is not known")
        return {"type": name, **self.structs[name].read(reader)}

    def decode(self, data):
        return decode(self, data)


# ── §14 Session, Frames ──────────────────────────────────────────────────────────────────────

CONTROL = Union(
    hello=(1, Struct(version=OneOf(1), session=Maybe(Fixed(16)), received=VARINT, windowBytes=VARINT)),
    welcome=(2, Struct(session=Fixed(16), resumed=BOOL, received=VARINT, windowBytes=VARINT)),
    data=(3, Struct(number=VARINT, payload=Rest())),
    ack=(4, Struct(number=VARINT)),
    ping=(5, Struct()),
    pong=(6, Struct()),
    error=(7, Struct(code=Code(), detail=Text(256))),
    bye=(8, Struct(code=Code())),
)

MAIL_BYTES_MAX = 65_792
ENVELOPE_BYTES_MAX = 250_112
REQUEST = {"request": VARINT}
RECORDS = Items(Opaque(1_941), 3)

FRAMES = Union(
    submit=(16, Struct(envelope=Opaque(MAIL_BYTES_MAX), homes=HOMES, replicas=REPLICAS,
                       purpose=OneOf(1, 2), level=OneOf(0, 1, 2, 3))),
    receipt=(17, Struct(envelopeId=ID, state=OneOf(0, 1, 2, 3), have=U8, want=U8, route=OneOf(0, 1, 2, 3, 4),
                        level=OneOf(0, 1, 2, 3), proofs=Items(Opaque(16_384), 8), code=Text(64))),
    withdraw=(18, Struct(envelopeIds=Items(ID, 1_024))),
    deliver=(19, Struct(envelopes=Items(Opaque(MAIL_BYTES_MAX), 64))),
    acknowledge=(20, Struct(boxId=ID, envelopeIds=Items(ID, 1_024))),
    inbox=(21, Struct(**REQUEST, action=OneOf(1, 2), writeKey=KEY, readSeed=KEY, placement=KEY,
                      itemsMax=U32, bytesMax=U32, expiryHour=U32)),
    inboxState=(22, Struct(**REQUEST, boxId=ID, homes=HOMES, replicas=REPLICAS)),
    shelfHolders=(23, Struct(**REQUEST, shelfKey=KEY, placement=KEY)),
    shelfHeld=(24, Struct(**REQUEST, shelfKey=KEY, holders=Items(Struct(nodeKey=KEY, left=U32), 8))),
    shelfPut=(25, Struct(**REQUEST, puts=Items(Opaque(FRAME_BYTES_MAX), 8))),
    shelfTake=(26, Struct(**REQUEST, shelfKey=KEY, holders=Items(KEY, 12))),
    shelfTaken=(27, Struct(**REQUEST, taken=Maybe(Struct(
        static=Opaque(16_384), oneTime=Maybe(Opaque(4_096)), left=U32)))),
    publish=(28, Struct(**REQUEST, records=RECORDS)),
    published=(29, Struct(**REQUEST, holders=U8)),
    locate=(30, Struct(**REQUEST, hint=Text(128), blindedKeys=Items(KEY, 3))),
    located=(31, Struct(**REQUEST, records=RECORDS)),
    refusal=(32, Struct(**REQUEST, code=Text(64), detail=Text(512))),
    devices=(33, Struct(**REQUEST, linkKeys=Items(KEY, 15))),
    devicesSet=(34, Struct(**REQUEST)),
    linkOpen=(35, Struct(**REQUEST, guestKey=KEY)),
    linkOpened=(36, Struct(**REQUEST, expiresAtMs=U64)),
    linkMessage=(37, Struct(bytes=Opaque(40_960))),
    linkClosed=(38, Struct(code=Text(64))),
    doors=(39, Struct(addresses=Items(Text(128), 8))),
    fileBox=(40, Struct(**REQUEST, action=OneOf(1, 2, 3), writeKey=KEY, readSeed=KEY,
                        itemsMax=U32, bytesMax=U32, expiryHour=U32)),
    filePut=(41, Struct(**REQUEST, envelope=Opaque(ENVELOPE_BYTES_MAX))),
    fileHeld=(42, Struct(**REQUEST, boxId=ID, homes=HOMES, replicas=REPLICAS, pieces=U32,
                         proofs=Items(Opaque(16_384), 64))),
    fileFetch=(43, Struct(**REQUEST, holder=KEY, proof=Opaque(512), after=U64, itemsMax=U32)),
    fileFetched=(44, Struct(**REQUEST, entries=Items(
        Struct(position=U64, envelope=Opaque(ENVELOPE_BYTES_MAX)), 256), more=BOOL)),
)
