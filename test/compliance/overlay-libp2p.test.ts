/** The libp2p overlay against the suite: real nodes and sockets on loopback. */
import { libp2pTimeoutMs, suite } from '../helpers/harness.ts'
import { systemRandom } from '../../crypto/random.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { sleep } from '../../protocol/timers.ts'
import type { DhtMode } from '../../node/overlay/libp2p-node.ts'
import { Libp2pOverlay } from '../../node/overlay/libp2p-overlay.ts'
import { silentLog } from '../../node/ports.ts'
import type { Overlay } from '../../node/ports.ts'
import { overlaySuite } from './overlay-suite.ts'
import type { NetworkOptions, OverlayNetwork } from './overlay-suite.ts'

const test = suite('compliance/overlay-libp2p', { timeoutMs: 60_000, leakGraceMs: libp2pTimeoutMs })

const pollMs = 5
const untilMs = 15_000

function create(): OverlayNetwork {
  const seeds = new Map<Overlay, Uint8Array>()

  const make = (keySeed: Uint8Array, own: { bootstrap: string[], dht: DhtMode }, options: NetworkOptions) => {
    const { rates } = options
    const node = new Libp2pOverlay({ clock: systemClock, random: systemRandom, log: silentLog, keySeed }, {
      listen: ['/ip4/127.0.0.1/tcp/0'],
      mdns: false,
      maxConnections: 100,
      allowPrivate: true,
      ...own,
      ...(rates === undefined ? {} : { rates }),
    })
    seeds.set(node, keySeed)
    return node
  }

  const until = async (condition: () => boolean): Promise<void> => {
    const endMs = systemClock.monotonicMs() + untilMs
    while (!condition()) {
      if (systemClock.monotonicMs() > endMs) throw new Error('it never became true')
      await sleepAwake(pollMs)
    }
  }

  return {
    until,
    run: (promise) => promise,
    nowMs: () => systemClock.monotonicMs(),
    async nodes(count, options = {}) {
      const star = options.topology === 'star'
      const nodes: Libp2pOverlay[] = []
      for (let i = 0; i < count; i++) {
        const first = nodes[0]?.addresses() ?? []
        const node = make(systemRandom.bytes(32), {
          bootstrap: star ? [] : first,
          dht: star && i > 0 ? 'home' : 'server',
        }, options)
        options.setUp?.(node, i)
        await node.start()
        // Not left to discovery, which may take a round of kad-dht's table refresh.
        for (const other of star ? nodes.slice(0, 1) : nodes) {
          await node.dial(other.addresses()[0]!, { timeoutMs: 15_000 })
        }
        nodes.push(node)
      }
      const linksOf = (i: number): number => (!star || i === 0 ? count - 1 : 1)
      await until(() => nodes.every((node, i) => node.peers().length === linksOf(i)))
      return nodes
    },
    reborn: (overlay, options = {}) => make(seeds.get(overlay)!, { bootstrap: [], dht: 'server' }, options),
    async close() {
      await Promise.all([...seeds.keys()].map((node) => node.stop()))
    },
  }
}

/** The clock's own timers do not keep the process alive. */
async function sleepAwake(ms: number): Promise<void> {
  const keepAlive = setInterval(() => {}, ms)
  await sleep(systemClock, ms)
  clearInterval(keepAlive)
}

overlaySuite(test, create)

test.run()
