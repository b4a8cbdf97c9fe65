/**
 * One helper that treats every decoder the same way: valid inputs cut at each byte, with one byte
 * more, mutated at random, and bytes from nowhere. Whatever comes in, a decoder answers with a
 * value or refuses with a code; anything else it does is a bug.
 *
 * The same seed gives the same cases. A failure names seed, case and input; put the input into
 * test/vectors/fuzz-corpus.json under the decoder's name, and it is tried first for ever after.
 */
import { hex } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { seededRandom, randomChoice, randomInteger } from '../helpers/seeded-random.ts'
import type { Random } from '../../crypto/random.ts'
import { allocation } from './allocation.ts'

/** Refusing is a `Result` with a code, `undefined`, or an OpenIMError; all else is a value. */
export type FuzzedDecoder = (bytes: Uint8Array) => unknown

export interface FuzzOptions {
  readonly name: string
  /** At least one; each must be accepted. */
  readonly valid: readonly Uint8Array[]
  readonly decode: FuzzedDecoder
  readonly seed: number | string
  /** Mutated and random inputs; truncations and extra bytes come on top. */
  readonly cases: number
  /**
   * True (default): no valid input is the beginning of another, so every truncation and every
   * extra byte is refused. False for decoders that take the rest of their input as it is.
   */
  readonly selfDelimiting?: boolean
  /** Inputs that failed once. */
  readonly corpus?: readonly Uint8Array[]
}

export interface FuzzOutcome {
  readonly cases: number
  readonly accepted: number
  /** How often each code refused. */
  readonly refusals: ReadonlyMap<string, number>
}

/** Of a long input, this many truncations are tried: all near both ends, the rest spread. */
const truncationsMax = 600
/** Above this an input is large, and gets fewer truncations and mutations: each costs milliseconds. */
const largeBytes = 32 * 1_024
const largeCasesMax = 60
const randomInputBytesMax = 400
const shownBytesMax = 4_096
/** A result may keep twice its input and this much besides: objects of fields, ids as hex text. */
const keptSlackBytes = 64 * 1_024
/** What is garbage at once may be more, but follows the input, never a length that it claims. */
const allocatedTimes = 40
const allocatedSlackBytes = 128 * 1_024
/** Below this a measurement says nothing. */
const measuredInputBytesMin = 2_048
/** Whatever else the process does only adds, so a measurement over the limit is repeated. */
const measurementsMax = 4
/** One mutated input in so many is measured: a collection takes longer than a thousand cases. */
const measuredEvery = 256

export function fuzzDecoder(options: FuzzOptions): FuzzOutcome {
  const { name, valid, seed } = options
  const random = seededRandom(`${name} ${seed}`)
  const tally = new Tally(options)
  for (const bytes of options.corpus ?? []) tally.try(bytes, 'corpus')
  for (const [i, bytes] of valid.entries()) {
    tally.mustAccept(bytes, `valid input ${i}`)
    for (const length of truncations(bytes.length)) {
      tally.cut(bytes.subarray(0, length), `input ${i} cut at ${length}`)
    }
    for (const extra of [0, 1, 0xff]) tally.cut(withByte(bytes, extra), `input ${i} and one byte more`)
    tally.measure(bytes, `input ${i}`)
  }
  const small = valid.filter((bytes) => bytes.length <= largeBytes)
  for (let i = 0; i < options.cases; i++) {
    const pool = i < largeCasesMax || small.length === 0 ? valid : small
    const bytes = i % 8 === 0
      ? random.bytes(randomInteger(random, randomInputBytesMax))
      : mutated(randomChoice(random, pool), pool, random)
    tally.try(bytes, `case ${i}`)
    if (i % measuredEvery === 1) tally.measure(bytes, `case ${i}`)
  }
  return tally.outcome()
}

/** `code` when the answer is a refusal, undefined when it is a value. */
export function refusalOf(answer: unknown): string | undefined {
  if (answer === undefined) return 'undefined'
  const { ok, code } = answer as { ok?: unknown, code?: unknown }
  return ok === false && typeof code === 'string' ? code : undefined
}

class Tally {
  readonly #options: FuzzOptions
  readonly #refusals = new Map<string, number>()
  #cases = 0
  #accepted = 0

  constructor(options: FuzzOptions) {
    this.#options = options
  }

  /** @returns the refusal's code */
  try(bytes: Uint8Array, what: string): string | undefined {
    this.#cases++
    let code: string | undefined
    try {
      code = refusalOf(this.#options.decode(bytes))
    } catch (error) {
      if (!(error instanceof OpenIMError)) throw this.#failure(`threw ${String(error)}`, bytes, what, error)
      code = error.code
    }
    if (code === 'BUG_ASSERTION') throw this.#failure('broke an assertion', bytes, what)
    if (code === undefined) this.#accepted++
    else this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + 1)
    return code
  }

  mustAccept(bytes: Uint8Array, what: string): void {
    const code = this.try(bytes, what)
    if (code !== undefined) throw this.#failure(`refused a valid input with ${code}`, bytes, what)
  }

  cut(bytes: Uint8Array, what: string): void {
    const code = this.try(bytes, what)
    if (code === undefined && (this.#options.selfDelimiting ?? true)) {
      throw this.#failure('accepted an input that is too short or too long', bytes, what)
    }
  }

  measure(bytes: Uint8Array, what: string): void {
    if (bytes.length < measuredInputBytesMin) return
    const keptMax = 2 * bytes.length + keptSlackBytes
    const allocatedMax = allocatedTimes * bytes.length + allocatedSlackBytes
    let measured = { kept: 0, allocated: 0 }
    for (let i = 0; i < measurementsMax; i++) {
      measured = allocation(() => this.#answer(bytes))
      if (measured.kept <= keptMax && measured.allocated <= allocatedMax) return
    }
    const { kept, allocated } = measured
    const problem = `took ${allocated} bytes and kept ${kept} for an input of ${bytes.length}`
    throw this.#failure(problem, bytes, what)
  }

  #answer(bytes: Uint8Array): unknown {
    try {
      return this.#options.decode(bytes)
    } catch (error) {
      return error
    }
  }

  outcome(): FuzzOutcome {
    return { cases: this.#cases, accepted: this.#accepted, refusals: this.#refusals }
  }

  #failure(problem: string, bytes: Uint8Array, what: string, cause?: unknown): Error {
    const { name, seed } = this.#options
    const whole = bytes.length <= shownBytesMax
    const shown = whole ? hex(bytes) : `${hex(bytes.subarray(0, shownBytesMax))}… (${bytes.length} bytes)`
    return new Error(`${name}: ${problem} (seed ${seed}, ${what}), input ${shown}`, { cause })
  }
}

function truncations(length: number): number[] {
  const count = length > largeBytes ? largeCasesMax : truncationsMax
  if (length <= count) return Array.from({ length }, (_, i) => i)
  const edge = count / 3
  const step = (length - 2 * edge) / edge
  return Array.from({ length: count }, (_, i) => {
    if (i < edge) return i
    if (i >= 2 * edge) return length - count + i
    return Math.floor(edge + (i - edge) * step)
  })
}

function withByte(bytes: Uint8Array, byte: number): Uint8Array {
  const longer = new Uint8Array(bytes.length + 1)
  longer.set(bytes)
  longer[bytes.length] = byte
  return longer
}

/** Where varints change their length, and where signed and unsigned part. */
const edgyBytes = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff]
/** Lengths and counts that somebody would lie with. */
const edgyVarints = [
  [0x40, 0x00], [0x7f, 0xff], [0x80, 0x00, 0x00, 0x00], [0xbf, 0xff, 0xff, 0xff],
  [0xc0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
]

/** One to four changes; most near the start, where versions, types and counts are. */
function mutated(bytes: Uint8Array, others: readonly Uint8Array[], random: Random): Uint8Array {
  let out: Uint8Array = bytes.slice()
  for (let changes = 1 + randomInteger(random, 4); changes > 0; changes--) out = changed(out, others, random)
  return out
}

function changed(bytes: Uint8Array, others: readonly Uint8Array[], random: Random): Uint8Array {
  const reach = randomInteger(random, 2) === 0 ? Math.min(64, bytes.length) : bytes.length
  const at = randomInteger(random, reach + 1)
  const span = randomInteger(random, 40)
  switch (randomInteger(random, 7)) {
    case 0: return replaced(bytes, at, 1, [(bytes[at] ?? 0) ^ (1 << randomInteger(random, 8))])
    case 1: return replaced(bytes, at, 1, [randomChoice(random, edgyBytes)])
    case 2: return replaced(bytes, at, 0, random.bytes(span))
    case 3: return replaced(bytes, at, span, [])
    case 4: return replaced(bytes, at, 0, bytes.subarray(at, at + span))
    case 5: {
      const varint = randomChoice(random, edgyVarints)
      return replaced(bytes, at, randomInteger(random, 2) === 0 ? 1 : varint.length, varint)
    }
    default: {
      const other = randomChoice(random, others)
      return replaced(bytes, at, span, other.subarray(at, at + randomInteger(random, 80)))
    }
  }
}

function replaced(bytes: Uint8Array, at: number, count: number, by: ArrayLike<number>): Uint8Array {
  const tail = bytes.subarray(Math.min(bytes.length, at + count))
  const out = new Uint8Array(at + by.length + tail.length)
  out.set(bytes.subarray(0, at))
  out.set(by, at)
  out.set(tail, at + by.length)
  return out
}
