/**
 * Valid inputs for any codec, without writing one by hand: the codec reads from a reader that
 * makes up what it is asked for and writes it down. Where the codec refuses (an unknown type, text
 * that is no text), the last choices are taken back and made anew.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import type { Reader } from '../../protocol/codec/reader.ts'
import type { Codec } from '../../protocol/codec/struct.ts'
import { Writer } from '../../protocol/codec/writer.ts'
import { limits } from '../../protocol/limits.ts'
import { randomChoice, randomInteger } from '../helpers/seeded-random.ts'

const attemptsMax = 20_000
/** A thousand entries with something to guess in each may need more than this: then a small one must do. */
const largeAttemptsMax = 3_000
/** After this many refusals at one place one choice more is taken back. */
const patience = 200
/** Where a varint grows. */
const edges = [0, 1, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, Number.MAX_SAFE_INTEGER]
/** Counts that limits often are. */
const commonLimits = [8, 16, 32, 64, 128, 256, 1_024]

/** Bytes that `codec` decodes completely; `large` ones try for the limits of counts and lengths. */
export function invent(codec: Codec<unknown>, random: Random, options: { large: boolean }): Uint8Array {
  let choices: Choice[] = []
  let stuck = 0
  let furthest = 0
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    if (attempt === largeAttemptsMax) [choices, stuck, furthest] = [[], 0, 0]
    const large = options.large && attempt < largeAttemptsMax
    const reader = new InventingReader(choices, random, large)
    try {
      codec.read(reader as unknown as Reader)
      return reader.written()
    } catch (error) {
      if (!(error instanceof OpenIMError)) throw error
      const reached = reader.choices.length
      stuck = reached > furthest ? 0 : stuck + 1
      furthest = Math.max(furthest, reached)
      choices = reader.choices.slice(0, Math.max(0, reached - 1 - Math.floor(stuck / patience)))
    }
  }
  throw new Error(`found no valid input in ${attemptsMax} attempts`)
}

type Choice = number | Uint8Array

/** Answers like a `Reader`, but from nowhere. */
class InventingReader {
  readonly choices: Choice[]
  readonly #random: Random
  readonly #large: boolean
  readonly #writer = new Writer()
  #at = 0

  constructor(choices: readonly Choice[], random: Random, large: boolean) {
    this.choices = [...choices]
    this.#random = random
    this.#large = large
  }

  readonly remaining = Number.POSITIVE_INFINITY

  get offset(): number {
    return this.#writer.length
  }

  written(): Uint8Array {
    return this.#writer.finish()
  }

  refuse(code: string, what: string): OpenIMError {
    return new OpenIMError(code, what)
  }

  end(): void {}

  u8(): number {
    const value = this.#number(255)
    this.#writer.u8(value)
    return value
  }

  u16(): number {
    const value = this.#number(0xffff)
    this.#writer.u16(value)
    return value
  }

  u32(): number {
    const value = this.#number(0xffff_ffff)
    this.#writer.u32(value)
    return value
  }

  u64(): number {
    const value = this.#number(Number.MAX_SAFE_INTEGER)
    this.#writer.u64(value)
    return value
  }

  varint(): number {
    const value = this.#number(Number.MAX_SAFE_INTEGER)
    this.#writer.varint(value)
    return value
  }

  fixed(length: number): Uint8Array {
    const value = this.#choose(() => this.#content(length))
    this.#writer.fixed(value, length)
    return value
  }

  opaque(lengthMax: number): Uint8Array {
    const value = this.#choose(() => this.#content(this.#length(lengthMax)))
    this.#writer.opaque(value)
    return value
  }

  rest(): Uint8Array {
    const value = this.#choose(() => this.#content(this.#length(200)))
    this.#writer.raw(value)
    return value
  }

  /** The choice made here before, or a new one. */
  #choose<T extends Choice>(make: () => T): T {
    if (this.#at === this.choices.length) this.choices.push(make())
    return this.choices[this.#at++] as T
  }

  /** Mostly small, because types and counts are; sometimes an edge, sometimes anything. */
  #number(max: number): number {
    return this.#choose(() => {
      const kind = randomInteger(this.#random, 10)
      if (this.#large && kind < 6) return Math.min(max, randomChoice(this.#random, commonLimits))
      if (kind < 7) return randomInteger(this.#random, 8)
      if (kind === 7) return Math.min(max, randomChoice(this.#random, edges))
      return randomInteger(this.#random, Math.min(max, 2 ** 32) + 1)
    })
  }

  #length(max: number): number {
    // No body on any wire is longer than this, however many long fields it may have.
    const isFull = this.#writer.length >= limits.callBodyBytesMax
    if (this.#large && !isFull) {
      return randomInteger(this.#random, 4) > 0 ? max : randomInteger(this.#random, max + 1)
    }
    return randomInteger(this.#random, Math.min(max, randomChoice(this.#random, [1, 40, 200])) + 1)
  }

  #content(length: number): Uint8Array {
    const bytes = this.#random.bytes(length)
    switch (randomInteger(this.#random, 4)) {
      case 0: return bytes.map((byte) => 0x41 + (byte % 26))
      case 1: return bytes.map((byte, i) => (i === 0 ? 0x2f : 0x21 + (byte % 94)))
      case 2: return new Uint8Array(length)
      default: return bytes
    }
  }
}
