/** The in-memory overlay against the suite, in virtual time. */
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import { MemoryNetwork } from '../../node/overlay/memory-network.ts'
import { MemoryOverlay } from '../../node/overlay/memory-overlay.ts'
import type { Overlay } from '../../node/ports.ts'
import { overlaySuite } from './overlay-suite.ts'
import type { NetworkOptions, OverlayNetwork } from './overlay-suite.ts'

const test = suite('compliance/overlay-memory')

const stepMs = 10
const untilMs = 60_000

function create(): OverlayNetwork {
  const clock = new VirtualClock()
  const random = seededRandom('overlay-memory')
  const network = new MemoryNetwork({ clock, random }, { latencyMs: [5, 40] })
  const started: Overlay[] = []

  const run = <T>(promise: Promise<T>): Promise<T> => clock.until(promise, { withinMs: untilMs })
  const until = async (condition: () => boolean): Promise<void> => {
    for (let passedMs = 0; !condition(); passedMs += stepMs) {
      if (passedMs > untilMs) throw new Error('it never became true')
      await clock.advance(stepMs)
    }
  }

  return {
    run,
    until,
    nowMs: () => clock.monotonicMs(),
    async nodes(count, { topology = 'mesh', rates, setUp }: NetworkOptions = {}) {
      const nodes: MemoryOverlay[] = []
      for (let i = 0; i < count; i++) {
        const nodeId = nodeIdFromKey(random.bytes(32))
        const bootstrap = i > 0 && topology === 'mesh' ? nodes[0]!.addresses() : []
        const limited = rates === undefined ? {} : { rates }
        const node = new MemoryOverlay({ network, nodeId }, { bootstrap, ...limited })
        setUp?.(node, i)
        await node.start()
        nodes.push(node)
        started.push(node)
        const [hub] = nodes[0]!.addresses() as [string]
        if (i > 0 && topology === 'star') await run(node.dial(hub, { timeoutMs: 1_000 }))
      }
      const linksOf = (i: number): number => (topology === 'mesh' || i === 0 ? count - 1 : 1)
      await until(() => nodes.every((node, i) => node.peers().length === linksOf(i)))
      return nodes
    },
    reborn(overlay) {
      const again = new MemoryOverlay({ network, nodeId: overlay.nodeId }, { bootstrap: [] })
      started.push(again)
      return again
    },
    async close() {
      for (const node of started) await node.stop()
      await clock.settle()
    },
  }
}

overlaySuite(test, create)

test.run()
