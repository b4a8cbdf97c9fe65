/**
 * Archives of messages (XEP-0313), one per owner (an account or a room), over the key-value store.
 *
 * ```text
 *   mam/OWNER/ID             when, the other end, the message as text
 *   mam-with/OWNER/HASH/ID   empty: the same ids by the other end's bare JID
 *   ID = 12 hex digits of milliseconds, 4 of a counter: ordered by arrival, unique, never reused
 * ```
 *
 * `operations` gives what belongs to one message, so that it is written in one batch with whatever
 * else must not be told apart from it (offline marks, cursors), in the group commit of all.
 */
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvEntry, KvOperation, KvStore } from '../../../protocol/ports.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { XmlElement } from '../xml/element.ts'
import { readElement } from '../xml/text.ts'
import { writeElement } from '../xml/writer.ts'

export interface ArchiveEntry {
  readonly id: string
  readonly atMs: number
  readonly message: XmlElement
}

export interface ArchiveFilter {
  /** Inclusive, milliseconds. */
  readonly startMs?: number
  readonly endMs?: number
  /** Bare: with any of their devices; full: with that one. */
  readonly with?: Jid
  readonly ids?: readonly string[]
  /** Exclusive ids, without a place in the paging. */
  readonly beforeId?: string
  readonly afterId?: string
}

export interface ArchivePaging {
  readonly max: number
  /** Exclusive ids; `before` empty: the last page. */
  readonly after?: string
  readonly before?: string
}

export interface ArchivePage {
  /** Oldest first. */
  readonly entries: readonly ArchiveEntry[]
  /** Nothing follows in the direction of the paging. */
  readonly isComplete: boolean
}

/** Ids between two, exclusive, in the order of the paging. */
interface IdSpan {
  readonly low: string | undefined
  readonly high: string | undefined
  readonly isBackward: boolean
}

const counterMax = 0xffff
const scanPage = 200

export class Archive {
  readonly #kv: KvStore
  readonly #clock: Clock
  /** The last id of each owner that wrote since the start. */
  readonly #last = new Map<string, { atMs: number, counter: number }>()

  constructor({ kv, clock }: { kv: KvStore, clock: Clock }) {
    this.#kv = kv
    this.#clock = clock
  }

  /** Learns the last id of an owner, before the first `nextId`: the clock may have gone back since. */
  async load(owner: string): Promise<void> {
    const prefix = `mam/${owner}/`
    const [last] = await this.#kv.list({ prefix, limit: 1, reverse: true })
    const id = last?.key.slice(prefix.length)
    if (id === undefined || !isId(id) || this.#last.has(owner)) return
    const atMs = archivedAtMs(id)
    this.#last.set(owner, { atMs, counter: Number.parseInt(id.slice(12), 16) })
  }

  /** Above all earlier ones of this owner, also when the clock goes back. */
  nextId(owner: string): string {
    const nowMs = this.#clock.now()
    const last = this.#last.get(owner)
    const next = last === undefined || nowMs > last.atMs
      ? { atMs: nowMs, counter: 0 }
      : last.counter === counterMax ? { atMs: last.atMs + 1, counter: 0 } : {
        atMs: last.atMs, counter: last.counter + 1,
      }
    this.#last.delete(owner)
    this.#last.set(owner, next)
    if (this.#last.size > xmppLimits.accountsLoadedMax * 2) this.#last.delete(this.#last.keys().next().value!)
    return idOf(next.atMs, next.counter)
  }

  /** `peer`: the other end. */
  operations(
    owner: string, { id, peer, message }: { id: string, peer: Jid, message: XmlElement },
  ): KvOperation[] {
    return [
      { type: 'put', key: `mam/${owner}/${id}`, value: utf8(writeElement(message)) },
      { type: 'put', key: `${withPrefix(owner, peer)}${id}`, value: new Uint8Array(0) },
    ]
  }

  async query(owner: string, filter: ArchiveFilter, paging: ArchivePaging): Promise<ArchivePage> {
    const isBackward = paging.before !== undefined
    const low = highest([lowOf(filter.startMs), filter.afterId, isBackward ? undefined : paging.after])
    const high = lowest(
      [highOf(filter.endMs), filter.beforeId, paging.before === '' ? undefined : paging.before],
    )
    const found: ArchiveEntry[] = []
    let isComplete = true
    const span: IdSpan = { low, high, isBackward }
    const ids = filter.ids === undefined ? this.#ids(owner, filter, span) : among(filter.ids, span)
    for await (const id of ids) {
      const entry = await this.#read(owner, id, filter)
      if (entry === undefined) continue
      if (found.length === paging.max) {
        isComplete = false
        break
      }
      found.push(entry)
    }
    return { entries: isBackward ? found.reverse() : found, isComplete }
  }

  async has(owner: string, id: string): Promise<boolean> {
    return isId(id) && await this.#kv.get(`mam/${owner}/${id}`) !== undefined
  }

  async find(owner: string, id: string): Promise<XmlElement | undefined> {
    return (await this.#read(owner, id, {}))?.message
  }

  /** XEP-0313 §4.1.2: the first and the last. */
  async ends(owner: string): Promise<{
    readonly first: ArchiveEntry, readonly last: ArchiveEntry,
  } | undefined> {
    const prefix = `mam/${owner}/`
    const [first] = await this.#kv.list({ prefix, limit: 1 })
    const [last] = await this.#kv.list({ prefix, limit: 1, reverse: true })
    if (first === undefined || last === undefined) return undefined
    const ends = [first, last].map((entry) => entryOf(entry, prefix))
    return ends[0] === undefined || ends[1] === undefined ? undefined : { first: ends[0], last: ends[1] }
  }

  /** Everybody who has an archive. */
  async *owners(): AsyncGenerator<string> {
    let after: string | undefined
    for (;;) {
      const [entry] = await this.#kv.list({
        prefix: 'mam/', limit: 1, ...after === undefined ? {} : { after },
      })
      const owner = entry?.key.split('/')[1]
      if (owner === undefined) return
      yield owner
      // Above all ids, which are hex digits.
      after = `mam/${owner}/g`
    }
  }

  /** Entries before a time go, at most `budget` of them, and none of `spared`; gives how many went. */
  async expire(
    owner: string,
    { beforeMs, budget, spared = new Set() }: {
      readonly beforeMs: number, readonly budget: number, readonly spared?: ReadonlySet<string>,
    },
  ): Promise<number> {
    const prefix = `mam/${owner}/`
    const limit = idOf(Math.max(0, beforeMs), 0)
    const old: KvEntry[] = []
    for await (const row of kvEntries(this.#kv, prefix)) {
      const id = row.key.slice(prefix.length)
      if (id >= limit || old.length === budget) break
      if (!spared.has(id)) old.push(row)
    }
    if (old.length === 0) return 0
    const operations = old.flatMap((row): KvOperation[] => {
      const message = readElement(utf8Decode(row.value))
      const id = row.key.slice(prefix.length)
      const ends = [message?.attrs.from, message?.attrs.to]
        .map((end) => end === undefined ? undefined : Jid.parse(end))
        .filter((jid) => jid !== undefined)
      return [
        { type: 'delete', key: row.key },
        ...ends.map((jid): KvOperation => ({ type: 'delete', key: `${withPrefix(owner, jid)}${id}` })),
      ]
    })
    await this.#kv.write(operations)
    return old.length
  }

  /** Between the two, exclusive, in the wanted order. */
  async *#ids(
    owner: string, filter: ArchiveFilter, { low, high, isBackward }: IdSpan,
  ): AsyncGenerator<string> {
    const prefix = filter.with === undefined ? `mam/${owner}/` : withPrefix(owner, filter.with)
    const begin = isBackward ? high : low
    const end = isBackward ? low : high
    let after = begin === undefined ? undefined : `${prefix}${begin}`
    for (;;) {
      const rows = await this.#kv.list({
        prefix, limit: scanPage, reverse: isBackward, ...after === undefined ? {} : { after },
      })
      for (const { key } of rows) {
        const id = key.slice(prefix.length)
        if (end !== undefined && (isBackward ? id <= end : id >= end)) return
        yield id
      }
      if (rows.length < scanPage) return
      after = rows.at(-1)!.key
    }
  }

  async #read(
    owner: string, id: string, { with: peer, ids }: ArchiveFilter,
  ): Promise<ArchiveEntry | undefined> {
    if (!isId(id)) return undefined
    const prefix = `mam/${owner}/`
    const row = await this.#kv.get(`${prefix}${id}`)
    const entry = row === undefined ? undefined : entryOf(row, prefix)
    if (entry === undefined || peer === undefined) return entry
    // Ids that came by the index of `peer` need no second look there.
    const isNamed = ids !== undefined
    if (isNamed && await this.#kv.get(`${withPrefix(owner, peer)}${id}`) === undefined) return undefined
    if (peer.isBare) return entry
    const { from = '', to = '' } = entry.message.attrs
    // As they were written by their servers, so both are prepared before they are compared.
    return [from, to].some((end) => Jid.parse(end)?.equals(peer) === true) ? entry : undefined
  }
}

function entryOf({ key, value }: KvEntry, prefix: string): ArchiveEntry | undefined {
  const id = key.slice(prefix.length)
  const message = readElement(utf8Decode(value))
  return message === undefined ? undefined : { id, atMs: archivedAtMs(id), message }
}

/** When an entry got its id, milliseconds. */
export function archivedAtMs(id: string): number {
  return Number.parseInt(id.slice(0, 12), 16)
}

function isId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text)
}

function idOf(atMs: number, counter: number): string {
  return atMs.toString(16).padStart(12, '0') + counter.toString(16).padStart(4, '0')
}

/** Those of `ids` that lie in the span, each once. */
function among(ids: readonly string[], { low, high, isBackward }: IdSpan): string[] {
  const inside = [...new Set(ids)]
    .filter((id) => (low === undefined || id > low) && (high === undefined || id < high))
    .sort()
  return isBackward ? inside.reverse() : inside
}

/** Exclusive bounds around an inclusive time. */
function lowOf(startMs: number | undefined): string | undefined {
  return startMs === undefined || startMs <= 0 ? undefined : idOf(startMs - 1, counterMax)
}

function highOf(endMs: number | undefined): string | undefined {
  return endMs === undefined ? undefined : idOf(Math.max(0, endMs) + 1, 0)
}

function highest(ids: readonly (string | undefined)[]): string | undefined {
  return ids.filter((id) => id !== undefined).sort().at(-1)
}

function lowest(ids: readonly (string | undefined)[]): string | undefined {
  return ids.filter((id) => id !== undefined).sort()[0]
}

/** By bare JID, of those who write often. */
const hashes = new Map<string, string>()

function withPrefix(owner: string, peer: Jid): string {
  const { bare } = peer
  let hash = hashes.get(bare)
  if (hash === undefined) {
    hash = crypto.sha256Hex(utf8(bare)).slice(0, 24)
    if (hashes.size >= xmppLimits.archivePeersKept) hashes.delete(hashes.keys().next().value!)
    hashes.set(bare, hash)
  }
  return `mam-with/${owner}/${hash}/`
}
