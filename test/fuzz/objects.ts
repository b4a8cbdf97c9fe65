/**
 * Decoders that are more than a codec: signed and sealed objects, and texts that people paste.
 * Each with valid inputs and the exports it covers; objects.test.ts fuzzes them and sees to it
 * that none is forgotten.
 *
 * What is sealed is fuzzed twice: as it lies on the wire, where nearly every change breaks the
 * seal, and inside, as somebody who holds the key could write it.
 */
import { concat, hex, utf8, utf8Decode } from '../../crypto/bytes.ts'
import { decodeInitialHeader, encodeInitialHeader } from '../../crypto/handshake/initial-header.ts'
import { crypto } from '../../crypto/index.ts'
import { splitMessage } from '../../crypto/ratchet/header.ts'
import { recoveryEntropy, recoveryPhrase } from '../../crypto/recovery.ts'
import { peekInitial } from '../../crypto/secure-session.ts'
import { verifyDeviceList } from '../../protocol/account.ts'
import { formatAddress, parseAddress } from '../../protocol/address.ts'
import { decode } from '../../protocol/codec/struct.ts'
import type { Codec } from '../../protocol/codec/struct.ts'
import { createEnvelope, decodeEnvelope, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import { parseNodeId } from '../../protocol/ids.ts'
import type { EnvelopeId, MessageId } from '../../protocol/ids.ts'
import {
  fileKeys, fileShape, openPiece, pieceOverheadBytes, sealPiece,
} from '../../protocol/file-piece.ts'
import { formatInvite, parseInvite } from '../../protocol/invite.ts'
import { limits } from '../../protocol/limits.ts'
import {
  checkLocationRecord, createLocationRecord, openLocationRecord,
} from '../../protocol/location-record.ts'
import { openContent, sealContent } from '../../protocol/message/content.ts'
import { bodyCodecs, decodePayload, encodePayload } from '../../protocol/message/payload.ts'
import type { KnownBody } from '../../protocol/message/payload.ts'
import { openMessage, sealMessage } from '../../protocol/message/sealed.ts'
import { checkNodeDescriptor, signNodeDescriptor } from '../../protocol/node-descriptor.ts'
import { formatSafetyCode, parseSafetyCode } from '../../protocol/safety-code.ts'
import { signTombstone, verifyTombstone } from '../../protocol/service/acknowledge.ts'
import { signStoreReceipt, verifyStoreReceipt } from '../../protocol/service/deposit.ts'
import { signReadProof, verifyReadProof } from '../../protocol/service/fetch.ts'
import { boxKinds, signLease, verifyLease } from '../../protocol/service/lease.ts'
import { signShelf, verifyShelf } from '../../protocol/service/shelf.ts'
import {
  openShelfOneTime, openShelfStatic, sealShelfOneTime, sealShelfStatic,
} from '../../protocol/shelf-content.ts'
import { bytesOf, deviceListOf, keysOf, nodeOf, nodesOf, testHour, testNowMs } from '../helpers/actors.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import type { FuzzedDecoder } from './decoder-fuzz.ts'
import type { FuzzedObject } from './fuzzed-object.ts'
import { linkObjects, udpObjects } from './device-objects.ts'
import { invent } from './invent.ts'

const random = seededRandom('fuzzed objects')
const writeKeys = keysOf('write')
const readKeys = keysOf('read')
const box = { writeKey: writeKeys.publicKey, readKey: readKeys.publicKey }
const envelopeIds = ['one', 'two', 'three'].map((name) => hex(bytesOf(name)) as EnvelopeId)
const [holder, home] = [nodeOf('holder'), nodeOf('home')]
const rootSeed = bytesOf('alice')
const rootKey = keysOf('alice').publicKey
const seed = bytesOf('alice seed', 15)

export function fuzzedObjects(): FuzzedObject[] {
  return [
    mailObjects(), fileObjects(), nodeObjects(), messageObjects(), shelfObjects(), accountObjects(), texts(),
    linkObjects(), udpObjects(),
  ].flat()
}

function mailObjects(): FuzzedObject[] {
  const envelopes = [512, 2_048].map((length) => createEnvelope({
    writeKeys, readKey: box.readKey, expiryHour: testHour + 24, ciphertext: random.bytes(length),
  }))
  return [
    {
      name: 'envelope',
      covers: ['parseEnvelope', 'verifyEnvelope', 'decodeEnvelope'],
      valid: envelopes,
      decode(bytes) {
        const parsed = parseEnvelope(bytes)
        if (!parsed.ok) return parsed
        decodeEnvelope(bytes)
        const signed = verifyEnvelope(bytes, parsed.value.envelope)
        return signed ? parsed : { ok: false, code: 'SIGNATURE_INVALID' }
      },
    },
    {
      name: 'tombstone',
      covers: ['verifyTombstone', 'parseTombstone', 'verifyStruct', 'parseStruct'],
      valid: [signTombstone({ ...box, envelopeIds }, readKeys)],
      decode: verifyTombstone,
    },
    {
      name: 'store receipt',
      covers: ['verifyStoreReceipt'],
      valid: [signStoreReceipt({ nodeId: holder, storedHour: testHour, envelopeIds }, keysOf('holder'))],
      decode: verifyStoreReceipt,
    },
    {
      name: 'read proof',
      covers: ['verifyReadProof', 'parseReadProof'],
      valid: [signReadProof({ ...box, holder, reader: home, timeMs: testNowMs }, readKeys)],
      decode: verifyReadProof,
    },
    {
      name: 'lease',
      covers: ['verifyLease', 'parseLease'],
      valid: [signLease({
        ...box, holder, home, kind: boxKinds.mail, sequence: 7, itemsMax: 100, bytesMax: 65_536,
        expiryHour: testHour + 24,
      }, readKeys)],
      decode: verifyLease,
    },
  ]
}

function fileObjects(): FuzzedObject[] {
  const shape = fileShape({ length: 70_000, pieceBytes: 2_048 - pieceOverheadBytes })!
  const keys = fileKeys(shape, bytesOf('file'))
  const content = random.bytes(shape.pieceBytes)
  return [
    {
      name: 'piece of a file',
      covers: ['openPiece', 'pieceIndex'],
      valid: [0, 7].map((index) => sealPiece(keys, index, content).ciphertext()),
      decode: (bytes) => openPiece(keys, bytes),
    },
  ]
}

function nodeObjects(): FuzzedObject[] {
  const descriptor = signNodeDescriptor({
    nodeId: nodeOf('node'),
    doorKey: bytesOf('door'),
    onionKey: bytesOf('onion'),
    roles: ['relay', 'storage'],
    addresses: ['/ip4/192.0.2.17/tcp/41641', '/dns4/node.example.org/tcp/443/wss'],
    sequence: 9,
    sinceHour: testHour - 1_000,
    expiryHour: testHour + 6,
    storageFreeMiB: 512,
  }, keysOf('node'))
  const period = 20_000
  const content = {
    homes: nodesOf('home', 1),
    replicas: nodesOf('replica', 5),
    introReadKey: keysOf('intro').publicKey,
    shelves: [],
    deviceListNumber: 2,
  }
  const record = createLocationRecord({
    rootSeed, seed, period, sequence: 7, expiryHour: testHour + 48, content, random,
  })
  return [
    {
      name: 'node descriptor',
      covers: ['checkNodeDescriptor'],
      valid: [descriptor],
      decode: (bytes) => checkNodeDescriptor(bytes, testNowMs),
    },
    {
      name: 'location record at a holder',
      covers: ['checkLocationRecord'],
      valid: [record],
      decode: (bytes) => checkLocationRecord(bytes, testNowMs),
    },
    {
      name: 'location record at a reader',
      covers: ['openLocationRecord'],
      valid: [record],
      decode: (bytes) => openLocationRecord({ rootKey, seed, period, record: bytes }),
    },
  ]
}

function messageObjects(): FuzzedObject[] {
  const payloads = Object.entries(bodyCodecs).flatMap(([type, { codec }]) => [false, true].map((large) => {
    const bodyCodec = codec as Codec<object>
    const largest = invent(bodyCodec, random, { large })
    // Each field at its limit may be more than one message holds.
    const bytes = largest.length > limits.textBytesMax ? invent(bodyCodec, random, { large: false }) : largest
    const body = { type, ...decode(bodyCodec, bytes) } as KnownBody
    const messageId = hex(bytesOf(type, 16)) as MessageId
    return encodePayload({ messageId, sentAtMs: testNowMs, sequence: 1, body })
  }))
  const text = { type: 'text', text: 'hello, Bob' } as const
  const messageId = hex(bytesOf('message', 16)) as MessageId
  const sealed = sealContent({ messageId, sentAtMs: testNowMs, sequence: 1, body: text }, random)
  const sealKey = bytesOf('seal')
  const device = hex(bytesOf('device', 16)) as Parameters<typeof sealMessage>[0]['senderDevice']
  const entries = [{ recipientDevice: device, wrap: random.bytes(130) }]
  const message = sealMessage({
    senderDevice: device, entries, deviceList: undefined, content: sealed.content,
  }, sealKey, random)
  const envelope = { key: sealKey, ad: utf8('openim sealed v1') }
  return [
    { name: 'payload', covers: ['decodePayload'], valid: payloads, decode: decodePayload },
    {
      name: 'sealed content',
      covers: ['openContent'],
      valid: [sealed.content],
      decode: (bytes) => openContent(bytes, sealed.contentKey),
    },
    {
      name: 'sealed message',
      covers: ['openMessage'],
      valid: [message],
      decode: (bytes) => openMessage(bytes, sealKey),
    },
    // Padded: cutting zeros off the end is no damage.
    insideSeal('sealed message', message, envelope, (bytes) => openMessage(bytes, sealKey)),
  ]
}

function shelfObjects(): FuzzedObject[] {
  const shelf = { shelfKey: keysOf('shelf').publicKey, shelfSecret: bytesOf('shelf secret') }
  const kem = (id: number, oneTime: boolean) =>
    ({ id, publicKey: bytesOf('kem', 1_184), signature: bytesOf('signature', 64), oneTime })
  const fixed = sealShelfStatic({
    deviceList: deviceListOf('alice', ['laptop']).bytes,
    signedPrekey: { id: 1, publicKey: bytesOf('prekey'), signature: bytesOf('signature', 64) },
    lastResortKem: kem(2, false),
  }, shelf, random)
  const oneTime = sealShelfOneTime(
    { oneTimePrekey: { id: 3, publicKey: bytesOf('prekey') }, oneTimeKem: kem(4, true) }, shelf, random,
  )
  const content = {
    shelfKey: shelf.shelfKey,
    holder,
    home,
    sequence: 1,
    expiryHour: testHour + 24,
    static: fixed,
    oneTime: [oneTime],
  }
  const staticOf: FuzzedDecoder = (bytes) => openShelfStatic(bytes, shelf)
  const oneTimeOf: FuzzedDecoder = (bytes) => openShelfOneTime(bytes, shelf)
  const label = utf8('openim shelf blob v1')
  const seal = (kind: number): Seal =>
    ({ key: shelf.shelfSecret, ad: concat(label, new Uint8Array([kind]), shelf.shelfKey) })
  const signed = signShelf(content, keysOf('shelf'))
  return [
    { name: 'shelf', covers: ['verifyShelf', 'parseShelf'], valid: [signed], decode: verifyShelf },
    { name: 'static shelf blob', covers: ['openShelfStatic'], valid: [fixed], decode: staticOf },
    { name: 'one-time shelf blob', covers: ['openShelfOneTime'], valid: [oneTime], decode: oneTimeOf },
    insideSeal('static shelf blob', fixed, seal(1), staticOf),
    insideSeal('one-time shelf blob', oneTime, seal(2), oneTimeOf),
  ]
}

interface Seal {
  readonly key: Uint8Array
  readonly ad: Uint8Array
}

/** Nonce of 24 bytes, then the ciphertext: opened, changed inside, and sealed again. */
function insideSeal(name: string, sealed: Uint8Array, seal: Seal, decodeSealed: FuzzedDecoder): FuzzedObject {
  const { key, ad } = seal
  const nonce = sealed.subarray(0, 24)
  const plaintext = crypto.openX({ key, nonce, ciphertext: sealed.subarray(24), ad })
  if (plaintext === undefined) throw new Error(`${name} is not sealed as this test believes`)
  return {
    name: `inside the ${name}`,
    covers: ['tryDecodePadded'],
    valid: [plaintext],
    decode: (bytes) => decodeSealed(concat(nonce, crypto.sealX({ key, nonce, plaintext: bytes, ad }))),
    selfDelimiting: false,
  }
}

function accountObjects(): FuzzedObject[] {
  const first = deviceListOf('alice', ['laptop'])
  const second = deviceListOf('alice', ['laptop', 'phone'], first)
  const header = encodeInitialHeader({
    initiator: { signingKey: keysOf('bob').publicKey, dhKey: bytesOf('bob dh') },
    proof: bytesOf('proof', 64),
    baseKey: bytesOf('base'),
    prekeyIds: { signedPrekeyId: 1, kemPrekeyId: 2, kemOneTime: true, oneTimePrekeyId: 3 },
    kemCiphertext: bytesOf('kem', 1_088),
  })
  return [
    {
      name: 'device list',
      covers: ['verifyDeviceList'],
      valid: [first.bytes, second.bytes],
      decode: (bytes) => verifyDeviceList(bytes, rootKey),
    },
    {
      name: 'initial header',
      covers: ['decodeInitialHeader'],
      valid: [header],
      decode: decodeInitialHeader,
    },
    {
      name: 'ratchet message',
      covers: ['splitMessage', 'peekInitial'],
      valid: [random.bytes(400)],
      selfDelimiting: false,
      decode(bytes) {
        peekInitial(bytes)
        return splitMessage(bytes)
      },
    },
  ]
}

/** Texts as bytes; those that are not UTF-8 never reach the parsers. */
function texts(): FuzzedObject[] {
  const hint = { ipv4: [192, 0, 2, 17], port: 41_641 } as const
  const invite = { rootKey, seed, introToken: bytesOf('token', 15), expiryHour: testHour + 168 }
  const ofText = (parse: (text: string) => unknown): FuzzedDecoder => (bytes) => parse(utf8Decode(bytes))
  return [
    {
      name: 'invite',
      covers: ['parseInvite'],
      valid: [formatInvite(invite), formatInvite({ ...invite, hint })].map(utf8),
      // White space and quotes around it are forgiven.
      selfDelimiting: false,
      decode: ofText((text) => parseInvite(text, testNowMs)),
    },
    {
      name: 'address',
      covers: ['parseAddress'],
      valid: [utf8(formatAddress(rootKey))],
      selfDelimiting: false,
      decode: ofText(parseAddress),
    },
    {
      name: 'safety number',
      covers: ['parseSafetyCode'],
      valid: [
        '12345 67890 '.repeat(6), formatSafetyCode(concat(Uint8Array.of(1), bytesOf('scan', 64))),
      ].map(utf8),
      // White space and hyphens are forgiven.
      selfDelimiting: false,
      decode: ofText(parseSafetyCode),
    },
    { name: 'node id', covers: ['parseNodeId'], valid: [utf8(nodeOf('node'))], decode: ofText(parseNodeId) },
    {
      name: 'recovery phrase',
      covers: ['recoveryEntropy'],
      valid: [utf8(recoveryPhrase(bytesOf('entropy')))],
      selfDelimiting: false,
      decode: ofText(recoveryEntropy),
    },
  ]
}
