/**
 * A person whose location records can be made at will: any sequence, any expiry, forged or not.
 * Holders and readers see a key, dates and sealed bytes, so here the key is an ordinary one and the
 * bytes are random; real records are made in test/protocol/location-record.test.ts.
 */
import { concat, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { encode, u32, u64 } from '../../protocol/codec/struct.ts'
import { expiryHour } from '../../protocol/envelope.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'

const dayMs = 86_400_000
const nonceBytes = 24
const tagBytes = 16

export class TestPerson {
  readonly #keys: SigningKeyPair
  readonly #clock: Clock
  readonly #random: Random

  constructor({ clock, random }: { clock: Clock, random: Random }) {
    this.#clock = clock
    this.#random = random
    this.#keys = crypto.signingKeyPair(random.bytes(32))
  }

  get blindedKey(): Uint8Array {
    return this.#keys.publicKey
  }

  /** Lives a day unless told otherwise. */
  record(sequence: number, options: { livesMs?: number } = {}): Uint8Array {
    const unsigned = concat(
      new Uint8Array([1]),
      this.blindedKey,
      encode(u64, sequence),
      encode(u32, expiryHour(this.#clock.now() + (options.livesMs ?? dayMs))),
      this.#random.bytes(nonceBytes + limits.locationContentBytes + tagBytes),
    )
    return concat(unsigned, crypto.sign(this.#keys, concat(utf8('openim location record v1'), unsigned)))
  }

  /** With one bit of its sealed content turned. */
  forged(sequence: number): Uint8Array {
    const record = this.record(sequence)
    record[200]! ^= 1
    return record
  }
}
