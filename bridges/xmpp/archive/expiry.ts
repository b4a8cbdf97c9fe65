/**
 * Archives lose what is older than the operator wants kept, a bounded number of messages at a time;
 * but nothing that still waits for a device (host/offline.ts), whose text stands in the archive alone.
 */
import type { Random } from '../../../crypto/random.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { Repeater } from '../../../protocol/timers.ts'
import { xmppLimits } from '../limits.ts'
import type { Archive } from './archive.ts'

const dayMs = 86_400_000

export interface ArchiveExpiryComponents {
  readonly archive: Archive
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly onError: (error: unknown) => void
}

export class ArchiveExpiry {
  readonly #components: ArchiveExpiryComponents
  readonly #days: number
  readonly #repeater: Repeater

  constructor(components: ArchiveExpiryComponents, { days }: { readonly days: number }) {
    this.#components = components
    this.#days = days
    this.#repeater = new Repeater(components, async () => { await this.run() }, {
      everyMs: xmppLimits.archiveExpiryEveryMs, onError: components.onError,
    })
  }

  start(): void {
    this.#repeater.start()
  }

  async stop(): Promise<void> {
    await this.#repeater.stop()
  }

  /** Gives how many messages went. What is left over goes the next time. */
  async run(): Promise<number> {
    const { archive, kv, clock } = this.#components
    const beforeMs = clock.now() - this.#days * dayMs
    let gone = 0
    for await (const owner of archive.owners()) {
      const prefix = `offline/${owner}/`
      const spared = new Set<string>()
      for await (const { key } of kvEntries(kv, prefix)) spared.add(key.slice(prefix.length))
      for (;;) {
        const budget = Math.min(xmppLimits.archiveExpiryStep, xmppLimits.archiveExpiryMax - gone)
        const step = await archive.expire(owner, { beforeMs, budget, spared })
        gone += step
        if (gone >= xmppLimits.archiveExpiryMax) return gone
        if (step < budget) break
      }
    }
    return gone
  }
}
