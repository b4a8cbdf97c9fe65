/**
 * The model (session-world.ts) for a long time: two and three parties, with and without devices
 * that go back to older disks, one world after the other; and what all of it holds in memory.
 */
import { systemRandom } from '../../../crypto/random.ts'
import { heldBytes } from '../../fuzz/allocation.ts'
import { SessionWorld, storedBytesMax } from './session-world.ts'
import type { SessionCounts } from './session-world.ts'

export interface Soak {
  readonly sent: number
  readonly read: number
  readonly reported: number
  readonly lost: number
  readonly duplicates: number
  readonly altered: number
  readonly crashes: number
  readonly restores: number
  readonly handshakes: number
  readonly repairs: number
  /** Of the largest stored session of any pair. */
  readonly storedBytes: number
  /** Most that one world held at the end of a slice, over what the process held before it. */
  readonly heldBytes: number
}

const slicesEach = 10
export const worlds = [
  { parties: 2, restores: false }, { parties: 3, restores: false },
  { parties: 2, restores: true }, { parties: 3, restores: true },
] as const

/** A world of six devices with their backups, twins and packets. Not of the number of messages. */
export const heldBytesMax = 48 * 2 ** 20

/** @throws on the first difference between sessions and twin, and above the limits of memory */
export function soak(options: {
  seed: string
  /** In all worlds together. */
  messages: number
  say?: (line: string) => void
}): Soak {
  const { seed, messages, say } = options
  const all: SessionCounts[] = []
  let [storedBytes, held] = [0, 0]
  for (const kind of worlds) {
    const before = heldBytes()
    const name = `${kind.parties} parties${kind.restores ? ' with restores' : ''}`
    const world = new SessionWorld({ ...kind, seed: `${seed}, ${name}`, keyRandom: systemRandom })
    for (let slice = 0; slice < slicesEach; slice++) {
      world.run(messages / worlds.length / slicesEach)
      const now = heldBytes() - before
      held = Math.max(held, now)
      say?.(`${name}: ${world.counts.sent} sent, ${world.counts.read} read, ${world.reportedCount} reported, `
        + `${(now / 2 ** 20).toFixed(1)} MiB held`)
    }
    world.finish()
    if (!kind.restores && world.reportedCount > 0) {
      throw new Error(`without a restore something could not be read: ${JSON.stringify(world.counts)}`)
    }
    storedBytes = Math.max(storedBytes, world.bytesMax)
    all.push(world.counts)
  }
  if (storedBytes > storedBytesMax) throw new Error(`a stored session of ${storedBytes} bytes`)
  if (held > heldBytesMax) throw new Error(`${held} bytes are held, the limit is ${heldBytesMax}`)
  const sum = (of: (counts: SessionCounts) => number): number =>
    all.reduce((total, counts) => total + of(counts), 0)
  return {
    sent: sum((counts) => counts.sent),
    read: sum((counts) => counts.read),
    reported: sum(({ reported }) => Object.values(reported).reduce((total, count) => total + count, 0)),
    lost: sum((counts) => counts.lost),
    duplicates: sum((counts) => counts.duplicates),
    altered: sum((counts) => counts.altered),
    crashes: sum((counts) => counts.crashes),
    restores: sum((counts) => counts.restores),
    handshakes: sum((counts) => counts.handshakes),
    repairs: sum((counts) => counts.repairs),
    storedBytes,
    heldBytes: held,
  }
}
