/** What attackers of the tests need: thieves with part of the keys, keys that nobody makes honestly. */
import { ed25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE, numberToBytesLE } from '@noble/curves/utils.js'
import { concat, hexDecode } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { SigningKeyPair } from '../../../crypto/provider.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'

const { Point } = ed25519
const groupOrder = Point.Fn.ORDER

/** X25519 public keys that give zero with every secret (RFC 7748 §6.1), and their unreduced forms. */
export const smallOrderDhKeys: readonly Uint8Array[] = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(hexDecode)

/** By name: why it is no key, and the bytes. `honest` is a good key. */
export function badVerifyKeys(honest: Uint8Array): readonly (readonly [string, Uint8Array])[] {
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  return [
    ['the identity', hexDecode(`01${'00'.repeat(31)}`)],
    ['of order 2', hexDecode(`ec${'ff'.repeat(30)}7f`)],
    ['of order 4', new Uint8Array(32)],
    ['of order 8', torsion.toBytes()],
    ['not reduced', hexDecode(`ee${'ff'.repeat(30)}7f`)],
    ['with a part of small order', Point.fromBytes(honest).add(torsion).toBytes()],
    ['not on the curve', new Uint8Array(32).fill(2)],
  ]
}

/** A key pair that claims a public key which is not its own. */
export function claiming<K extends { readonly publicKey: Uint8Array }>(keys: K, publicKey: Uint8Array): K {
  return Object.defineProperty(keys, 'publicKey', { value: publicKey, enumerable: true })
}

/**
 * A session just begun whose owner says other things in its initial header, and binds those: nothing but
 * the handshake stands in the way. `change` gets bytes in which offsets are those of the message.
 */
export function withHeader(session: SecureSession, change: (message: Uint8Array) => void): SecureSession {
  // serialize(): version, the other device, count, base key, two flags; then the header.
  const headerAt = 1 + 64 + 4 + 32 + 2
  const state = session.serialize()
  change(state.subarray(headerAt - 2))
  return SecureSession.deserialize(state)
}

/** Another valid signature of the same message: RFC 8032 with a nonce of one's own choice. */
export function signAgain(keys: SigningKeyPair, message: Uint8Array): Uint8Array {
  const { scalar } = ed25519.utils.getExtendedPublicKey(keys.exportSecret())
  const nonce = bytesToNumberLE(crypto.sha512(concat(keys.exportSecret(), message))) % groupOrder
  const commitment = Point.BASE.multiply(nonce).toBytes()
  const challenge = bytesToNumberLE(crypto.sha512(concat(commitment, keys.publicKey, message))) % groupOrder
  return concat(commitment, numberToBytesLE((nonce + challenge * scalar) % groupOrder, 32))
}

/** Calls of the provider while `work` runs, however they end. */
export function countPrimitives(work: () => void): number {
  const table = crypto as unknown as Record<string, unknown>
  const originals = Object.entries(table).filter((entry) => typeof entry[1] === 'function') as
    [string, (...args: unknown[]) => unknown][]
  let count = 0
  for (const [name, original] of originals) {
    table[name] = (...args: unknown[]): unknown => {
      count++
      return original.apply(crypto, args)
    }
  }
  try {
    work()
  } finally {
    for (const [name, original] of originals) table[name] = original
  }
  return count
}
