/**
 * Stanzas to other domains that wait or are not acknowledged, in the store, so that a crash of ours
 * loses none:
 *
 * ```text
 *   xmpp/s2s/out/0000000000000042  →  milliseconds since 1970 when it was taken, LF, the stanza
 * ```
 *
 * Numbers are of all domains together: the order in which they were taken. One write at a time carries
 * whatever came meanwhile, puts and deletes alike.
 */
import type { Clock, KvOperation, KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { XmlElement } from '../xml/element.ts'
import { readElement, writeElement } from '../xml/text.ts'

const prefix = 'xmpp/s2s/out/'
const pageEntries = 200
/** Of the store. */
const valueBytesMax = 1024 * 1024

export interface Queued {
  readonly key: string
  readonly stanza: XmlElement
  readonly atMs: number
  readonly bytes: number
}

interface Waiting {
  readonly operation: KvOperation
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class S2sOutbox {
  readonly #kv: KvStore
  readonly #clock: Clock
  #next = 1
  #count = 0
  #bytes = 0
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined

  constructor({ kv, clock }: { readonly kv: KvStore, readonly clock: Clock }) {
    this.#kv = kv
    this.#clock = clock
  }

  get count(): number {
    return this.#count
  }

  /** What an earlier process left, in order. What cannot be read is dropped: it was never ours. */
  async load(): Promise<Queued[]> {
    const found: Queued[] = []
    for (let after = prefix; ;) {
      const page = await this.#kv.list({ prefix, after, limit: pageEntries })
      for (const { key, value } of page) {
        this.#next = Math.max(this.#next, Number(key.slice(prefix.length)) + 1)
        const text = new TextDecoder().decode(value)
        const line = text.indexOf('\n')
        const atMs = Number(text.slice(0, line))
        const stanza = readElement(text.slice(line + 1))
        if (stanza === undefined) void this.#write({ type: 'delete', key }).catch(() => {})
        else found.push(this.#counted({ key, stanza, atMs, bytes: value.length }))
      }
      if (page.length < pageEntries) return found
      after = page.at(-1)!.key
    }
  }

  /**
   * Settles when it is durable; `full` and `too-large` take nothing.
   * @throws what the store throws
   */
  async add(stanza: XmlElement): Promise<Queued | 'full' | 'too-large'> {
    const atMs = this.#clock.now()
    const value = new TextEncoder().encode(`${atMs}\n${writeElement(stanza)}`)
    if (value.length > valueBytesMax) return 'too-large'
    const { s2sQueueTotalMax, s2sQueueBytesMax } = xmppLimits
    if (this.#count >= s2sQueueTotalMax || this.#bytes + value.length > s2sQueueBytesMax) return 'full'
    const key = prefix + String(this.#next++).padStart(16, '0')
    const queued = this.#counted({ key, stanza, atMs, bytes: value.length })
    try {
      await this.#write({ type: 'put', key, value })
      return queued
    } catch (error) {
      this.#uncount(queued)
      throw error
    }
  }

  /** It arrived, or went back to its sender. A crash before it is written sends it again. */
  done(queued: Queued): void {
    this.#uncount(queued)
    // The store says so itself when it fails; the record is looked at again at the next start.
    this.#write({ type: 'delete', key: queued.key }).catch(() => {})
  }

  /** Settles when nothing waits to be written. */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
  }

  #write(operation: KvOperation): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ operation, resolve, reject })
    this.#writing ??= this.#writeAll().finally(() => { this.#writing = undefined })
    return promise
  }

  async #writeAll(): Promise<void> {
    // What else this turn of the event loop brings goes with it.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#kv.write(batch.map(({ operation }) => operation))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
  }

  #counted(queued: Queued): Queued {
    this.#count++
    this.#bytes += queued.bytes
    return queued
  }

  #uncount({ bytes }: Queued): void {
    this.#count--
    this.#bytes -= bytes
  }
}
