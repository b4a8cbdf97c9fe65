/**
 * `MailboxStore` over Redis: writes as operations of the commit queue, reads as scripts. What has
 * expired is not shown, also before `expire` ran.
 *
 * Every body is checked against its id when it is read. One that does not fit is deleted, counted
 * and logged (STORE_CORRUPT), never returned: its replicas still have it, and will offer it again.
 */
import { envelopeId } from '../../protocol/envelope.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import type {
  BoxLimits, BoxUsage, DigestRange, MailboxEntry, MailboxItem, MailboxStore, MailMark, PutResult, Tombstone,
} from '../ports.ts'
import { checkBoxLimits, checkTombstone, compareMarks, isInDigest, ownedItem } from './checks.ts'
import type { RedisCommitQueue } from './redis-commit.ts'
import type { RedisArgument } from './redis-link.ts'
import { fromLua, luaNumber } from './redis-scripts.ts'
import { boxArguments, boxId, boxPages, bytesOf, envelope, rawId } from './redis-values.ts'

export interface RedisStoreComponents {
  readonly queue: RedisCommitQueue
  readonly clock: Clock
  /** Told about each damaged body or record that was met. */
  readonly onCorrupt: (what: string) => void
}

/** Looked at in one run of the script: others are not held up for long. */
const expireStep = 500

export class RedisMailbox implements MailboxStore {
  readonly #components: RedisStoreComponents

  constructor(components: RedisStoreComponents) {
    this.#components = components
  }

  async setBox(box: BoxId, bounds: BoxLimits): Promise<void> {
    checkBoxLimits(bounds)
    await this.#components.queue.submit({
      name: 'set_box', args: boxArguments(box, bounds), grows: true, bytes: 256, answer: () => {},
    })
  }

  async dropBox(box: BoxId): Promise<void> {
    await this.#components.queue.submit({
      name: 'drop_box', args: [rawId(box)], grows: false, bytes: 128, answer: () => {},
    })
  }

  async boxes(): Promise<{ box: BoxId, limits: BoxLimits, usage: BoxUsage }[]> {
    return await boxPages(this.#components.queue, 'boxes')
  }

  async usage(): Promise<BoxUsage> {
    const [items, bytes] = await this.#components.queue.read('usage') as (Buffer | null)[]
    return { items: Number(items), bytes: Number(bytes) }
  }

  async put(items: readonly MailboxItem[]): Promise<PutResult[]> {
    const own = items.map(ownedItem)
    return await this.#components.queue.submit({
      name: 'put',
      args: own.flatMap(({ box, id, expiresAtMs, body }) =>
        [rawId(box), rawId(id), luaNumber(expiresAtMs), bytesOf(body)]),
      grows: true,
      bytes: own.reduce((sum, { body }) => sum + body.length + 512, 0),
      answer: (value) => (value as Buffer[]).map((one) => String(one) as PutResult),
    })
  }

  async acknowledge(
    box: BoxId,
    ids: readonly EnvelopeId[],
    tombstone: { expiresAtMs: number, proof: Uint8Array },
  ): Promise<number> {
    checkTombstone(tombstone)
    const { expiresAtMs, proof } = tombstone
    const args = [rawId(box), luaNumber(expiresAtMs), bytesOf(proof.slice()), ...ids.map(rawId)]
    const bytes = ids.length * 512 + proof.length
    return await this.#components.queue.submit({
      name: 'acknowledge', args, grows: false, bytes, answer: Number,
    })
  }

  async expire(nowMs: number, budget: number): Promise<number> {
    let gone = 0
    // Some of what is looked at went with its box before, and counts for nothing.
    while (gone < budget) {
      const step = Math.min(budget - gone, expireStep)
      const [went, seen] = await this.#components.queue.submit({
        name: 'expire',
        args: [luaNumber(nowMs), String(step)],
        grows: false,
        bytes: 1_024,
        answer: (value) => value as [number, number],
      })
      gone += went
      if (seen === 0) break
    }
    return gone
  }

  async list(
    box: BoxId,
    page: { after: number, itemsMax: number, bytesMax: number },
  ): Promise<{ entries: MailboxEntry[], more: boolean }> {
    let { after } = page
    for (;;) {
      const bounds = [after, page.itemsMax, page.bytesMax].map(luaNumber)
      const reply = await this.#components.queue.read('list', rawId(box), ...bounds)
      const [more, rows] = reply as [number, [Buffer, Buffer, Buffer, Buffer][]]
      const entries = rows.flatMap(([id, position, ends, body]) => {
        const expiresAtMs = fromLua(String(ends))
        return this.#sound({ box, id: envelope(id), position: Number(position), expiresAtMs, body })
      })
      // All of a page may be damaged; the caller must still get on.
      if (entries.length > 0 || more === 0) return { entries, more: more === 1 }
      after = Number(rows.at(-1)![1])
    }
  }

  async get(box: BoxId, id: EnvelopeId): Promise<MailboxEntry | undefined> {
    const reply = await this.#components.queue.read('get', rawId(box), rawId(id))
    if (reply === null) return undefined
    const [position, ends, body] = reply as [Buffer, Buffer, Buffer]
    return this.#sound({ box, id, position: Number(position), expiresAtMs: fromLua(String(ends)), body })[0]
  }

  async tombstone(box: BoxId, id: EnvelopeId): Promise<Uint8Array | undefined> {
    const reply = await this.#components.queue.read('tombstone', rawId(box), rawId(id))
    return reply === null ? undefined : new Uint8Array(reply as Buffer)
  }

  async tombstones(box: BoxId, page: { after?: EnvelopeId, limit: number }): Promise<Tombstone[]> {
    const { after, limit } = page
    const low = after === undefined ? '-' : Buffer.concat([Buffer.from('('), rawId(after)])
    const reply = await this.#components.queue.read('tombstones', rawId(box), low, luaNumber(limit))
    return (reply as [Buffer, Buffer, Buffer][]).map(([id, ends, proof]) =>
      ({ id: envelope(id), expiresAtMs: fromLua(String(ends)), proof: new Uint8Array(proof) }))
  }

  async *digest(range: DigestRange): AsyncGenerator<MailMark[]> {
    let from: string = luaNumber(Math.max(0, range.fromMs))
    const before = luaNumber(range.beforeMs)
    let last: RedisArgument = ''
    let newest: MailMark | undefined
    for (;;) {
      const count = String(limits.digestPageMarks)
      const reply = await this.#components.queue.read('digest', from, before, last, count)
      const [member, ends, rows] = reply as [Buffer, Buffer, [Buffer, Buffer, Buffer][]]
      const marks = rows
        .map(([id, box, time]) => ({ box: boxId(box), id: envelope(id), expiresAtMs: fromLua(String(time)) }))
        .filter((mark) => isInDigest(mark, range) && (newest === undefined || compareMarks(mark, newest) > 0))
      if (marks.length > 0) yield marks
      newest = marks.at(-1) ?? newest
      if (member.length === 0) return
      last = member
      from = String(ends)
    }
  }

  /** The entry, or nothing when its body is not the one of its id. */
  #sound(entry: Omit<MailboxEntry, 'body'> & { body: Buffer }): MailboxEntry[] {
    const { box, id, position } = entry
    const body = new Uint8Array(entry.body)
    if (envelopeId(body) === id) return [{ ...entry, body }]
    this.#components.onCorrupt(`${box} ${id}`)
    const args = [rawId(box), rawId(id), String(position)]
    // Not awaited: whoever reads goes on; a failure here is met again by the next reader.
    this.#components.queue.submit({ name: 'damaged', args, grows: false, bytes: 256, answer: () => {} })
      .catch(() => {})
    return []
  }
}
