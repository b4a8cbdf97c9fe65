/**
 * The channel's part of the wire vectors: handshakes with fixed keys over tcp, ws and http2, what
 * the first messages look like, and the same in datagrams, with keys of later epochs.
 */
import { hex, utf8 } from '../../crypto/bytes.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { encode } from '../../protocol/codec/struct.ts'
import { Writer } from '../../protocol/codec/writer.ts'
import type { UdpFrame } from '../../protocol/session/udp/frames.ts'
import { bytesOf } from '../helpers/actors.ts'
import { controlFrames, documented, udpFrames } from './wire-frames.ts'

/** The modules of one backend. */
export interface ChannelModules {
  readonly index: typeof import('../../crypto/index.ts')
  readonly noise: typeof import('../../crypto/noise.ts')
  readonly channel: typeof import('../../protocol/session/noise-channel.ts')
  readonly control: typeof import('../../protocol/session/control-frames.ts')
  readonly packets: typeof import('../../protocol/session/udp/packets.ts')
  readonly udpFrames: typeof import('../../protocol/session/udp/frames.ts')
  readonly packetKeys: typeof import('../../protocol/session/udp/packet-keys.ts')
}

/** All that a handshake draws or has, from a name. */
const secrets = {
  device: bytesOf('wire device'),
  door: bytesOf('wire door'),
  deviceEphemeral: bytesOf('wire device ephemeral'),
  nodeEphemeral: bytesOf('wire node ephemeral'),
}
const longBytes = 150_000

function always(bytes: Uint8Array): Random {
  return { bytes: () => bytes.slice() }
}

function keyPairs({ index: { crypto } }: ChannelModules): { device: DhKeyPair, door: DhKeyPair } {
  return { device: crypto.dhKeyPair(secrets.device), door: crypto.dhKeyPair(secrets.door) }
}

function secretFields({ device, door }: { device: DhKeyPair, door: DhKeyPair }) {
  return {
    deviceSecret: hex(secrets.device),
    deviceKey: hex(device.publicKey),
    doorSecret: hex(secrets.door),
    doorKey: hex(door.publicKey),
    deviceEphemeralSecret: hex(secrets.deviceEphemeral),
    nodeEphemeralSecret: hex(secrets.nodeEphemeral),
  }
}

/** Byte i is i mod 251: long messages need not be written out. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i % 251)
}

export function handshakeVector(modules: ChannelModules, transport: 'tcp' | 'ws' | 'http2') {
  const { index: { crypto }, channel: { NoiseChannel, prologue }, control: { encodeControl } } = modules
  const keys = keyPairs(modules)
  const framing = transport === 'ws' ? 'message' : 'length'
  const written = { device: [] as Uint8Array[], node: [] as Uint8Array[] }
  const got: Uint8Array[] = []
  const listener = (end: 'device' | 'node') => ({
    write: (bytes: Uint8Array) => { written[end].push(bytes) },
    opened: () => {},
    message: (message: Uint8Array) => { got.push(message) },
    failed: (code: string, detail: string) => { throw new Error(`${end}: ${code} ${detail}`) },
  })
  const shared = { transport, framing } as const
  const device = new NoiseChannel({
    ...shared, own: keys.device, nodeKey: keys.door.publicKey, random: always(secrets.deviceEphemeral),
  }, listener('device'))
  const node = new NoiseChannel({
    ...shared, own: keys.door, random: always(secrets.nodeEphemeral),
  }, listener('node'))
  device.start()
  for (const bytes of written.device) node.receive(bytes)
  for (const bytes of written.node) device.receive(bytes)

  const pass = (from: 'device' | 'node', messages: readonly Uint8Array[]): Uint8Array[] => {
    const [sender, receiver] = from === 'device' ? [device, node] : [node, device]
    got.length = 0
    const pieces = sender.seal(messages)
    for (const bytes of pieces) receiver.receive(bytes)
    if (got.map(hex).join() !== messages.map(hex).join()) throw new Error('the messages do not arrive')
    return pieces
  }
  const [hello, , , welcome, data, , ack, ping] = controlFrames.map(encodeControl)
  const exchange = [
    { from: 'device' as const, messages: [hello!] },
    { from: 'node' as const, messages: [welcome!, ping!] },
    { from: 'device' as const, messages: [data!, ack!] },
  ].map(({ from, messages }) => {
    return { from, messages: messages.map(hex), written: pass(from, messages).map(hex) }
  })
  const long = pass('node', [pattern(longBytes)])
  return {
    transport,
    prologue: hex(prologue(transport)),
    ...secretFields(keys),
    first: written.device.map(hex).join(''),
    second: written.node.map(hex).join(''),
    exchange,
    long: {
      about: 'then the node sends one message whose byte i is i mod 251; sha256 of each thing written',
      from: 'node', length: longBytes, written: long.map((bytes) => crypto.sha256Hex(bytes)),
    },
  }
}

export function udpVector(modules: ChannelModules) {
  const { index: { crypto }, noise: { NoiseHandshake }, packets } = modules
  const keys = keyPairs(modules)
  const [deviceId, nodeId] = [bytesOf('wire device id', 8), bytesOf('wire node id', 8)]
  const prologue = packets.udpPrologue(deviceId)
  const device = new NoiseHandshake({
    pattern: 'IK', role: 'initiator', prologue, own: keys.device, remoteStaticKey: keys.door.publicKey,
    random: always(secrets.deviceEphemeral),
  })
  const node = new NoiseHandshake({
    pattern: 'IK', role: 'responder', prologue, own: keys.door, random: always(secrets.nodeEphemeral),
  })
  const noise = device.write(new Uint8Array(0))
  node.read(noise)
  const resetKey = crypto.hkdf({
    secret: secrets.door, salt: new Uint8Array(0), info: utf8('openim udp reset v1'), length: 32,
  })
  const resetToken = crypto.hmacSha256(resetKey, nodeId).slice(0, packets.resetTokenBytes)
  const payload = encode(packets.responsePayloadCodec, { nodeId, resetToken })
  const response = encode(packets.responseCodec, { type: 2, deviceId, noise: node.write(payload) })
  const cookie = bytesOf('wire cookie', 16)
  const initiation = (given: Uint8Array): string => {
    return hex(packets.encodeInitiation({ deviceId, noise, cookie: given }))
  }
  const read = device.read(response.subarray(9))
  if (!read.ok || hex(read.value) !== hex(payload)) throw new Error('the response does not open')
  const ends = { device: { ...device.split(), peerId: nodeId }, node: { ...node.split(), peerId: deviceId } }
  return {
    prologue: hex(prologue),
    ...secretFields(keys),
    deviceId: hex(deviceId),
    nodeId: hex(nodeId),
    resetToken: hex(resetToken),
    cookie: hex(cookie),
    initiation: initiation(new Uint8Array(16)),
    cookieReply: hex(encode(packets.cookieReplyCodec, { type: 3, deviceId, cookie })),
    initiationWithCookie: initiation(cookie),
    response: hex(response),
    reset: hex(encode(packets.resetCodec, { type: 5, nodeId, token: resetToken })),
    frames: udpFrames.map((frame) => {
      const { type, ...fields } = frame
      return { type, fields: documented(fields), bytes: hex(plaintextOf(modules, [frame])) }
    }),
    packets: packetVectors(modules, ends),
  }
}

type Ends = Record<'device' | 'node', {
  readonly send: InstanceType<ChannelModules['noise']['NoiseCipher']>
  readonly peerId: Uint8Array
}>

/** Every epoch begins where the one before ends; a sender may leave numbers out. */
function packetVectors(modules: ChannelModules, ends: Ends) {
  const { packets, packetKeys: { PacketSealer } } = modules
  const sealers = { device: new PacketSealer(ends.device.send), node: new PacketSealer(ends.node.send) }
  const [ping, ackOne, ackMany, stream, , end, maxData] = udpFrames as readonly UdpFrame[]
  const full: UdpFrame = { type: 'stream', offset: 7, data: pattern(1_167 - 1 - 1 - 2) }
  const list: readonly { from: 'device' | 'node', counter: number, frames: readonly UdpFrame[] }[] = [
    { from: 'device', counter: 0, frames: [ping!] },
    { from: 'node', counter: 0, frames: [ackOne!, stream!] },
    { from: 'device', counter: 1, frames: [ackOne!, stream!, { type: 'ackNow' }] },
    { from: 'device', counter: 3, frames: [full] },
    { from: 'node', counter: 2 ** 20 - 1, frames: [ackMany!, maxData!] },
    { from: 'node', counter: 2 ** 20, frames: [end!] },
    { from: 'node', counter: 2 ** 21 + 5, frames: [{ type: 'close', reason: 0 }] },
    { from: 'device', counter: 2 ** 20 + 2, frames: [ping!] },
  ]
  return list.map(({ from, counter, frames }) => {
    const plaintext = plaintextOf(modules, frames, packets.plaintextBytesMin)
    const header = packets.dataHeader(ends[from].peerId, counter)
    return {
      from, counter, plaintext: hex(plaintext),
      datagram: hex(sealers[from].seal(counter, header, plaintext)),
    }
  })
}

function plaintextOf(modules: ChannelModules, frames: readonly UdpFrame[], bytesMin = 0): Uint8Array {
  const { writeFrame } = modules.udpFrames
  const writer = new Writer()
  for (const frame of frames) writeFrame(writer, frame)
  const missing = bytesMin - writer.length
  if (missing > 0) writeFrame(writer, { type: 'padding', length: missing - 1 })
  return writer.finish()
}
