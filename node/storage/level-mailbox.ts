/**
 * `MailboxStore` over the rows of level-rows.ts: writes as operations of the commit queue, reads
 * on a snapshot of what is committed. What has expired is not shown, also before `expire` ran.
 *
 * Every body is checked against its id when it is read. One that does not fit is deleted, counted
 * and logged (STORE_CORRUPT), never returned: its replicas still have it, and will offer it again.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { envelopeId } from '../../protocol/envelope.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import type {
  BoxLimits, BoxUsage, DigestRange, MailboxEntry, MailboxItem, MailboxStore, MailMark, PutResult, Tombstone,
} from '../ports.ts'
import { checkBoxLimits, checkTombstone, compareMarks, isInDigest, ownedItem } from './checks.ts'
import type { CommitQueue } from './level-commit.ts'
import type { LevelDatabase, LevelHandle } from './level-database.ts'
import type { CorruptionListener } from './level-draft.ts'
import {
  acknowledgeAll, dropDamaged, expireOperation, putOne, setBoxOperation, slotKeys, sweepOperation,
} from './level-mail-operations.ts'
import {
  afterAll, decodeRow, expiryKind, expiryRow, numberText, openRow, orderRow, proofRow, rowKey, slotId,
  slotKind, slotRow, timeOf, timeText, trailingNumber,
} from './level-rows.ts'
import type { SlotRow } from './level-rows.ts'

type Snapshot = ReturnType<LevelHandle['snapshot']>

interface Place {
  readonly number: number
  /** Undefined when its index row is damaged. */
  readonly id: EnvelopeId | undefined
  readonly expiresAtMs: number
}

export interface LevelMailboxComponents {
  readonly database: LevelDatabase
  readonly queue: CommitQueue
  readonly clock: Clock
  readonly onCorrupt: CorruptionListener
}

export class LevelMailbox implements MailboxStore {
  readonly #components: LevelMailboxComponents
  #sweeping: Promise<void> | undefined

  constructor(components: LevelMailboxComponents) {
    this.#components = components
    this.#sweep()
  }

  async setBox(box: BoxId, limits: BoxLimits): Promise<void> {
    checkBoxLimits(limits)
    await this.#components.queue.submit(setBoxOperation(box, { ...limits }))
  }

  async dropBox(box: BoxId): Promise<void> {
    await this.#components.queue.submit({
      grows: false,
      bytes: 128,
      reads: () => [],
      apply(draft) {
        const row = draft.box(box)
        if (row !== undefined) draft.dropBox(box, row)
      },
    })
    this.#sweep()
  }

  async boxes(): Promise<{ box: BoxId, limits: BoxLimits, usage: BoxUsage }[]> {
    this.#assertReadable()
    const out: { box: BoxId, limits: BoxLimits, usage: BoxUsage }[] = []
    const nowMs = this.#components.clock.now()
    for (const [box, row] of this.#components.queue.state.boxes) {
      const { itemsMax, bytesMax, expiresAtMs, items, bytes } = row
      if (expiresAtMs <= nowMs) continue
      out.push({ box, limits: { itemsMax, bytesMax, expiresAtMs }, usage: { items, bytes } })
    }
    return out
  }

  async usage(): Promise<BoxUsage> {
    this.#assertReadable()
    const { items, bytes } = this.#components.queue.state
    return { items, bytes }
  }

  async put(items: readonly MailboxItem[]): Promise<PutResult[]> {
    const { clock, queue } = this.#components
    const own = items.map(ownedItem)
    const bytes = own.reduce((sum, { body }) => sum + body.length + 512, 0)
    if (queue.queuedBytes + bytes > limits.commitQueueBytesMax) {
      const waiting = queue.queuedBytes
      throw new OpenIMError('STORE_BUSY', `${waiting} bytes wait to be written already; try again later`)
    }
    return await queue.submit({
      grows: true,
      bytes,
      reads: (state) => own.flatMap(({ box, id }) => slotKeys(state, box, [id])),
      apply: (draft) => own.map((item) => putOne(draft, item, clock.now())),
    })
  }

  async acknowledge(
    box: BoxId,
    ids: readonly EnvelopeId[],
    tombstone: { expiresAtMs: number, proof: Uint8Array },
  ): Promise<number> {
    checkTombstone(tombstone)
    const own = [...ids]
    const { expiresAtMs } = tombstone
    const proof = tombstone.proof.slice()
    const { clock, queue } = this.#components
    return await queue.submit({
      grows: false,
      bytes: own.length * 512 + proof.length,
      reads: (state) => slotKeys(state, box, own),
      apply: (draft) => acknowledgeAll(draft, { box, ids: own, expiresAtMs, proof, nowMs: clock.now() }),
    })
  }

  async expire(nowMs: number, budget: number): Promise<number> {
    let gone = 0
    // A scan may meet rows whose box was dropped; they count for nothing, so look on.
    while (gone < budget) {
      const scan = await this.#components.queue.submit(expireOperation(nowMs, budget - gone))
      gone += scan.gone
      if (!scan.more) break
    }
    if (gone > 0) this.#sweep()
    return gone
  }

  async list(
    box: BoxId,
    page: { after: number, itemsMax: number, bytesMax: number },
  ): Promise<{ entries: MailboxEntry[], more: boolean }> {
    const generation = this.#generation(box)
    if (generation === undefined) return { entries: [], more: false }
    return await this.#onSnapshot(async (handle, snapshot) => {
      let after = page.after
      for (;;) {
        const { places, more } = await this.#places(handle, snapshot, { ...page, after, generation })
        const entries = await this.#entries(handle, snapshot, { box, places })
        // All of a page may have expired or be damaged; the caller must still get on.
        if (entries.length > 0 || !more) return { entries, more }
        after = places.at(-1)!.number
      }
    })
  }

  async get(box: BoxId, id: EnvelopeId): Promise<MailboxEntry | undefined> {
    return await this.#onSnapshot(async (handle, snapshot) => {
      const { slot } = await this.#slot(handle, snapshot, { box, id })
      if (slot?.kind !== slotKind.item) return undefined
      const places = [{ number: slot.number, id, expiresAtMs: slot.expiresAtMs }]
      return (await this.#entries(handle, snapshot, { box, places }))[0]
    })
  }

  async tombstone(box: BoxId, id: EnvelopeId): Promise<Uint8Array | undefined> {
    return await this.#onSnapshot(async (handle, snapshot) => {
      const { slot, generation } = await this.#slot(handle, snapshot, { box, id })
      if (slot?.kind !== slotKind.tombstone) return undefined
      if (slot.expiresAtMs <= this.#components.clock.now()) return undefined
      return await this.#proof(handle, snapshot, { generation, number: slot.proof })
    })
  }

  async tombstones(
    box: BoxId,
    { after, limit }: { after?: EnvelopeId, limit: number },
  ): Promise<Tombstone[]> {
    const generation = this.#generation(box)
    if (generation === undefined) return []
    const nowMs = this.#components.clock.now()
    const found: Tombstone[] = []
    const first = rowKey.slot(generation, (after ?? '') as EnvelopeId)
    await this.#onSnapshot(async (handle, snapshot) => {
      const range = { gt: first, lt: `i${numberText(generation)}${afterAll}`, snapshot }
      for await (const [key, row] of handle.iterator(range)) {
        if (found.length >= limit) break
        const slot = decodeRow(slotRow, key, row)
        if (slot?.kind !== slotKind.tombstone || slot.expiresAtMs <= nowMs) continue
        const proof = await this.#proof(handle, snapshot, { generation, number: slot.proof })
        if (proof !== undefined) found.push({ id: slotId(key), expiresAtMs: slot.expiresAtMs, proof })
      }
    })
    return found
  }

  async #proof(
    handle: LevelHandle,
    snapshot: Snapshot,
    { generation, number }: { generation: number, number: number },
  ): Promise<Uint8Array | undefined> {
    const key = rowKey.proof(generation, number)
    const row = await handle.get(key, { snapshot })
    const value = row === undefined ? undefined : decodeRow(proofRow, key, row)
    if (value === undefined) this.#components.onCorrupt(key)
    return value?.proof.slice()
  }

  /**
   * By the rows of what expires. They stand in order of time, so only what ends in the same
   * millisecond is put in order here: with times rounded to the hour, an hour's mail at most.
   */
  async *digest(range: DigestRange): AsyncGenerator<MailMark[]> {
    const { queue, clock } = this.#components
    let from = `x${timeText(Math.max(range.fromMs, queue.state.expiryMarkMs))}`
    const end = `x${timeText(range.beforeMs)}`
    let held: MailMark[] = []
    for (;;) {
      this.#assertReadable()
      const { marks, last } = await this.#marks({ gte: from, lt: end })
      const nowMs = clock.now()
      held.push(...marks.filter((mark) => mark.expiresAtMs > nowMs && isInDigest(mark, range)))
      const latestMs = last === undefined ? Infinity : timeOf(last)
      const ready = held.filter(({ expiresAtMs }) => expiresAtMs < latestMs).sort(compareMarks)
      held = held.filter(({ expiresAtMs }) => expiresAtMs >= latestMs)
      for (let at = 0; at < ready.length; at += limits.digestPageMarks) {
        yield ready.slice(at, at + limits.digestPageMarks)
      }
      if (last === undefined) return
      from = `${last}0`
    }
  }

  /** The next items by time; `last`: where to go on behind, if there may be more. */
  async #marks(bounds: { gte: string, lt: string }): Promise<{ marks: MailMark[], last?: string }> {
    const { queue, database } = this.#components
    return await database.read(async (handle) => {
      const rows = await handle.iterator({ ...bounds, limit: limits.digestPageMarks }).all()
      const due = rows.flatMap(([key, row]) => {
        const expiry = decodeRow(expiryRow, key, row)
        const box = expiry?.kind === expiryKind.slot ? queue.state.boxes.get(expiry.box) : undefined
        if (expiry === undefined || box === undefined) return []
        if (box.expiresAtMs <= this.#components.clock.now()) return []
        return [{ ...expiry, number: trailingNumber(key), slotKey: rowKey.slot(box.generation, expiry.id) }]
      })
      const slots = await handle.getMany(due.map(({ slotKey }) => slotKey))
      const marks = due.flatMap(({ box, id, atMs, number, slotKey }, i) => {
        const slot = slots[i] === undefined ? undefined : decodeRow(slotRow, slotKey, slots[i])
        const isHeld = slot?.kind === slotKind.item && slot.number === number
        return isHeld ? [{ box, id, expiresAtMs: atMs }] : []
      })
      return rows.length < limits.digestPageMarks ? { marks } : { marks, last: rows.at(-1)![0] }
    })
  }

  /** Removes the rows of dropped boxes, some at a time, in the background. */
  #sweep(): void {
    const { queue } = this.#components
    if (this.#sweeping !== undefined || queue.state.garbage.size === 0) return
    this.#sweeping = (async () => {
      try {
        for (const generation of queue.state.garbage) await queue.submit(sweepOperation(generation))
        this.#sweeping = undefined
        this.#sweep()
      } catch {
        // Closed or broken: the garbage is still marked, the next start goes on.
        this.#sweeping = undefined
      }
    })()
  }

  #assertReadable(): void {
    if (!this.#components.queue.accepts) throw new OpenIMError('STORE_CLOSED', 'the store is closed')
  }

  /** Of a box that is there and has not expired. */
  #generation(box: BoxId): number | undefined {
    this.#assertReadable()
    const row = this.#components.queue.state.boxes.get(box)
    return row === undefined || row.expiresAtMs <= this.#components.clock.now() ? undefined : row.generation
  }

  async #onSnapshot<T>(work: (handle: LevelHandle, snapshot: Snapshot) => Promise<T>): Promise<T> {
    return await this.#components.database.read(async (handle) => {
      const snapshot = handle.snapshot()
      try {
        return await work(handle, snapshot)
      } finally {
        await snapshot.close()
      }
    })
  }

  async #slot(
    handle: LevelHandle,
    snapshot: Snapshot,
    { box, id }: { box: BoxId, id: EnvelopeId },
  ): Promise<{ slot: SlotRow | undefined, generation: number }> {
    const generation = this.#generation(box) ?? 0
    const key = rowKey.slot(generation, id)
    const row = await handle.get(key, { snapshot })
    const slot = row === undefined ? undefined : decodeRow(slotRow, key, row)
    if (row !== undefined && slot === undefined) this.#components.onCorrupt(key)
    return { slot, generation }
  }

  /** The next places of a box, up to both limits, at least one if there is any. */
  async #places(
    handle: LevelHandle,
    snapshot: Snapshot,
    page: { generation: number, after: number, itemsMax: number, bytesMax: number },
  ): Promise<{ places: Place[], more: boolean }> {
    const prefix = `o${numberText(page.generation)}`
    const limit = Math.max(1, page.itemsMax)
    const rows = await handle.iterator({
      gt: prefix + numberText(Math.max(0, Math.min(page.after, Number.MAX_SAFE_INTEGER))),
      lt: prefix + afterAll,
      limit: limit + 1,
      snapshot,
    }).all()
    const places: Place[] = []
    let bytes = 0
    for (const [key, row] of rows) {
      const order = decodeRow(orderRow, key, row)
      if (order === undefined) this.#components.onCorrupt(key)
      bytes += order?.bytes ?? 0
      const full = places.length === limit || bytes > page.bytesMax
      if (full && places.length > 0) return { places, more: true }
      places.push({ number: trailingNumber(key), id: order?.id, expiresAtMs: order?.expiresAtMs ?? Infinity })
    }
    return { places, more: false }
  }

  /** Bodies of those places that have not expired, each checked; damaged ones are dropped. */
  async #entries(
    handle: LevelHandle,
    snapshot: Snapshot,
    { box, places }: { box: BoxId, places: readonly Place[] },
  ): Promise<MailboxEntry[]> {
    const nowMs = this.#components.clock.now()
    const live = places.filter(({ expiresAtMs }) => expiresAtMs > nowMs)
    const rows = await handle.getMany(live.map(({ number }) => rowKey.body(number)), { snapshot })
    const entries: MailboxEntry[] = []
    for (const [i, place] of live.entries()) {
      const key = rowKey.body(place.number)
      const body = rows[i] === undefined ? undefined : openRow(key, rows[i])
      const { id, number: position, expiresAtMs } = place
      if (body !== undefined && id !== undefined && envelopeId(body) === id) {
        entries.push({ box, id, expiresAtMs, body, position })
        continue
      }
      if (id !== undefined) this.#components.onCorrupt(key)
      const found = id ?? (body === undefined ? undefined : envelopeId(body))
      // Not awaited: whoever reads goes on; a failure here is met again by the next reader.
      this.#components.queue.submit(dropDamaged({ box, number: position, id: found })).catch(() => {})
    }
    return entries
  }
}
