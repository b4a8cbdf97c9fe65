/**
 * SHA-256 of what does not fit into memory: bytes go in part by part. `CryptoProvider.sha256` is
 * for what does; both give the same.
 */
import { sha256 } from '@noble/hashes/sha2.js'

export class Sha256 {
  readonly #hash = sha256.create()

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes)
  }

  /** 32 bytes; nothing may be added afterwards. */
  digest(): Uint8Array {
    return this.#hash.digest()
  }
}
