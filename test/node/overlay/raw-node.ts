/** A bare libp2p node with the overlay's own settings, for tests of what strangers may do. */
import { systemRandom } from '../../../crypto/random.ts'
import { buildNode } from '../../../node/overlay/libp2p-node.ts'
import type { BuiltNode } from '../../../node/overlay/libp2p-node.ts'
import { Libp2pOverlay } from '../../../node/overlay/libp2p-overlay.ts'
import type { Libp2pOverlayOptions } from '../../../node/overlay/libp2p-overlay.ts'
import { silentLog } from '../../../node/ports.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { sleep } from '../../../protocol/timers.ts'

export function rawNode(): Promise<BuiltNode> {
  return buildNode({
    keySeed: systemRandom.bytes(32),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    mdns: false,
    dht: 'server',
    maxConnections: 100,
    allowPrivate: true,
    peerStorePath: undefined,
    onNeighbour: () => {},
  })
}

export const testOptions: Libp2pOverlayOptions = {
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [],
  mdns: false,
  dht: 'server',
  maxConnections: 100,
  allowPrivate: true,
}

/** An overlay on loopback with a free port. */
export function testOverlay(options: Partial<Libp2pOverlayOptions> = {}): Libp2pOverlay {
  return new Libp2pOverlay(
    { clock: systemClock, random: systemRandom, log: silentLog, keySeed: systemRandom.bytes(32) },
    { ...testOptions, ...options },
  )
}

/** Waits in real time, and keeps the process alive meanwhile. */
export async function until(
  condition: () => boolean,
  options: { withinMs: number, what: string },
): Promise<void> {
  const { withinMs, what } = options
  const endMs = systemClock.monotonicMs() + withinMs
  const keepAlive = setInterval(() => {}, 1_000)
  try {
    while (!condition()) {
      if (systemClock.monotonicMs() > endMs) throw new Error(`${what}: not within ${withinMs} ms`)
      await sleep(systemClock, 5)
    }
  } finally {
    clearInterval(keepAlive)
  }
}
