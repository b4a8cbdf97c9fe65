/**
 * Builds the frozen vectors of protocol objects (test/vectors/protocol-objects.json) from fixed
 * seeds. test/protocol/vectors.test.ts compares; after a wanted change of the wire format run
 *
 *     node test/helpers/object-vectors.ts > test/vectors/protocol-objects.json
 *
 * and say in the commit what changed on the wire. All byte strings are hex.
 */
import { hex } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { formatAddress } from '../../protocol/address.ts'
import { deviceId } from '../../protocol/account.ts'
import { encode } from '../../protocol/codec/struct.ts'
import { boxId, createEnvelope, envelopeId } from '../../protocol/envelope.ts'
import { inboxCardCodec } from '../../protocol/inbox-card.ts'
import { formatInvite, introKeys } from '../../protocol/invite.ts'
import type { MessageId } from '../../protocol/ids.ts'
import {
  createLocationRecord, locationKey, locationKeys, locationPeriodStartMs,
} from '../../protocol/location-record.ts'
import { encodePayload } from '../../protocol/message/payload.ts'
import { sealContent } from '../../protocol/message/content.ts'
import { sealMessage } from '../../protocol/message/sealed.ts'
import { signNodeDescriptor } from '../../protocol/node-descriptor.ts'
import { bytesOf, cardOf, deviceListOf, keysOf, nodeOf, nodesOf, testHour, testNowMs } from './actors.ts'
import { seededRandom } from './seeded-random.ts'

export function objectVectors() {
  return {
    source: 'openIM; built by test/helpers/object-vectors.ts from fixed seeds',
    nowMs: testNowMs,
    address: addressVector(),
    invite: inviteVector(),
    deviceList: deviceListVector(),
    locationRecord: locationVector(),
    inboxCard: cardVector(),
    envelope: envelopeVector(),
    message: messageVector(),
    nodeDescriptor: descriptorVector(),
  }
}

function addressVector() {
  const { publicKey } = keysOf('alice')
  return { rootSeed: hex(bytesOf('alice')), rootKey: hex(publicKey), address: formatAddress(publicKey) }
}

function inviteVector() {
  const content = {
    rootKey: keysOf('alice').publicKey,
    seed: bytesOf('alice seed', 15),
    introToken: bytesOf('token', 15),
    expiryHour: testHour + 168,
  }
  const intro = introKeys(content)
  return {
    rootKey: hex(content.rootKey),
    seed: hex(content.seed),
    introToken: hex(content.introToken),
    expiryHour: content.expiryHour,
    uri: formatInvite(content),
    hint: '192.0.2.17:41641',
    uriWithHint: formatInvite({ ...content, hint: { ipv4: [192, 0, 2, 17], port: 41_641 } }),
    introWriteSeed: hex(intro.writeSeed),
    introWriteKey: hex(intro.writeKeys.publicKey),
    introSealKey: hex(intro.sealKey),
  }
}

function deviceListVector() {
  const first = deviceListOf('alice', ['laptop'])
  const second = deviceListOf('alice', ['laptop', 'phone'], first)
  return {
    rootSeed: hex(bytesOf('alice')),
    laptopSigningSeed: hex(bytesOf('alice laptop signing')),
    laptopDhSecret: hex(bytesOf('alice laptop dh')),
    laptopDeviceId: deviceId(keysOf('alice laptop signing').publicKey),
    first: { bytes: hex(first.bytes), hash: hex(first.hash) },
    second: { bytes: hex(second.bytes), hash: hex(second.hash) },
  }
}

function locationVector() {
  const rootSeed = bytesOf('alice')
  const rootKey = crypto.signingKeyPair(rootSeed).publicKey
  const seed = bytesOf('alice seed', 15)
  const keys = locationKeys({ rootKey, seed, timeMs: testNowMs })
  const { period, blindedKey } = keys.current
  const shelf = {
    deviceId: deviceId(keysOf('alice laptop signing').publicKey),
    shelfKey: keysOf('alice laptop shelf').publicKey,
    shelfSecret: bytesOf('alice laptop shelf secret'),
  }
  const content = {
    homes: nodesOf('home', 1),
    replicas: nodesOf('replica', 5),
    introReadKey: keysOf('alice intro read').publicKey,
    shelves: [shelf],
    deviceListNumber: 2,
  }
  const record = createLocationRecord({
    rootSeed, seed, period, sequence: 7, expiryHour: testHour + 48, content, random: seededRandom('location'),
  })
  return {
    rootSeed: hex(rootSeed),
    seed: hex(seed),
    timeMs: testNowMs,
    period,
    periodStartMs: locationPeriodStartMs(rootKey, period),
    blindedKeyPrevious: hex(keys.previous.blindedKey),
    blindedKey: hex(blindedKey),
    blindedKeyNext: hex(keys.next.blindedKey),
    dhtKey: hex(locationKey(blindedKey)),
    sequence: 7,
    expiryHour: testHour + 48,
    content: {
      ...content,
      introReadKey: hex(content.introReadKey),
      shelves: [{ ...shelf, shelfKey: hex(shelf.shelfKey), shelfSecret: hex(shelf.shelfSecret) }],
    },
    record: hex(record),
  }
}

function cardVector() {
  return { bytes: hex(encode(inboxCardCodec, cardOf('alice for bob'))) }
}

function envelopeVector() {
  const writeKeys = keysOf('alice for bob write')
  const readKey = keysOf('alice for bob read').publicKey
  const ciphertext = bytesOf('ciphertext', 512)
  const encoded = createEnvelope({ writeKeys, readKey, expiryHour: testHour + 336, ciphertext })
  return {
    writeSeed: hex(writeKeys.exportSecret()),
    readKey: hex(readKey),
    expiryHour: testHour + 336,
    ciphertext: hex(ciphertext),
    boxId: boxId({ writeKey: writeKeys.publicKey, readKey }),
    envelopeId: envelopeId(encoded),
    envelope: hex(encoded),
  }
}

function messageVector() {
  const payload = {
    messageId: hex(bytesOf('message id', 16)) as MessageId,
    sentAtMs: testNowMs,
    sequence: 1,
    body: { type: 'text', text: 'hello, Bob' },
  } as const
  const { content, contentKey, digest } = sealContent(payload, seededRandom('content'))
  const sealKey = bytesOf('alice for bob seal')
  const senderDevice = deviceId(keysOf('bob laptop signing').publicKey)
  const recipientDevice = deviceId(keysOf('alice laptop signing').publicKey)
  const entries = [{ recipientDevice, wrap: bytesOf('wrap', 130) }]
  return {
    ...payload,
    payload: hex(encodePayload(payload)),
    contentKey: hex(contentKey),
    content: hex(content),
    contentDigest: hex(digest),
    senderDevice,
    entries: [{ recipientDevice, wrap: hex(bytesOf('wrap', 130)) }],
    sealKey: hex(sealKey),
    sealed: hex(sealMessage({
      senderDevice, entries, deviceList: undefined, content,
    }, sealKey, seededRandom('seal'))),
  }
}

function descriptorVector() {
  const descriptor = {
    nodeId: nodeOf('node'),
    doorKey: bytesOf('door'),
    onionKey: bytesOf('onion'),
    roles: ['relay' as const, 'storage' as const],
    addresses: ['/ip4/192.0.2.17/tcp/41641', '/dns4/node.example.org/tcp/443/wss'],
    sequence: 9,
    sinceHour: testHour - 1_000,
    expiryHour: testHour + 6,
    storageFreeMiB: 512,
  }
  return {
    nodeSeed: hex(bytesOf('node')),
    ...descriptor,
    doorKey: hex(descriptor.doorKey),
    onionKey: hex(descriptor.onionKey),
    bytes: hex(signNodeDescriptor(descriptor, keysOf('node'))),
  }
}

if (import.meta.main) console.log(JSON.stringify(objectVectors(), null, 2))
