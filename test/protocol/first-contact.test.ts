/**
 * All objects together, as docs/protocol.md §15 tells it: Bob has Alice's invite and nothing else;
 * Alice has what lies in her request box. No network, only the bytes that would cross it.
 */
import * as assert from 'uvu/assert'
import { hex } from '../../crypto/bytes.ts'
import { createKemPrekey, createOneTimePrekey, createSignedPrekey } from '../../crypto/handshake/prekeys.ts'
import type { OwnIdentity } from '../../crypto/handshake/types.ts'
import { crypto } from '../../crypto/index.ts'
import { peekInitial, SecureSession } from '../../crypto/secure-session.ts'
import { deviceId, findDevice, verifyDeviceList } from '../../protocol/account.ts'
import { createEnvelope, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import type { MessageId } from '../../protocol/ids.ts'
import { openCard } from '../../protocol/inbox-card.ts'
import { formatInvite, introKeys, parseInvite } from '../../protocol/invite.ts'
import { limits } from '../../protocol/limits.ts'
import { createLocationRecord, locationKeys, openLocationRecord } from '../../protocol/location-record.ts'
import { contentDigest, openContent, sealContent } from '../../protocol/message/content.ts'
import type { Payload } from '../../protocol/message/payload.ts'
import { openMessage, sealMessage } from '../../protocol/message/sealed.ts'
import {
  openShelfOneTime, openShelfStatic, sealShelfOneTime, sealShelfStatic, shelfBundle,
} from '../../protocol/shelf-content.ts'
import { bytesOf, cardOf, deviceListOf, keysOf, nodesOf, testHour, testNowMs } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('protocol/first-contact')
const random = seededRandom('first contact')

function identityOf(owner: string): OwnIdentity {
  return {
    signingKeys: keysOf(`${owner} laptop signing`),
    dhKeys: crypto.dhKeyPair(bytesOf(`${owner} laptop dh`)),
  }
}
function payloadOf(name: string, body: Payload['body']): Payload {
  return { messageId: hex(bytesOf(name, 16)) as MessageId, sentAtMs: testNowMs, sequence: 1, body }
}
/** The value of a result that must be one. */
function valueOf<T>(result: { ok: true, value: T } | { ok: false, code: string }): T {
  if (!result.ok) throw new Error(result.code)
  return result.value
}

// Alice's secrets, and what she hands out or lays out.
const alice = identityOf('alice')
const aliceDevice = deviceId(alice.signingKeys.publicKey)
const aliceRoot = keysOf('alice').publicKey
const seed = bytesOf('alice seed', 15)
const introRead = keysOf('alice intro read')
const shelf = { shelfKey: keysOf('alice shelf').publicKey, shelfSecret: bytesOf('alice shelf secret') }
const prekeys = {
  signed: createSignedPrekey({ own: alice, id: 1, random }),
  lastResort: createKemPrekey({ own: alice, id: 1, oneTime: false, random }),
  oneTime: createOneTimePrekey({ id: 7, random }),
  kem: createKemPrekey({ own: alice, id: 7, oneTime: true, random }),
}
const published = ({ id, keys, signature }: typeof prekeys.signed) =>
  ({ id, publicKey: keys.publicKey, signature })
const publishedKem = ({ id, keys, signature, oneTime }: typeof prekeys.kem) =>
  ({ id, publicKey: keys.publicKey, signature, oneTime })

const uri = formatInvite({
  rootKey: aliceRoot, seed, introToken: bytesOf('token', 15), expiryHour: testHour + 168,
})
const record = createLocationRecord({
  rootSeed: bytesOf('alice'),
  seed,
  period: locationKeys({ rootKey: aliceRoot, seed, timeMs: testNowMs }).current.period,
  sequence: 1,
  expiryHour: testHour + 48,
  content: {
    homes: nodesOf('home', 1),
    replicas: nodesOf('replica', 5),
    introReadKey: introRead.publicKey,
    shelves: [{ deviceId: aliceDevice, ...shelf }],
    deviceListNumber: 1,
  },
  random,
})
const staticBlob = sealShelfStatic({
  deviceList: deviceListOf('alice', ['laptop']).bytes,
  signedPrekey: published(prekeys.signed),
  lastResortKem: publishedKem(prekeys.lastResort),
}, shelf, random)
const oneTimeBlob = sealShelfOneTime({
  oneTimePrekey: { id: 7, publicKey: prekeys.oneTime.keys.publicKey },
  oneTimeKem: publishedKem(prekeys.kem),
}, shelf, random)

const request = payloadOf('request', {
  type: 'contactRequest',
  rootKey: keysOf('bob').publicKey,
  box: openCard({
    writeSeed: introKeys({ rootKey: aliceRoot, introToken: bytesOf('token', 15) }).writeSeed,
    readKey: introRead.publicKey,
  }).box,
  seed: bytesOf('bob seed', 15),
  deviceList: deviceListOf('bob', ['laptop']).bytes,
  name: 'Bob',
  card: cardOf('bob for alice'),
  text: 'Hello Alice, this is Bob from the choir.',
})

/** Bob: from the URI, the record and two blobs to an envelope. */
function ask(): { envelope: Uint8Array, session: SecureSession } {
  const bob = identityOf('bob')
  const invite = valueOf(parseInvite(uri, testNowMs))
  const { period } = locationKeys({ ...invite, timeMs: testNowMs }).current
  const location = valueOf(openLocationRecord({ ...invite, period, record }))
  const [place] = location.shelves
  const laidOut = valueOf(openShelfStatic(staticBlob, place!))
  const { list } = valueOf(verifyDeviceList(laidOut.deviceList, invite.rootKey))
  const bundle = shelfBundle({
    device: findDevice(list, place!.deviceId)!,
    static: laidOut,
    oneTime: valueOf(openShelfOneTime(oneTimeBlob, place!)),
  })
  const session = valueOf(SecureSession.initiate({ own: bob, bundle, random }))
  const { content, contentKey, digest } = sealContent(request, random)
  const wrap = session.encrypt({ plaintext: contentKey, ad: digest, random })
  assert.is(wrap.length, 1_397)
  const intro = introKeys(invite)
  const envelope = createEnvelope({
    writeKeys: intro.writeKeys,
    readKey: location.introReadKey,
    expiryHour: testHour + 336,
    ciphertext: sealMessage({
      senderDevice: deviceId(bob.signingKeys.publicKey),
      entries: [{ recipientDevice: place!.deviceId, wrap }],
      deviceList: undefined,
      content,
    }, intro.sealKey, random),
  })
  return { envelope, session }
}

test('a contact request made from an invite alone reaches its reader, and the answer comes back', () => {
  const { envelope, session: bobs } = ask()

  const { box, envelope: parsed } = valueOf(parseEnvelope(envelope))
  assert.ok(verifyEnvelope(envelope, parsed))
  const intro = introKeys({ rootKey: aliceRoot, introToken: bytesOf('token', 15) })
  assert.is(box, openCard({ writeSeed: intro.writeSeed, readKey: introRead.publicKey }).box)
  const message = valueOf(openMessage(parsed.ciphertext, intro.sealKey))
  const entry = message.entries.find(({ recipientDevice }) => recipientDevice === aliceDevice)!
  assert.is(deviceId(peekInitial(entry.wrap)!.remote.signingKey), message.senderDevice)
  const responded = valueOf(SecureSession.respond({
    own: alice,
    message: entry.wrap,
    ad: contentDigest(message.content),
    prekeys: {
      signedPrekey: (id) => (id === 1 ? prekeys.signed.keys : undefined),
      kemPrekey: (id, oneTime) => (oneTime && id === 7 ? prekeys.kem.keys : undefined),
      oneTimePrekey: (id) => (id === 7 ? prekeys.oneTime.keys : undefined),
    },
  }))
  assert.equal(valueOf(openContent(message.content, responded.plaintext)), request)
  assert.ok(request.body.type === 'contactRequest')
  assert.is(request.body.box, box)
  const bobsList = valueOf(verifyDeviceList(request.body.deviceList, request.body.rootKey))
  const listed = findDevice(bobsList.list, message.senderDevice)!
  assert.is(hex(listed.dhKey), hex(responded.session.remote.dhKey))

  const accept = payloadOf('accept', {
    type: 'contactAccept',
    seed,
    deviceList: deviceListOf('alice', ['laptop']).bytes,
    name: 'Alice',
    card: cardOf('alice for bob'),
  })
  const sealed = sealContent(accept, random)
  const wrap = responded.session.encrypt({ plaintext: sealed.contentKey, ad: sealed.digest, random })
  assert.is(wrap.length, 135)
  const key = valueOf(bobs.decrypt({ message: wrap, ad: sealed.digest }))
  assert.equal(valueOf(openContent(sealed.content, key)), accept)
})

test('the largest request fits the fourth size class for an account of four devices', () => {
  const names = Array.from({ length: limits.devicesMax }, (_, i) => `device ${i}`)
  const payload = payloadOf('largest', {
    ...(request.body as Extract<Payload['body'], { type: 'contactRequest' }>),
    deviceList: deviceListOf('bob', names).bytes,
    name: 'B'.repeat(limits.nameBytesMax),
    text: 'x'.repeat(limits.greetingBytesMax),
  })
  const { content } = sealContent(payload, random)
  const wraps = names.slice(0, 4).map((name) => bytesOf(name, 1_397))
  const entries = wraps.map((wrap) => ({ recipientDevice: aliceDevice, wrap }))
  const message = { senderDevice: aliceDevice, entries, deviceList: undefined, content }
  const ciphertext = sealMessage(message, bytesOf('seal'), random)
  assert.is(ciphertext.length, 16_384)
})

test.run()
