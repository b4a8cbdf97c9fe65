/**
 * A node descriptor: what a node says of itself, signed by its peer key and gossiped in the
 * directory (DESIGN §3).
 *
 * ```text
 *   u8     version = 1
 *   opaque nodeKey[32]        Ed25519 peer key
 *   opaque doorKey[32]        X25519 static key of the door for devices (Noise)
 *   opaque onionKey[32]       X25519, for onion packets
 *   u16    roles              1 relay, 2 storage, 4 mix, 8 bootstrap; other bits are ignored
 *   addresses<V>              opaque multiaddr text<V>, 8 of 128 bytes at most
 *   u64    sequence           a higher one replaces a lower one
 *   u32    sinceHour          when the node came up for the first time (tenure; its own word)
 *   u32    expiryHour         at most 6 hours ahead
 *   u32    storageFreeMiB     room left for other people's mail
 *   opaque signature[64]      by nodeKey, over "openim node descriptor v1" ‖ everything above
 * ```
 */
import { OpenIMError } from '../crypto/errors.ts'
import type { Result } from '../crypto/errors.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import { fixed, mapped, oneOf, struct, text, tryDecode, u16, u32, u64, vector } from './codec/struct.ts'
import type { Codec } from './codec/struct.ts'
import { expiryMs } from './envelope.ts'
import { nodeIdCodec, nodeKey } from './ids.ts'
import type { NodeId } from './ids.ts'
import { limits } from './limits.ts'
import { signatureBytes, signStruct, verifyStruct } from './signed.ts'

/** Bits on the wire. */
const roleBits = { relay: 1, storage: 2, mix: 4, bootstrap: 8 } as const
export type Role = keyof typeof roleBits
export const roles = Object.keys(roleBits) as readonly Role[]

export interface NodeDescriptor {
  readonly nodeId: NodeId
  readonly doorKey: Uint8Array
  readonly onionKey: Uint8Array
  readonly roles: Role[]
  readonly addresses: string[]
  readonly sequence: number
  readonly sinceHour: number
  readonly expiryHour: number
  readonly storageFreeMiB: number
}

const descriptorLabel = 'openim node descriptor v1'
const hourMs = 3_600_000

const rolesCodec: Codec<Role[]> = mapped(u16, {
  to: (value: Role[]) => value.reduce((bits, role) => bits | roleBits[role], 0),
  from: (bits) => roles.filter((role) => (bits & roleBits[role]) !== 0),
})

/** A multiaddr starts with a slash and is printable ASCII: it is shown to people and dialled. */
const addressCodec = mapped(text(limits.nodeAddressBytesMax), {
  to: (address: string) => address,
  from(address) {
    if (/^\/[\x21-\x7e]+$/.test(address)) return address
    throw new OpenIMError('CODEC_VALUE', 'an address that is no multiaddr')
  },
})

const descriptorCodec = struct<NodeDescriptor & { readonly version: 1 }>({
  version: oneOf([1], 'descriptor version'),
  nodeId: nodeIdCodec,
  doorKey: fixed(32),
  onionKey: fixed(32),
  roles: rolesCodec,
  addresses: vector(addressCodec, limits.nodeAddressesMax),
  sequence: u64,
  sinceHour: u32,
  expiryHour: u32,
  storageFreeMiB: u32,
})

export function signNodeDescriptor(descriptor: NodeDescriptor, nodeKeys: SigningKeyPair): Uint8Array {
  return signStruct(descriptorCodec, descriptorLabel, { version: 1, ...descriptor }, nodeKeys)
}

/**
 * Size, dates and signature. Refuses with CODEC_*, DESCRIPTOR_EXPIRED, DESCRIPTOR_EXPIRY (further
 * ahead than a descriptor may live), DESCRIPTOR_STALE or SIGNATURE_INVALID.
 *
 * @param isNews asked before the signature is checked, which costs far more than a look-up: most
 *   of what gossip brings is known already
 */
export function checkNodeDescriptor(
  bytes: Uint8Array,
  nowMs: number,
  isNews: (nodeId: NodeId, sequence: number) => boolean = () => true,
): Result<NodeDescriptor> {
  if (bytes.length < signatureBytes) return { ok: false, code: 'CODEC_TRUNCATED', detail: 'no signature' }
  if (bytes.length > limits.descriptorBytesMax) {
    const detail = `a descriptor of ${bytes.length} bytes, the limit is ${limits.descriptorBytesMax}`
    return { ok: false, code: 'CODEC_TOO_LONG', detail }
  }
  const decoded = tryDecode(descriptorCodec, bytes.subarray(0, bytes.length - signatureBytes))
  if (!decoded.ok) return decoded
  const { version: _, ...descriptor } = decoded.value
  const leftMs = expiryMs(descriptor.expiryHour) - nowMs
  if (leftMs + limits.clockSkewMs <= 0) return { ok: false, code: 'DESCRIPTOR_EXPIRED' }
  // Expiry is rounded up to the hour, so it may lie up to one hour above the limit.
  const leftMsMax = limits.descriptorTtlMs + hourMs + limits.clockSkewMs
  if (leftMs > leftMsMax) return { ok: false, code: 'DESCRIPTOR_EXPIRY' }
  if (!isNews(descriptor.nodeId, descriptor.sequence)) return { ok: false, code: 'DESCRIPTOR_STALE' }
  const verified = verifyStruct(descriptorCodec, descriptorLabel, bytes, () => nodeKey(descriptor.nodeId))
  return verified.ok ? { ok: true, value: descriptor } : verified
}

export function hasRole(descriptor: Pick<NodeDescriptor, 'roles'>, role: Role): boolean {
  return descriptor.roles.includes(role)
}
