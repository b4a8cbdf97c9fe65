/**
 * Key pairs of the backends that hold a secret as bytes (provider-noble.ts, provider-wasm.ts): a
 * public key, and a secret that `inspect`, JSON and structured clones do not see.
 *
 * Each backend has a class of its own per kind, so that a key pair which wanders to another backend
 * or into the wrong call is a bug that shows at once.
 */
import { hex } from './bytes.ts'
import { assert } from './errors.ts'

export class ByteKeyPair {
  readonly publicKey: Uint8Array
  readonly #secret: Uint8Array

  /** Keeps `secret`: the caller hands over a copy. */
  constructor(publicKey: Uint8Array, secret: Uint8Array) {
    this.publicKey = publicKey
    this.#secret = secret
  }

  exportSecret(): Uint8Array {
    return this.#secret.slice()
  }

  toJSON(): { publicKey: string } {
    return { publicKey: hex(this.publicKey) }
  }

  static secretOf(pair: ByteKeyPair): Uint8Array {
    return pair.#secret
  }
}

/** The secret itself, not a copy. @throws BUG_ASSERTION unless `pair` is of the `kind` */
export function secretOf(
  pair: unknown, kind: abstract new (...args: never[]) => ByteKeyPair,
): Uint8Array {
  assert(pair instanceof kind, 'a key pair of another backend or kind')
  return ByteKeyPair.secretOf(pair as ByteKeyPair)
}
