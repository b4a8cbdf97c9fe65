/** Decoders of what devices say to each other and to their node beside messages: linking, UDP. */
import { utf8, utf8Decode } from '../../crypto/bytes.ts'
import { certifyDevice } from '../../protocol/account.ts'
import { Writer } from '../../protocol/codec/writer.ts'
import { signDeviceRequest, verifyDeviceRequest } from '../../protocol/device-request.ts'
import { decodeLinkPackage, encodeLinkPackage } from '../../protocol/link-package.ts'
import { formatLinkCode, parseLinkCode } from '../../protocol/linking/link-code.ts'
import { decodeLinkMessage, encodeLinkMessage } from '../../protocol/linking/link-messages.ts'
import { bodyCodecs } from '../../protocol/message/payload.ts'
import { decode } from '../../protocol/codec/struct.ts'
import { decodeFrames, writeFrame } from '../../protocol/session/udp/frames.ts'
import type { UdpFrame } from '../../protocol/session/udp/frames.ts'
import { decodeInitiation, encodeInitiation, initiationCodec } from '../../protocol/session/udp/packets.ts'
import { bytesOf, keysOf } from '../helpers/actors.ts'
import { crypto } from '../../crypto/index.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { invent } from './invent.ts'
import type { FuzzedObject } from './fuzzed-object.ts'

const random = seededRandom('fuzzed device objects')
const rootKey = keysOf('alice').publicKey

export function linkObjects(): FuzzedObject[] {
  const signingKeys = keysOf('phone')
  const dhKey = crypto.dhKeyPair(bytesOf('phone dh')).publicKey
  const { proof } = certifyDevice({ rootKey, signingKeys, dhKey, addedHour: 0, name: 'phone' })
  const request = signDeviceRequest({
    version: 1, signingKey: signingKeys.publicKey, dhKey, linkKey: bytesOf('link'),
    shelfKey: keysOf('shelf').publicKey, shelfSecret: bytesOf('secret'), name: 'phone', proof,
  }, signingKeys)
  const { codec } = bodyCodecs.ownDevices
  const own = decode(codec, invent(codec, random, { large: false }))
  const hints = ['tcp://192.0.2.7:4482', 'udp://192.0.2.7:4482']
  const code = formatLinkCode({ doorKey: bytesOf('door'), token: bytesOf('token', 16), hints })
  return [
    {
      name: 'device request',
      covers: ['verifyDeviceRequest'],
      valid: [request],
      decode: verifyDeviceRequest,
    },
    {
      name: 'link package',
      covers: ['decodeLinkPackage'],
      valid: [encodeLinkPackage({ version: 1, name: 'alice', rootKey, own })],
      decode: decodeLinkPackage,
    },
    {
      name: 'link code',
      covers: ['parseLinkCode'],
      valid: [utf8(code)],
      // White space around it is forgiven.
      selfDelimiting: false,
      decode: (bytes) => parseLinkCode(utf8Decode(bytes)),
    },
    {
      name: 'linking message',
      covers: ['decodeLinkMessage'],
      valid: [
        encodeLinkMessage({
          type: 'hello', proof: bytesOf('proof'), name: 'phone', comparison: random.bytes(34),
        }),
        encodeLinkMessage({
          type: 'answer', proof: bytesOf('proof'), rootKey, name: 'alice', doors: hints,
          comparison: random.bytes(34),
        }),
        encodeLinkMessage({ type: 'package', bytes: random.bytes(500) }),
        encodeLinkMessage({ type: 'done' }),
      ],
      decode: decodeLinkMessage,
    },
  ]
}

export function udpObjects(): FuzzedObject[] {
  const frames: UdpFrame[] = [
    { type: 'ping' },
    { type: 'stream', offset: 70_000, data: random.bytes(100) },
    { type: 'ack', largest: 900, delayUs: 25_000, first: 3, ranges: [{ gap: 1, length: 2 }] },
    { type: 'maxData', offset: 1_000_000 },
    { type: 'challenge', data: random.bytes(8) },
  ]
  const writer = new Writer()
  for (const frame of frames) writeFrame(writer, frame)
  const { deviceId, noise, cookie } = decode(
    initiationCodec, invent(initiationCodec, random, { large: false }),
  )
  return [
    {
      name: 'UDP frames',
      covers: ['decodeFrames'],
      valid: [writer.finish()],
      // Frame after frame up to the end: fewer or more of them are valid, too.
      selfDelimiting: false,
      decode: decodeFrames,
    },
    {
      name: 'UDP initiation',
      covers: ['decodeInitiation'],
      valid: [encodeInitiation({ deviceId, noise, cookie })],
      decode: decodeInitiation,
    },
  ]
}
