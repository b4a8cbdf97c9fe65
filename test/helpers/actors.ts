/**
 * Keys and objects of made-up people and nodes, all from a name, for tests of protocol objects.
 */
import { crypto } from '../../crypto/index.ts'
import { utf8 } from '../../crypto/bytes.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { certifyDevice, createDeviceList } from '../../protocol/account.ts'
import type { DeviceCertificate, VerifiedDeviceList } from '../../protocol/account.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { InboxCard } from '../../protocol/inbox-card.ts'

/** 2026-01-01T00:00:00Z and its hour: the "now" of object tests. */
export const testNowMs = 1_767_225_600_000
export const testHour = testNowMs / 3_600_000

/** 32 bytes that depend on the name alone. */
export function bytesOf(name: string, length = 32): Uint8Array {
  return crypto.hkdf({ secret: utf8(name), salt: new Uint8Array(0), info: utf8('openim test'), length })
}

export function keysOf(name: string): SigningKeyPair {
  return crypto.signingKeyPair(bytesOf(name))
}

export function nodeOf(name: string): NodeId {
  return nodeIdFromKey(keysOf(name).publicKey)
}

export function nodesOf(name: string, count: number): NodeId[] {
  return Array.from({ length: count }, (_, i) => nodeOf(`${name} ${i}`))
}

export function deviceOf(owner: string, device: string, name = device): DeviceCertificate {
  return certifyDevice({
    rootKey: keysOf(owner).publicKey,
    signingKeys: keysOf(`${owner} ${device} signing`),
    dhKey: crypto.dhKeyPair(bytesOf(`${owner} ${device} dh`)).publicKey,
    addedHour: testHour,
    name,
  })
}

export function deviceListOf(
  owner: string,
  deviceNames: readonly string[],
  previous?: VerifiedDeviceList,
): VerifiedDeviceList {
  const devices = deviceNames.map((name) => deviceOf(owner, name))
  const chain = previous === undefined ? {} : { previous }
  return createDeviceList({ rootKeys: keysOf(owner), devices, ...chain })
}

export function cardOf(name: string): InboxCard {
  return {
    sequence: 3,
    writeSeed: bytesOf(`${name} write`),
    readKey: keysOf(`${name} read`).publicKey,
    sealKey: bytesOf(`${name} seal`),
    homes: nodesOf(`${name} home`, 1),
    replicas: nodesOf(`${name} replica`, 5),
  }
}

/** A copy with one bit of one byte turned. */
export function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice()
  copy[at < 0 ? bytes.length + at : at]! ^= 1
  return copy
}
