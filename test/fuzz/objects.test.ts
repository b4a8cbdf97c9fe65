/**
 * Objects of `protocol/` that frames.test.ts does not reach: texts that people paste, structs
 * behind a signature, and plaintexts behind a seal. A seal would hide the decoder behind it, so
 * mutated plaintexts are sealed anew with the right key, as a malicious contact would.
 */
import { concat, hex, utf8 } from '../../crypto/bytes.ts'
import { blindedSigner } from '../../crypto/blinding.ts'
import { crypto } from '../../crypto/index.ts'
import { formatAddress, parseAddress } from '../../protocol/address.ts'
import { deviceId, verifyDeviceList } from '../../protocol/account.ts'
import { encode, u64 } from '../../protocol/codec/struct.ts'
import { createEnvelope, parseEnvelope } from '../../protocol/envelope.ts'
import { formatInvite, parseInvite } from '../../protocol/invite.ts'
import type { MessageId } from '../../protocol/ids.ts'
import {
  checkLocationRecord, createLocationRecord, locationPeriod, openLocationRecord,
} from '../../protocol/location-record.ts'
import { openContent } from '../../protocol/message/content.ts'
import { decodePayload, encodePayload } from '../../protocol/message/payload.ts'
import type { KnownBody } from '../../protocol/message/payload.ts'
import { openMessage, sealMessage } from '../../protocol/message/sealed.ts'
import { checkNodeDescriptor, signNodeDescriptor } from '../../protocol/node-descriptor.ts'
import {
  openShelfOneTime, openShelfStatic, sealShelfOneTime, sealShelfStatic,
} from '../../protocol/shelf-content.ts'
import {
  bytesOf, cardOf, deviceListOf, keysOf, nodeOf, nodesOf, testHour, testNowMs,
} from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { fuzzDecoder } from './decoder-fuzz.ts'
import type { FuzzedDecoder } from './decoder-fuzz.ts'

const seed = 'objects 1'
/** Together with the frames (frames.test.ts) above 100,000 cases. */
const casesEach = 2_500
const nonce = new Uint8Array(24)

const test = suite('fuzz/objects', { timeoutMs: 60_000 })

function fuzz(name: string, input: {
  valid: readonly Uint8Array[]
  decode: FuzzedDecoder
  selfDelimiting?: boolean
  cases?: number
}): void {
  test(`${name}: a value or a code, whatever comes in`, () => {
    fuzzDecoder({ name, seed, cases: casesEach, ...input })
  })
}

/** One character a byte, so that mutations stay what they are. */
function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}

// ── Texts ───────────────────────────────────────────────────────────────────────────────────

const rootKey = keysOf('alice').publicKey
const rendezvousSeed = bytesOf('alice seed', 15)
const invite = {
  rootKey,
  seed: rendezvousSeed,
  introToken: bytesOf('token', 15),
  expiryHour: testHour + 168,
}

fuzz('address', {
  valid: [utf8(formatAddress(rootKey)), utf8(formatAddress(keysOf('bob').publicKey).toUpperCase())],
  decode: (bytes) => parseAddress(textOf(bytes)),
})

fuzz('invite', {
  valid: [
    utf8(formatInvite(invite)),
    utf8(formatInvite({ ...invite, hint: { ipv4: [192, 0, 2, 17], port: 41_641 } })),
  ],
  decode: (bytes) => parseInvite(textOf(bytes), testNowMs),
})

// ── Behind a signature ──────────────────────────────────────────────────────────────────────

fuzz('device list', {
  valid: [['laptop'], ['laptop', 'phone', 'tablet']].map((names) => deviceListOf('alice', names).bytes),
  decode: (bytes) => verifyDeviceList(bytes, rootKey),
})

fuzz('device list, signed by its root whatever it says', {
  valid: [deviceListOf('alice', ['laptop', 'phone']).bytes.slice(0, -64)],
  decode(bytes) {
    const signature = crypto.sign(keysOf('alice'), concat(utf8('openim device list v1'), bytes))
    return verifyDeviceList(concat(bytes, signature), rootKey)
  },
})

fuzz('node descriptor', {
  valid: [signNodeDescriptor({
    nodeId: nodeOf('node'),
    doorKey: bytesOf('door'),
    onionKey: bytesOf('onion'),
    roles: ['relay', 'storage'],
    addresses: ['/ip4/192.0.2.17/tcp/41641', '/dns4/node.example.org/tcp/443/wss'],
    sequence: 9,
    sinceHour: testHour - 1_000,
    expiryHour: testHour + 6,
    storageFreeMiB: 512,
  }, keysOf('node'))],
  decode: (bytes) => checkNodeDescriptor(bytes, testNowMs),
})

fuzz('envelope', {
  valid: [512, 2_048].map((size) => createEnvelope({
    writeKeys: keysOf('write'),
    readKey: keysOf('read').publicKey,
    expiryHour: testHour + 336,
    ciphertext: bytesOf('ciphertext', size),
  })),
  decode: parseEnvelope,
})

// ── Location records ────────────────────────────────────────────────────────────────────────

const period = locationPeriod(rootKey, testNowMs)
const record = createLocationRecord({
  rootSeed: bytesOf('alice'),
  seed: rendezvousSeed,
  period,
  sequence: 7,
  expiryHour: testHour + 48,
  content: {
    homes: nodesOf('home', 2),
    replicas: nodesOf('replica', 5),
    introReadKey: bytesOf('intro'),
    shelves: [
      { deviceId: deviceId(bytesOf('device')), shelfKey: bytesOf('shelf'), shelfSecret: bytesOf('secret') },
    ],
    deviceListNumber: 4,
  },
  random: seededRandom(1),
})
const derive = (info: string): Uint8Array => crypto.hkdf({
  secret: concat(rootKey, rendezvousSeed),
  salt: encode(u64, period),
  info: utf8(info),
  length: 32,
})

fuzz('location record at a holder', {
  valid: [record],
  decode: (bytes) => checkLocationRecord(bytes, testNowMs),
})

const headerBytes = 45
const contentKey = derive('openim location content v1')
const header = record.slice(0, headerBytes)
const signer = blindedSigner({ seed: bytesOf('alice'), factor: derive('openim location blinding v1') })
const locationContent = crypto.openX({
  key: contentKey,
  nonce: record.subarray(headerBytes, headerBytes + 24),
  ciphertext: record.subarray(headerBytes + 24, -64),
  ad: header,
})!

fuzz('location content, sealed and signed by its owner whatever it says', {
  valid: [locationContent],
  // Signing with a blinded key and blinding to check it take a millisecond each.
  cases: 300,
  decode(bytes) {
    const plaintext = padded(bytes, locationContent.length)
    const sealed = crypto.sealX({ key: contentKey, nonce, plaintext, ad: header })
    const unsigned = concat(header, nonce, sealed)
    const signature = signer.sign(concat(utf8('openim location record v1'), unsigned))
    return openLocationRecord({ rootKey, seed: rendezvousSeed, period, record: concat(unsigned, signature) })
  },
  selfDelimiting: false,
})

function padded(bytes: Uint8Array, length: number): Uint8Array {
  return concat(bytes, new Uint8Array(length)).slice(0, length)
}

// ── Shelves ─────────────────────────────────────────────────────────────────────────────────

const shelf = { shelfKey: bytesOf('shelf'), shelfSecret: bytesOf('shelf secret') }
const kem = { id: 2, publicKey: bytesOf('kem', 1_184), signature: bytesOf('kem signature', 64) }
const staticBlob = sealShelfStatic({
  deviceList: deviceListOf('alice', ['laptop']).bytes,
  signedPrekey: { id: 1, publicKey: bytesOf('prekey'), signature: bytesOf('prekey signature', 64) },
  lastResortKem: { ...kem, oneTime: false },
}, shelf, seededRandom(1))
const oneTimeBlob = sealShelfOneTime({
  oneTimePrekey: { id: 3, publicKey: bytesOf('once') },
  oneTimeKem: { ...kem, oneTime: true },
}, shelf, seededRandom(2))

const blobs = [
  { name: 'static', kind: 1, blob: staticBlob, open: openShelfStatic, selfDelimiting: false },
  { name: 'one-time', kind: 2, blob: oneTimeBlob, open: openShelfOneTime, selfDelimiting: true },
]
for (const { name, kind, blob, open, selfDelimiting } of blobs) {
  const ad = concat(utf8('openim shelf blob v1'), new Uint8Array([kind]), shelf.shelfKey)
  const key = shelf.shelfSecret
  const plaintext = crypto.openX({ key, nonce: blob.subarray(0, 24), ciphertext: blob.subarray(24), ad })!
  fuzz(`${name} shelf blob`, { valid: [blob], decode: (bytes) => open(bytes, shelf) })
  fuzz(`${name} shelf plaintext, sealed whatever it says`, {
    valid: [plaintext],
    decode: (bytes) => open(concat(nonce, crypto.sealX({ key, nonce, plaintext: bytes, ad })), shelf),
    selfDelimiting,
  })
}

// ── Messages ────────────────────────────────────────────────────────────────────────────────

const sealKey = bytesOf('seal')
const sealedMessage = sealMessage({
  senderDevice: deviceId(bytesOf('sender')),
  entries: ['laptop', 'phone'].map((name) => ({
    recipientDevice: deviceId(bytesOf(name)),
    wrap: bytesOf(`${name} wrap`, 135),
  })),
  content: bytesOf('content', 600),
}, sealKey, seededRandom(1))
const sealAd = utf8('openim sealed v1')
const sealedPlaintext = crypto.openX({
  key: sealKey, nonce: sealedMessage.subarray(0, 24), ciphertext: sealedMessage.subarray(24), ad: sealAd,
})!

fuzz('sealed message', { valid: [sealedMessage], decode: (bytes) => openMessage(bytes, sealKey) })
fuzz('sealed message plaintext, sealed whatever it says', {
  valid: [sealedPlaintext],
  decode(bytes) {
    const sealed = crypto.sealX({ key: sealKey, nonce, plaintext: bytes, ad: sealAd })
    return openMessage(concat(nonce, sealed), sealKey)
  },
  selfDelimiting: false,
})

const deviceList = deviceListOf('alice', ['laptop']).bytes
const card = cardOf('alice')
const bodies: KnownBody[] = [
  { type: 'text', text: 'Grüße, 世界 👋' },
  { type: 'receipts', delivered: [idOf('a'), idOf('b')], read: [idOf('c')] },
  { type: 'contactRequest', rootKey, seed: rendezvousSeed, deviceList, name: 'Alice', card, text: 'hello!' },
  { type: 'contactAccept', seed: rendezvousSeed, deviceList, name: 'Bob', card },
  { type: 'cardUpdate', card, deviceListNumber: 5, deviceListHash: bytesOf('hash') },
]
const payloads = bodies.map((body) =>
  encodePayload({ messageId: idOf('message'), sentAtMs: testNowMs, sequence: 1, body }))

function idOf(name: string): MessageId {
  return hex(bytesOf(name, 16)) as MessageId
}

fuzz('payload', { valid: payloads, decode: decodePayload, cases: 4 * casesEach })
fuzz('content', {
  valid: payloads.map((plaintext) => crypto.seal({ key: sealKey, nonce: new Uint8Array(12), plaintext })),
  decode: (bytes) => openContent(bytes, sealKey),
})

test.run()
