/**
 * Messages that no device of an account has for certain yet (XEP-0160). Each is written down with
 * its place in the archive before it is delivered to anybody, and struck off when a client confirmed
 * it; so a cut connection, a crash of ours or a phone that never comes back loses nothing.
 *
 * ```text
 *   offline/ACCOUNT/ID      empty: the archive has the message; else its text. ID is its
 *                           archive id, which is ordered by time
 * ```
 */
import { utf8Decode, utf8 } from '../../../crypto/bytes.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvOperation, KvStore, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { XmlElement } from '../xml/element.ts'
import type { MessageArchive } from './message-archive.ts'
import { readElement, writeElement } from '../xml/text.ts'

/** Confirmations are written together: one lost in a crash only means that a message comes again. */
const strikeDelayMs = 250
const strikesAtOnce = 500

export interface WaitingMessage {
  readonly id: string
  readonly message: XmlElement
}

export class OfflineMessages {
  readonly #kv: KvStore
  readonly #clock: Clock
  readonly #find: (account: string, id: string) => Promise<XmlElement | undefined>
  readonly #onError: (error: unknown) => void
  /** Confirmed and not deleted yet; `#going` are being deleted. */
  #strikes = new Set<string>()
  #going = new Set<string>()
  #timer: Timer | undefined
  /** Messages that wait, by account, of those that were asked for. */
  readonly #counts = new Map<string, Promise<{ value: number }>>()

  constructor(components: {
    kv: KvStore, clock: Clock, archive: Pick<MessageArchive, 'find'>, onError: (error: unknown) => void,
  }) {
    this.#kv = components.kv
    this.#clock = components.clock
    this.#find = (account, id) => components.archive.find(account, id)
    this.#onError = components.onError
  }

  /** To be written with the archive entry, at once; `message`: where there is no such entry. */
  operation(
    account: string, { id, message }: { readonly id: string, readonly message?: XmlElement },
  ): KvOperation {
    void this.#counts.get(account)?.then((count) => { count.value++ })
    const value = message === undefined ? new Uint8Array(0) : utf8(writeElement(message))
    return { type: 'put', key: keyOf(account, id), value }
  }

  /** A client has it. */
  strike(account: string, id: string): void {
    const key = keyOf(account, id)
    if (this.#strikes.has(key) || this.#going.has(key)) return
    this.#strikes.add(key)
    void this.#counts.get(account)?.then((count) => { count.value = Math.max(0, count.value - 1) })
    if (this.#strikes.size >= strikesAtOnce) void this.flush()
    else this.#timer ??= this.#clock.after(strikeDelayMs, () => void this.flush())
  }

  /** Oldest first. */
  async *waiting(account: string): AsyncGenerator<WaitingMessage> {
    const prefix = `offline/${account}/`
    for await (const { key, value } of kvEntries(this.#kv, prefix)) {
      if (this.#strikes.has(key) || this.#going.has(key)) continue
      const id = key.slice(prefix.length)
      const message = value.length === 0 ? await this.#find(account, id) : readElement(utf8Decode(value))
      if (message === undefined) this.strike(account, id)
      else yield { id, message }
    }
  }

  /** Messages that wait: read once, then counted. */
  async count(account: string): Promise<number> {
    let count = this.#counts.get(account)
    if (count === undefined) {
      const prefix = `offline/${account}/`
      count = this.#kv.list(
        { prefix, limit: xmppLimits.offlineMessagesMax },
      ).then((rows) => ({ value: rows.length }))
      this.#counts.set(account, count)
      count.catch(() => this.#counts.delete(account))
    }
    return (await count).value
  }

  async flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    const keys = this.#strikes
    if (keys.size === 0) return
    this.#strikes = new Set()
    for (const key of keys) this.#going.add(key)
    try {
      await this.#kv.write([...keys].map((key): KvOperation => ({ type: 'delete', key })))
    } catch (error) {
      // They come once more.
      this.#onError(error)
    } finally {
      for (const key of keys) this.#going.delete(key)
    }
  }
}

function keyOf(account: string, id: string): string {
  return `offline/${account}/${id}`
}
