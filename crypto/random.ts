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

/** The platform's cryptographic generator: Node 24 and browsers alike. */
export const systemRandom: Random = {
  bytes(length) {
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
