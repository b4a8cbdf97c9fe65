/**
 * What is in a datagram between a device and its node's UDP door, from the outside (DESIGN §4).
 * frames.ts has the inside of data packets.
 *
 * ```text
 *   initiation (1)   device → node, always 1,200 bytes
 *     u8      type = 1, u8 version = 1
 *     opaque  deviceId[8]       chosen by the device: answers to it carry this
 *     opaque  noise[96]         e, es, s, ss, empty payload
 *     opaque  cookie[16]        from a cookie reply, else zeros
 *     zeros   up to 1,200
 *
 *   response (2)     node → device, 81 bytes
 *     u8      type = 2
 *     opaque  deviceId[8]
 *     opaque  noise[72]         e, ee, se, payload  nodeId[8] ‖ resetToken[16]
 *
 *   cookie reply (3) node → device, 25 bytes: say it again with this, I am busy
 *     u8      type = 3
 *     opaque  deviceId[8]
 *     opaque  cookie[16]
 *
 *   data (4)         both ways, 48 to 1,200 bytes
 *     u8      type = 4
 *     opaque  id[8]             chosen by the receiver
 *     u64     counter           the AEAD's nonce; each once, growing
 *     sealed  frames ‖ tag[16]  AD: the 17 bytes before
 *
 *   reset (5)        node → device, 25 bytes: I do not know this connection
 *     u8      type = 5
 *     opaque  nodeId[8]         as it came
 *     opaque  token[16]         told to the device in the response, unguessable for others
 *
 *   prologue         "openim channel" ‖ u8 1 ‖ opaque "udp"<V> ‖ initiation up to deviceId
 * ```
 *
 * A connection id is chosen by who receives packets with it, so a node tells ten thousand devices
 * on one socket apart, whatever addresses they come from.
 *
 * Alternatives weighed: QUIC's header protection and its connection ids that change with the
 * address, of which neither hides anything without the other: the counter goes on where it was. A
 * watcher of both networks can tie a moving phone's two addresses together by the two; he sees
 * which node it talks to either way, and there is one home node to a device.
 */
import { concat } from '../../../crypto/bytes.ts'
import type { Result } from '../../../crypto/errors.ts'
import { encodePadded, tryDecodePadded } from '../../codec/padding.ts'
import { fixed, oneOf, struct } from '../../codec/struct.ts'
import { Writer } from '../../codec/writer.ts'
import { limits } from '../../limits.ts'
import { prologue } from '../noise-channel.ts'

export const packetTypes = { initiation: 1, response: 2, cookie: 3, data: 4, reset: 5 } as const
export const connectionIdBytes = 8
export const cookieBytes = 16
export const resetTokenBytes = 16
const tagBytes = 16
const initiationNoiseBytes = 32 + 32 + tagBytes + tagBytes
const responseNoiseBytes = 32 + connectionIdBytes + resetTokenBytes + tagBytes

export interface Initiation {
  readonly type: 1
  readonly version: 1
  readonly deviceId: Uint8Array
  readonly noise: Uint8Array
  readonly cookie: Uint8Array
}

export const initiationCodec = struct<Initiation>({
  type: oneOf([packetTypes.initiation], 'packet type'),
  version: oneOf([1], 'version of the UDP channel'),
  deviceId: fixed(connectionIdBytes),
  noise: fixed(initiationNoiseBytes),
  cookie: fixed(cookieBytes),
})

export interface Response {
  readonly type: 2
  readonly deviceId: Uint8Array
  readonly noise: Uint8Array
}

export const responseCodec = struct<Response>({
  type: oneOf([packetTypes.response], 'packet type'),
  deviceId: fixed(connectionIdBytes),
  noise: fixed(responseNoiseBytes),
})

/** The payload of the response's Noise message. */
export interface ResponsePayload {
  readonly nodeId: Uint8Array
  readonly resetToken: Uint8Array
}

export const responsePayloadCodec = struct<ResponsePayload>({
  nodeId: fixed(connectionIdBytes),
  resetToken: fixed(resetTokenBytes),
})

export interface CookieReply {
  readonly type: 3
  readonly deviceId: Uint8Array
  readonly cookie: Uint8Array
}

export const cookieReplyCodec = struct<CookieReply>({
  type: oneOf([packetTypes.cookie], 'packet type'),
  deviceId: fixed(connectionIdBytes),
  cookie: fixed(cookieBytes),
})

export interface Reset {
  readonly type: 5
  readonly nodeId: Uint8Array
  readonly token: Uint8Array
}

export const resetCodec = struct<Reset>({
  type: oneOf([packetTypes.reset], 'packet type'),
  nodeId: fixed(connectionIdBytes),
  token: fixed(resetTokenBytes),
})

export function encodeInitiation(fields: Omit<Initiation, 'type' | 'version'>): Uint8Array {
  return encodePadded(initiationCodec, { type: 1, version: 1, ...fields }, limits.udpDatagramBytes)
}

/** `CODEC_*` refusals; anything but exactly 1,200 bytes is one. */
export function decodeInitiation(datagram: Uint8Array): Result<Initiation> {
  if (datagram.length !== limits.udpDatagramBytes) {
    return { ok: false, code: 'CODEC_TRUNCATED', detail: `an initiation of ${datagram.length} bytes` }
  }
  return tryDecodePadded(initiationCodec, datagram)
}

/** Both ends mix the clear start of the initiation into the handshake, so that nobody alters it. */
export function udpPrologue(deviceId: Uint8Array): Uint8Array {
  return concat(prologue('udp'), new Uint8Array([packetTypes.initiation, 1]), deviceId)
}

// ── Data packets: every byte of traffic, so by hand ─────────────────────────────────────────

export const dataHeaderBytes = 1 + connectionIdBytes + 8
/** What a data packet has room for. */
export const plaintextBytesMax = limits.udpDatagramBytes - dataHeaderBytes - tagBytes
/** Shorter ones are padded to it. */
export const plaintextBytesMin = limits.udpPacketBytesMin - dataHeaderBytes - tagBytes

export function dataHeader(id: Uint8Array, counter: number): Uint8Array {
  const writer = new Writer(dataHeaderBytes)
  writer.u8(packetTypes.data)
  writer.fixed(id, connectionIdBytes)
  writer.u64(counter)
  return writer.finish()
}

export function isData(datagram: Uint8Array): boolean {
  const fits = datagram.length >= limits.udpPacketBytesMin && datagram.length <= limits.udpDatagramBytes
  return fits && datagram[0] === packetTypes.data
}

/** Of a data packet or a reset. */
export function connectionIdOf(datagram: Uint8Array): Uint8Array {
  return datagram.subarray(1, 1 + connectionIdBytes)
}

/** `undefined` above 2⁵³ − 1, which no honest counter reaches. */
export function counterOf(datagram: Uint8Array): number | undefined {
  const view = new DataView(datagram.buffer, datagram.byteOffset, dataHeaderBytes)
  const high = view.getUint32(1 + connectionIdBytes)
  return high > 0x1f_ffff ? undefined : high * 2 ** 32 + view.getUint32(1 + connectionIdBytes + 4)
}
