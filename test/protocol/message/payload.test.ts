/** protocol/message/payload.ts and its bodies. */
import * as assert from 'uvu/assert'
import { concat, hex } from '../../../crypto/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import type { BoxId, EnvelopeId, MessageId } from '../../../protocol/ids.ts'
import { bodyCodecs, decodePayload, encodePayload } from '../../../protocol/message/payload.ts'
import type { Body, Payload } from '../../../protocol/message/payload.ts'
import { deviceId } from '../../../protocol/account.ts'
import { bytesOf, cardOf, deviceListOf, keysOf, nodesOf, testNowMs } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/message/payload')

function idOf(name: string): MessageId {
  return hex(bytesOf(name, 16)) as MessageId
}
function envelopeOf(name: string): EnvelopeId {
  return hex(bytesOf(name)) as EnvelopeId
}
function payloadOf(body: Body): Payload {
  return { messageId: idOf('message'), sentAtMs: testNowMs, sequence: 12, body }
}
const deviceList = deviceListOf('alice', ['laptop']).bytes
const card = cardOf('alice for bob')
const rootKey = keysOf('alice').publicKey
const seed = bytesOf('alice seed', 15)
const boxId = hex(bytesOf('request box')) as BoxId
const device = deviceId(bytesOf('phone'))
const box = {
  writeSeed: bytesOf('write'), readSeed: bytesOf('read'), sealKey: bytesOf('seal'), sequence: 4,
  homes: nodesOf('home', 1), replicas: nodesOf('replica', 2), generation: 1, closesAtMs: 0,
}
const contact = keysOf('bob').publicKey
const state = {
  type: 'contactState', contact, counter: 7, device, isRemoved: false, name: 'Bob', isNamed: true, trust: 1,
  alarm: '', isActive: true, addedAtMs: testNowMs, seed, deviceList, card, box,
  oldBoxes: [{ ...box, closesAtMs: testNowMs }], positions: [{ device, next: 12 }],
} as const
const siblingBodies: Body[] = [
  { type: 'sentCopy', contact, payload: bytesOf('payload', 40) },
  { type: 'receivedCopy', contact, device, payload: bytesOf('payload', 40) },
  { ...state, oldBoxes: [...state.oldBoxes], positions: [...state.positions] },
  {
    ...state, isRemoved: true, seed: undefined, deviceList: undefined, card: undefined, oldBoxes: [],
    positions: [],
  },
  { type: 'readMarks', contact, messages: [idOf('a'), idOf('b')] },
  {
    type: 'ownDevices',
    deviceList,
    primary: device,
    devices: [
      {
        deviceId: device,
        linkKey: bytesOf('link'),
        shelfKey: bytesOf('shelf'),
        shelfSecret: bytesOf('secret'),
      },
    ],
    secrets: { rendezvousSeed: seed, introReadSeed: bytesOf('intro'), frontToken: bytesOf('front', 15) },
    generation: 1,
    selfBox: box,
  },
  { type: 'inviteState', token: bytesOf('token', 15), expiryHour: 490_000, usedBy: contact },
  { type: 'inviteState', token: bytesOf('token', 15), expiryHour: 490_000, usedBy: undefined },
  {
    type: 'historyPage',
    offset: 256,
    left: 3,
    entries: [{
      contact, isOutgoing: true, id: idOf('old'), text: 'hello', file: undefined, sentAtMs: testNowMs,
      receivedAtMs: testNowMs, afterGap: false, state: 2,
    }],
  },
]
const bodies: Body[] = [
  { type: 'text', text: 'Grüße, 世界 👋' },
  { type: 'text', text: '' },
  {
    type: 'receipts', delivered: [idOf('a'), idOf('b')], read: [idOf('c')],
    heads: {
      sender: { number: 4, hash: bytesOf('sender list') },
      receiver: { number: 7, hash: bytesOf('receiver list') },
    },
  },
  {
    type: 'askAgain',
    envelopes: [
      { envelopeId: envelopeOf('a'), expiryHour: 490_000, device },
      { envelopeId: envelopeOf('b'), expiryHour: 490_001, device: undefined },
    ],
  },
  {
    type: 'askReply',
    again: [
      { envelopeId: envelopeOf('a'), messageId: idOf('a') },
      { envelopeId: envelopeOf('b'), messageId: undefined },
    ],
    lost: [envelopeOf('c')],
  },
  { type: 'contactRequest', rootKey, box: boxId, seed, deviceList, name: 'Alice', card, text: 'hello!' },
  { type: 'contactRequest', rootKey, box: boxId, seed, deviceList, name: 'Alice', card, text: undefined },
  {
    type: 'file', name: 'cat.jpg', mediaType: 'image/jpeg', length: 123_456, hash: bytesOf('content'),
    pieceBytes: 65_536, key: bytesOf('file key'), writeKey: keysOf('file box').publicKey,
    readSeed: bytesOf('file read'), expiryHour: 490_000,
    homes: nodesOf('home', 1), replicas: nodesOf('replica', 2),
  },
  { type: 'contactAccept', seed: new Uint8Array(15).fill(8), deviceList, name: 'Bob', card },
  { type: 'cardUpdate', card, seed, deviceListNumber: 5, deviceListHash: bytesOf('hash') },
  ...siblingBodies,
]

test('every kind of body comes back as it was sent', () => {
  for (const body of bodies) {
    const payload = payloadOf(body)
    assert.equal(decodePayload(encodePayload(payload)), { ok: true, value: payload })
  }
  assert.is(new Set(bodies.map((body) => body.type)).size, Object.keys(bodyCodecs).length)
})

test('every truncation and every extra byte is refused with a code', () => {
  for (const body of bodies) {
    const bytes = encodePayload(payloadOf(body))
    for (let length = 0; length < bytes.length; length++) {
      const result = decodePayload(bytes.subarray(0, length))
      assert.not(result.ok, `${body.type}, ${length} of ${bytes.length} bytes`)
    }
    const longer = decodePayload(concat(bytes, new Uint8Array(1)))
    assert.is(!longer.ok && longer.code, 'CODEC_TRAILING')
  }
})

test('a body of a kind we do not know is named, not lost', () => {
  const bytes = encodePayload(payloadOf({ type: 'text', text: 'from the future' }))
  // version, message id, time and sequence take 33 bytes, then comes the tag
  bytes[33] = 42
  assert.equal(decodePayload(bytes), { ok: true, value: payloadOf({ type: 'unknown', tag: 42 }) })
  assert.throws(() => encodePayload(payloadOf({ type: 'unknown', tag: 42 })), /never sent/)
})

test('a body of a known kind must decode fully', () => {
  const bytes = encodePayload(payloadOf({ type: 'receipts', delivered: [], read: [], heads: undefined }))
  bytes[33] = bodyCodecs.text.tag
  const result = decodePayload(bytes)
  assert.is(!result.ok && result.code, 'CODEC_TRAILING')
})

test('a text above its limit is a bug to send and refused on arrival', () => {
  const longest = 'x'.repeat(limits.textBytesMax)
  assert.ok(decodePayload(encodePayload(payloadOf({ type: 'text', text: longest }))).ok)
  assert.throws(() => encodePayload(payloadOf({ type: 'text', text: `${longest}x` })), /the limit is/)
})

test.run()
