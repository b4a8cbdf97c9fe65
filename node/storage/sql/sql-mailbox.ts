/**
 * `MailboxStore` over SQL: writes as operations of the commit queue, reads on any connection. What
 * has expired is not shown, also before `expire` ran.
 *
 * Positions are drawn by the database under the lock of their box, so in each box they grow in the
 * order of commit: who lists after a position misses nothing. Every body is checked against its id
 * when it is read; one that does not fit is deleted, counted and logged, never returned.
 */
import { envelopeId } from '../../../protocol/envelope.ts'
import type { BoxId, EnvelopeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import type {
  BoxLimits, BoxUsage, DigestRange, MailboxEntry, MailboxItem, MailboxStore, MailMark, PutResult,
  Tombstone,
} from '../../ports.ts'
import { checkBoxLimits, checkTombstone, ownedItem } from '../checks.ts'
import { boxColumns, boxOf } from './sql-boxes.ts'
import type { SqlOperation } from './sql-commit.ts'
import { slotKind } from './sql-draft.ts'
import type { SqlDraft } from './sql-draft.ts'
import { bytesOf, forEach, numberOf, sqlNumber } from './sql-driver.ts'
import type { SqlRow } from './sql-driver.ts'
import { pageOf, rowsFor } from './sql-page.ts'
import type { SqlParts } from './sql-parts.ts'
import { columnBytes, slotKey, slotOf } from './sql-slot.ts'

type Place = Pick<MailboxEntry, 'id' | 'expiresAtMs' | 'position'>

export class SqlMailbox implements MailboxStore {
  readonly #parts: SqlParts

  constructor(parts: SqlParts) {
    this.#parts = parts
  }

  async setBox(box: BoxId, limits: BoxLimits): Promise<void> {
    checkBoxLimits(limits)
    const own = { ...limits }
    await this.#parts.lanes.boxes.submit({
      grows: true,
      bytes: 256,
      needs: () => ({ boxes: [box] }),
      apply(draft) {
        const { items, bytes } = draft.boxes.get(box) ?? { items: 0, bytes: 0 }
        draft.boxes.put(box, { limits: own, items, bytes })
      },
    })
  }

  async dropBox(box: BoxId): Promise<void> {
    await this.#parts.lanes.boxes.submit({
      grows: false,
      bytes: 128,
      needs: () => ({ boxes: [box] }),
      apply: (draft) => draft.dropBox(box),
    })
  }

  async boxes(): Promise<{ box: BoxId, limits: BoxLimits, usage: BoxUsage }[]> {
    const nowMs = sqlNumber(this.#parts.clock.now())
    const text = `SELECT ${boxColumns} FROM openim_box WHERE expires_at > ?`
    const rows = await this.#parts.reader.run(text, [nowMs])
    return rows.map(boxOf).map(({ box, limits, items, bytes }) => ({ box, limits, usage: { items, bytes } }))
  }

  async usage(): Promise<BoxUsage> {
    const text = 'SELECT sum(items) AS items, sum(bytes) AS bytes FROM openim_box'
    const [row] = await this.#parts.reader.run(text)
    return { items: numberOf(row?.['items'] ?? 0), bytes: numberOf(row?.['bytes'] ?? 0) }
  }

  async put(items: readonly MailboxItem[]): Promise<PutResult[]> {
    const own = items.map(ownedItem)
    return await this.#parts.lanes.boxes.submit({
      grows: true,
      bytes: own.reduce((sum, { body }) => sum + body.length + 512, 0),
      needs: () => ({
        boxes: own.map(({ box }) => box),
        slots: own.map(({ box, id }) => slotKey(box, id)),
      }),
      apply: (draft) => own.map((item) => putOne(draft, item)),
    })
  }

  async acknowledge(
    box: BoxId,
    ids: readonly EnvelopeId[],
    tombstone: { expiresAtMs: number, proof: Uint8Array },
  ): Promise<number> {
    checkTombstone(tombstone)
    const own = { box, ids: [...ids], expiresAtMs: tombstone.expiresAtMs, proof: tombstone.proof.slice() }
    return await this.#parts.lanes.boxes.submit({
      grows: false,
      bytes: own.ids.length * 256 + own.proof.length,
      needs: () => ({ boxes: [box], slots: own.ids.map((id) => slotKey(box, id)) }),
      apply: (draft) => acknowledgeAll(draft, own),
    })
  }

  async expire(nowMs: number, budget: number): Promise<number> {
    return await this.#parts.lanes.boxes.submit(expireOperation(nowMs, budget))
  }

  async list(
    box: BoxId,
    page: { after: number, itemsMax: number, bytesMax: number },
  ): Promise<{ entries: MailboxEntry[], more: boolean }> {
    let after = page.after
    for (;;) {
      const { rows, more } = pageOf(await this.#places(box, { ...page, after }), page)
      const places = rows.map(placeOf)
      const entries = await this.#entries(box, places)
      // All of a page may have gone meanwhile or be damaged; the caller must still get on.
      if (entries.length > 0 || !more) return { entries, more }
      after = places.at(-1)!.position
    }
  }

  async get(box: BoxId, id: EnvelopeId): Promise<MailboxEntry | undefined> {
    const row = await this.#slot(box, id, slotKind.item)
    return row === undefined ? undefined : (await this.#entries(box, [placeOf(row)]))[0]
  }

  async tombstone(box: BoxId, id: EnvelopeId): Promise<Uint8Array | undefined> {
    const row = await this.#slot(box, id, slotKind.tombstone)
    if (row === undefined) return undefined
    const text = 'SELECT data FROM openim_proof WHERE proof = ?'
    const [proof] = await this.#parts.reader.run(text, [bytesOf(row['data'])])
    return proof === undefined ? undefined : bytesOf(proof['data'])
  }

  async tombstones(box: BoxId, page: { after?: EnvelopeId, limit: number }): Promise<Tombstone[]> {
    const { after, limit } = page
    const nowMs = sqlNumber(this.#parts.clock.now())
    const behind = after === undefined ? new Uint8Array() : columnBytes(slotKey(box, after))
    const rows = await this.#parts.reader.run(
      `SELECT m.slot, m.expires_at, p.data FROM openim_mail m JOIN openim_box b ON b.box = m.box
       JOIN openim_proof p ON p.proof = m.data
       WHERE m.box = ? AND m.kind = ${slotKind.tombstone} AND m.slot > ? AND m.expires_at > ?
       AND b.expires_at > ? ORDER BY m.slot LIMIT ?`,
      [columnBytes(box), behind, nowMs, nowMs, sqlNumber(limit)],
    )
    return rows.map((row) => ({
      id: slotOf(row['slot']).id, expiresAtMs: numberOf(row['expires_at']), proof: bytesOf(row['data']),
    }))
  }

  async *digest({ boxes, fromMs, beforeMs }: DigestRange): AsyncGenerator<MailMark[]> {
    let after: { time: bigint, slot: Uint8Array } | undefined
    for (;;) {
      const nowMs = this.#parts.clock.now()
      const from = sqlNumber(Math.max(fromMs, nowMs + 1))
      const { time, slot } = after ?? { time: from, slot: new Uint8Array() }
      const rows = await this.#parts.reader.run(
        `SELECT m.slot, m.expires_at, m.kind FROM openim_mail m JOIN openim_box b ON b.box = m.box
         WHERE m.expires_at >= ? AND (m.expires_at > ? OR m.slot > ?) AND m.expires_at < ?
         AND b.expires_at > ?
         ORDER BY m.expires_at, m.slot LIMIT ${limits.digestPageMarks}`,
        [time, time, slot, sqlNumber(beforeMs), sqlNumber(nowMs)],
      )
      const marks = rows.flatMap((row): MailMark[] => {
        const { id, box } = slotOf(row['slot'])
        if (numberOf(row['kind']) !== slotKind.item || boxes?.has(box) === false) return []
        return [{ box, id, expiresAtMs: numberOf(row['expires_at']) }]
      })
      if (marks.length > 0) yield marks
      const last = rows.at(-1)
      if (last === undefined || rows.length < limits.digestPageMarks) return
      after = { time: BigInt(last['expires_at'] as string), slot: bytesOf(last['slot']) }
    }
  }

  /** The next items without their bodies, one more than asked for. */
  async #places(box: BoxId, { after, itemsMax }: { after: number, itemsMax: number }): Promise<SqlRow[]> {
    const nowMs = sqlNumber(this.#parts.clock.now())
    return await this.#parts.reader.run(
      `SELECT m.slot, m.position, m.expires_at, m.size FROM openim_mail m JOIN openim_box b ON b.box = m.box
       WHERE m.box = ? AND m.kind = ${slotKind.item} AND m.position > ? AND m.expires_at > ?
       AND b.expires_at > ? ORDER BY m.position LIMIT ?`,
      [columnBytes(box), sqlNumber(Math.max(0, after)), nowMs, nowMs, sqlNumber(rowsFor(itemsMax))],
    )
  }

  /** What stands there and has not expired, nor its box. */
  async #slot(box: BoxId, id: EnvelopeId, kind: 0 | 1): Promise<SqlRow | undefined> {
    const nowMs = sqlNumber(this.#parts.clock.now())
    const column = kind === slotKind.tombstone ? 'm.data' : 'm.size'
    const [row] = await this.#parts.reader.run(
      `SELECT m.slot, m.position, m.expires_at, ${column}
       FROM openim_mail m JOIN openim_box b ON b.box = m.box
       WHERE m.slot = ? AND m.kind = ${kind} AND m.expires_at > ? AND b.expires_at > ?`,
      [columnBytes(slotKey(box, id)), nowMs, nowMs],
    )
    return row
  }

  /** Bodies of those places, each checked; damaged ones are dropped. */
  async #entries(box: BoxId, places: readonly Place[]): Promise<MailboxEntry[]> {
    // What was acknowledged meanwhile is a tombstone in the same place.
    const text = `SELECT position, data FROM openim_mail WHERE kind = ${slotKind.item} AND position (*)`
    const positions = places.map(({ position }) => BigInt(position))
    const rows = await forEach(this.#parts.reader, text, positions)
    const bodies = new Map(rows.map((row) => [numberOf(row['position']), bytesOf(row['data'])]))
    const entries: MailboxEntry[] = []
    for (const { id, expiresAtMs, position } of places) {
      const body = bodies.get(position)
      if (body === undefined) continue
      if (envelopeId(body) === id) entries.push({ box, id, expiresAtMs, body, position })
      else this.#dropDamaged(box, id)
    }
    return entries
  }

  #dropDamaged(box: BoxId, id: EnvelopeId): void {
    const key = slotKey(box, id)
    this.#parts.onCorrupt(key)
    // Not awaited: whoever reads goes on; a failure here is met again by the next reader.
    this.#parts.lanes.boxes.submit({
      grows: false,
      bytes: 128,
      needs: () => ({ boxes: [box], slots: [key] }),
      apply: (draft) => removeItem(draft, box, id),
    }).catch(() => {})
  }
}

function placeOf(row: SqlRow): Place {
  const { id } = slotOf(row['slot'])
  return { id, expiresAtMs: numberOf(row['expires_at']), position: numberOf(row['position']) }
}

// ── Operations ──────────────────────────────────────────────────────────────────────────────

/** What happened to an id before comes first, then why it cannot be taken. */
function putOne(draft: SqlDraft, item: MailboxItem): PutResult {
  const { nowMs } = draft
  const box = draft.boxes.live(item.box, nowMs)
  if (box === undefined) return 'no-box'
  const key = slotKey(item.box, item.id)
  const slot = draft.slot(key)
  if (slot?.kind === slotKind.tombstone && slot.expiresAtMs > nowMs) return 'acknowledged'
  if (slot?.kind === slotKind.item) return 'duplicate'
  if (item.expiresAtMs <= nowMs) return 'expired'
  const { body, expiresAtMs } = item
  const bytes = box.bytes + body.length
  if (box.items >= box.limits.itemsMax || bytes > box.limits.bytesMax) return 'over-quota'
  draft.putSlot(key, { kind: slotKind.item, expiresAtMs, size: body.length, data: body })
  draft.boxes.put(item.box, { ...box, items: box.items + 1, bytes })
  return 'stored'
}

/** Returns how many of the ids were here as items. */
function acknowledgeAll(
  draft: SqlDraft,
  given: { box: BoxId, ids: readonly EnvelopeId[], expiresAtMs: number, proof: Uint8Array },
): number {
  const { box, ids, expiresAtMs, proof } = given
  if (draft.boxes.get(box) === undefined) return 0
  let found = 0
  let name: Uint8Array | undefined
  for (const id of ids) {
    const key = slotKey(box, id)
    if (removeItem(draft, box, id)) found++
    const keptUntilMs = draft.slot(key)?.expiresAtMs ?? 0
    if (expiresAtMs <= Math.max(keptUntilMs, draft.nowMs)) continue
    name ??= draft.putProof({ box, expiresAtMs, data: proof })
    draft.putSlot(key, { kind: slotKind.tombstone, expiresAtMs, size: 0, data: name })
  }
  return found
}

function removeItem(draft: SqlDraft, id: BoxId, item: EnvelopeId): boolean {
  const key = slotKey(id, item)
  const slot = draft.slot(key)
  const box = draft.boxes.get(id)
  if (slot?.kind !== slotKind.item || box === undefined) return false
  draft.deleteSlot(key)
  draft.boxes.put(id, { ...box, items: box.items - 1, bytes: box.bytes - slot.size })
  return true
}

/** What is due is looked for before it is locked, and looked at again behind the locks. */
function expireOperation(nowMs: number, budget: number): SqlOperation<number> {
  let boxes: BoxId[] = []
  let slots: ReturnType<typeof slotOf>[] = []
  return {
    grows: false,
    bytes: 1_024,
    async needs(session) {
      const due = async (column: string, table: string): Promise<SqlRow[]> => {
        const text = `SELECT ${column} FROM openim_${table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?`
        return await session.run(text, [sqlNumber(nowMs), sqlNumber(Math.max(1, budget))])
      }
      boxes = (await due(boxColumns, 'box')).map((row) => boxOf(row).box)
      slots = (await due('slot', 'mail')).map((row) => slotOf(row['slot']))
      const proofs = (await due('proof', 'proof')).map((row) => bytesOf(row['proof']))
      return {
        boxes: [...boxes, ...slots.map(({ box }) => box)],
        slots: slots.map(({ key }) => key),
        proofs,
      }
    },
    apply(draft) {
      let gone = 0
      for (const box of boxes) {
        const row = draft.boxes.get(box)
        if (gone >= budget || row === undefined || row.limits.expiresAtMs > nowMs) continue
        draft.dropBox(box)
        gone++
      }
      for (const { box, id, key } of slots) {
        const slot = draft.slot(key)
        if (gone >= budget || slot === undefined || slot.expiresAtMs > nowMs) continue
        if (!removeItem(draft, box, id)) draft.deleteSlot(key)
        gone++
      }
      return gone
    },
  }
}
