/**
 * An overlay in a process of its own, for tests that freeze a process or measure its memory. Driven
 * over IPC: it sends `{ nodeId, addresses }` first, then answers `hold`, `release` and `report`.
 *
 * `echo` answers at once. `deposit` counts what it was given and, while held, answers nobody: a
 * node that does not read on.
 */
import { services } from '../../../protocol/service/codes.ts'
import { testOverlay } from './raw-node.ts'

export interface ChildReport {
  readonly rss: number
  readonly rssPeak: number
  /** Different numbers seen in the first four bytes of a body, and bodies in all. */
  readonly distinct: number
  readonly taken: number
}

const unlimited = { calls: { perSecond: 1e9, burst: 1e9 }, bytes: { perSecond: 1e12, burst: 1e12 } }
const sampleEveryMs = 10

async function main(): Promise<void> {
  const overlay = testOverlay({ rates: unlimited })
  const numbers = new Set<number>()
  let taken = 0
  let rssPeak = 0
  let gate: PromiseWithResolvers<void> | undefined
  overlay.handle(services.echo, async (_from, body) => ({ ok: true, value: body }))
  overlay.handle(services.deposit, async (_from, body) => {
    await gate?.promise
    taken++
    numbers.add(new DataView(body.buffer, body.byteOffset).getUint32(0))
    return { ok: true, value: new Uint8Array(0) }
  })
  await overlay.start()
  setInterval(() => { rssPeak = Math.max(rssPeak, process.memoryUsage.rss()) }, sampleEveryMs)
  process.on('disconnect', () => process.exit())
  process.on('message', (command: 'hold' | 'release' | 'report') => {
    if (command === 'hold') gate = Promise.withResolvers()
    else if (command === 'release') {
      gate?.resolve()
      gate = undefined
    } else {
      globalThis.gc?.()
      const rss = process.memoryUsage.rss()
      const report: ChildReport = { rss, rssPeak: Math.max(rss, rssPeak), distinct: numbers.size, taken }
      process.send!(report)
      rssPeak = 0
      return
    }
    process.send!(command)
  })
  process.send!({ nodeId: overlay.nodeId, addresses: overlay.addresses() })
}

if (process.send !== undefined) await main()
