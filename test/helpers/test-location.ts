/** A person whose location records can be made at will: any sequence, any expiry, forged or not. */
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import { expiryHour } from '../../protocol/envelope.ts'
import { createLocationRecord, locationKeys } from '../../protocol/location-record.ts'
import type { Clock } from '../../protocol/ports.ts'

const hourMs = 3_600_000

export class TestPerson {
  readonly blindedKey: Uint8Array
  readonly #rootSeed: Uint8Array
  readonly #seed: Uint8Array
  readonly #period: number
  readonly #clock: Clock
  readonly #random: Random

  constructor({ clock, random }: { clock: Clock, random: Random }) {
    this.#clock = clock
    this.#random = random
    this.#rootSeed = random.bytes(32)
    this.#seed = random.bytes(15)
    const rootKey = crypto.signingKeyPair(this.#rootSeed).publicKey
    const { current } = locationKeys({ rootKey, seed: this.#seed, timeMs: clock.now() })
    this.blindedKey = current.blindedKey
    this.#period = current.period
  }

  /** Lives a day unless told otherwise. */
  record(sequence: number, options: { livesMs?: number } = {}): Uint8Array {
    return createLocationRecord({
      rootSeed: this.#rootSeed,
      seed: this.#seed,
      period: this.#period,
      sequence,
      expiryHour: expiryHour(this.#clock.now() + (options.livesMs ?? 24 * hourMs)),
      content: { homes: [], replicas: [], introReadKey: new Uint8Array(32), shelves: [], deviceListNumber: 1 },
      random: this.#random,
    })
  }

  /** With one bit of its sealed content turned. */
  forged(sequence: number): Uint8Array {
    const record = this.record(sequence)
    record[200]! ^= 1
    return record
  }
}
