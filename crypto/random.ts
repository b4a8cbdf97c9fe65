/**
 * The `Random` port: every random byte of openIM comes through it, so that a whole network of
 * nodes can run from one seed. `systemRandom` is the one home of the platform's generator.
 *
 * Alternatives weighed: a global that tests patch. Refused: two simulated nodes in one process
 * need different, reproducible streams.
 */

export interface Random {
  /** `length` fresh random bytes, owned by the caller. */
  bytes(length: number): Uint8Array
}

/** `getRandomValues` refuses more than this in one call (Web Cryptography API §10.1.1). */
const platformBytesMax = 65_536

/**
 * Draws shorter than a key (nonces, salts, ids) are cut from one of this many bytes: a call into the
 * platform costs 2 µs however little it draws, and a message needs one. Keys are never cut from it,
 * so what lies in memory tells no key to come.
 */
const stockBytes = 4_096
const stockDrawBytesMax = 31
let stock = new Uint8Array(0)
let stockUsed = 0

function fromStock(length: number): Uint8Array {
  if (stockUsed + length > stock.length) {
    stock = globalThis.crypto.getRandomValues(new Uint8Array(stockBytes))
    stockUsed = 0
  }
  const end = stockUsed + length
  const out = stock.slice(stockUsed, end)
  stock.fill(0, stockUsed, end)
  stockUsed = end
  return out
}

/** The platform's cryptographic generator: Node 24 and browsers alike. */
export const systemRandom: Random = {
  bytes(length) {
    if (length <= stockDrawBytesMax) return fromStock(length)
    const out = new Uint8Array(length)
    for (let at = 0; at < length; at += platformBytesMax) {
      globalThis.crypto.getRandomValues(out.subarray(at, at + platformBytesMax))
    }
    return out
  },
}

/** Uniform in [0, 1), with 48 bits. For jitter and sampling, never for keys. */
export function randomFraction(random: Random): number {
  const b = random.bytes(6)
  let value = 0
  for (const byte of b) value = value * 256 + byte
  return value / 2 ** 48
}

/** `baseMs` ± `spread` (a fraction of it): spreads periodic work of many nodes over time. */
export function jittered(random: Random, baseMs: number, spread: number): number {
  return Math.round(baseMs * (1 + spread * (2 * randomFraction(random) - 1)))
}
