/**
 * Branded identifiers: strings inside the program (so that they are map keys and read well in
 * logs), raw bytes on the wire. A brand keeps one kind from standing in for another.
 *
 * | id           | bytes | text                  | what                                            |
 * |--------------|-------|-----------------------|-------------------------------------------------|
 * | `NodeId`     | 32    | `12D3KooW…` (52)      | a node's Ed25519 peer key, as libp2p prints it   |
 * | `BoxId`      | 32    | hex (64)              | an inbox: hash of its write and read keys       |
 * | `EnvelopeId` | 32    | hex (64)              | hash of an envelope's signed content            |
 * | `MessageId`  | 16    | hex (32)              | a message, chosen at random by its sender       |
 * | `DeviceId`   | 16    | hex (32)              | a device: hash of its signing key               |
 *
 * A libp2p Ed25519 peer id is the base58btc text of an identity multihash around the protobuf
 * public key (libp2p peer-ids specification): six constant bytes, then the key.
 */
import { base58 } from '@scure/base'
import { concat, hex, hexDecode } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { fixed, mapped } from './codec/struct.ts'
import type { Codec } from './codec/struct.ts'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

export type NodeId = Branded<'NodeId'>
export type BoxId = Branded<'BoxId'>
export type EnvelopeId = Branded<'EnvelopeId'>
export type MessageId = Branded<'MessageId'>
export type DeviceId = Branded<'DeviceId'>

/** identity multihash (0x00) of 36 bytes: protobuf key type 1 (Ed25519), 32 bytes of key. */
const peerIdPrefix = new Uint8Array([0x00, 0x24, 0x08, 0x01, 0x12, 0x20])

export function nodeIdFromKey(publicKey: Uint8Array): NodeId {
  if (publicKey.length !== 32) {
    throw new OpenIMError('ID_NODE', `a node key has 32 bytes, got ${publicKey.length}`)
  }
  return base58.encode(concat(peerIdPrefix, publicKey)) as NodeId
}

const nodeKeys = new Map<string, Uint8Array>()
/** Enough for every peer a node talks to; decoding base58 costs more than the rest of a frame. */
const nodeKeysMax = 10_000

/** The Ed25519 key inside a node id. @throws ID_NODE when it is not an Ed25519 peer id */
export function nodeKey(nodeId: NodeId): Uint8Array {
  const known = nodeKeys.get(nodeId)
  if (known !== undefined) return known
  const key = parseNodeKey(nodeId)
  if (nodeKeys.size >= nodeKeysMax) nodeKeys.clear()
  nodeKeys.set(nodeId, key)
  return key
}

/** The bytes behind a node id's text, as libp2p hashes them for its DHT. */
export function peerIdBytes(nodeId: NodeId): Uint8Array {
  return concat(peerIdPrefix, nodeKey(nodeId))
}

function parseNodeKey(text: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = base58.decode(text)
  } catch (cause) {
    throw new OpenIMError('ID_NODE', 'a node id is base58 text that starts with 12D3KooW', { cause })
  }
  const prefixFits = peerIdPrefix.every((byte, i) => bytes[i] === byte)
  if (bytes.length !== 38 || !prefixFits) {
    throw new OpenIMError('ID_NODE', 'a node id is an Ed25519 peer id that starts with 12D3KooW')
  }
  return bytes.subarray(6)
}

/** @throws ID_NODE */
export function parseNodeId(text: string): NodeId {
  nodeKey(text as NodeId)
  return text as NodeId
}

function hexId<T extends string>(length: number): Codec<T> {
  return mapped(fixed(length), { to: (id: T) => hexDecode(id), from: (bytes) => hex(bytes) as T })
}

export const nodeIdCodec: Codec<NodeId> = mapped(fixed(32), { to: nodeKey, from: nodeIdFromKey })
export const boxIdCodec: Codec<BoxId> = hexId<BoxId>(32)
export const envelopeIdCodec: Codec<EnvelopeId> = hexId<EnvelopeId>(32)
export const messageIdCodec: Codec<MessageId> = hexId<MessageId>(16)
export const deviceIdCodec: Codec<DeviceId> = hexId<DeviceId>(16)
