/**
 * The `Random` port from a seed: the same seed gives the same bytes on every machine. For tests
 * and simulations only, never for keys that matter.
 *
 * The generator is sfc32 (Chris Doty-Humphrey's "small fast counting" generator, 128 bits of
 * state, passes PractRand): adds, shifts and xors of 32-bit integers alone, so no engine rounds
 * differently.
 */
import type { Random } from '../../crypto/random.ts'

/** Outputs thrown away after seeding, so that neighbouring seeds share no prefix. */
const warmUpRounds = 15

export function seededRandom(seed: number | string): Random {
  let [a, b, c] = seedWords(String(seed))
  let counter = 1

  function next(): number {
    const out = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + out) | 0
    return out
  }

  for (let i = 0; i < warmUpRounds; i++) next()

  return {
    bytes(length) {
      const out = new Uint8Array(length)
      const whole = length - (length % 4)
      for (let at = 0; at < whole; at += 4) {
        const word = next()
        out[at] = word
        out[at + 1] = word >>> 8
        out[at + 2] = word >>> 16
        out[at + 3] = word >>> 24
      }
      if (whole < length) {
        for (let word = next(), at = whole; at < length; at++, word >>>= 8) out[at] = word
      }
      return out
    },
  }
}

/** A whole number in [0, `bound`). */
export function randomInteger(random: Random, bound: number): number {
  const b = random.bytes(4)
  const word = b[0]! + b[1]! * 2 ** 8 + b[2]! * 2 ** 16 + b[3]! * 2 ** 24
  return Math.floor((word / 2 ** 32) * bound)
}

/** One of `items`, which must not be empty. */
export function randomChoice<T>(random: Random, items: readonly T[]): T {
  return items[randomInteger(random, items.length)]!
}

/** Three words from a text: FNV-1a, continued from one to the next, each finished by a mixer. */
function seedWords(seed: string): [number, number, number] {
  let hash = 0x811c9dc5
  const words = [0, 0, 0].map((_, round) => {
    for (const character of `${round}:${seed}`) {
      hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193)
    }
    let word = hash ^ (hash >>> 16)
    word = Math.imul(word, 0x7feb352d)
    word ^= word >>> 15
    word = Math.imul(word, 0x846ca68b)
    return word ^ (word >>> 16)
  })
  return words as [number, number, number]
}
