/**
 * What a mailbox write changes, row by row: the atomic steps behind level-mailbox.ts. Each runs on
 * a draft, so it sees what earlier writes of its group did (level-draft.ts).
 */
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import type { BoxLimits, MailboxItem, PutResult } from '../ports.ts'
import type { Operation } from './level-commit.ts'
import type { LevelHandle } from './level-database.ts'
import type { Draft, StoreState } from './level-draft.ts'
import {
  afterAll, decodeRow, expiryKind, expiryRow, numberText, orderRow, proofRow, rowKey, slotKind,
  slotRow, timeText, trailingNumber,
} from './level-rows.ts'
import type { BoxRow, ExpiryRow, SlotRow } from './level-rows.ts'

/** Rows that one sweep removes, so that others are not held up for long. */
const sweepRowsMax = 512

/** Rows of these ids in the box as it is now; none if there is no such box. */
export function slotKeys(state: StoreState, box: BoxId, ids: readonly EnvelopeId[]): string[] {
  const row = state.boxes.get(box)
  return row === undefined ? [] : ids.map((id) => rowKey.slot(row.generation, id))
}

export function setBoxOperation(id: BoxId, limits: BoxLimits): Operation<void> {
  return {
    grows: true,
    bytes: 256,
    reads: () => [],
    apply(draft) {
      const old = draft.box(id)
      if (old !== undefined) draft.deleteExpiry(old.expiresAtMs, old.generation)
      const generation = old?.generation ?? draft.nextNumber()
      draft.putBox(id, { ...limits, generation, items: old?.items ?? 0, bytes: old?.bytes ?? 0 })
      draft.putExpiry(generation, { kind: expiryKind.box, atMs: limits.expiresAtMs, box: id })
    },
  }
}

/** What happened to an id before comes first, then why it cannot be taken. */
export function putOne(draft: Draft, item: MailboxItem, nowMs: number): PutResult {
  const box = draft.box(item.box)
  if (box === undefined || box.expiresAtMs <= nowMs) return 'no-box'
  const slotKey = rowKey.slot(box.generation, item.id)
  const slot = draft.get(slotRow, slotKey)
  if (slot?.kind === slotKind.tombstone && slot.expiresAtMs > nowMs) return 'acknowledged'
  if (slot?.kind === slotKind.item) return 'duplicate'
  if (item.expiresAtMs <= nowMs) return 'expired'
  const { length } = item.body
  if (box.items >= box.itemsMax || box.bytes + length > box.bytesMax) return 'over-quota'

  if (slot !== undefined) draft.deleteExpiry(slot.expiresAtMs, slot.number)
  const number = draft.nextNumber()
  const { id, expiresAtMs } = item
  draft.put(slotRow, slotKey, { kind: slotKind.item, number, expiresAtMs, bytes: length, proof: 0 })
  draft.put(orderRow, rowKey.order(box.generation, number), { id, expiresAtMs, bytes: length })
  draft.putBytes(rowKey.body(number), item.body)
  draft.putExpiry(number, { kind: expiryKind.slot, atMs: expiresAtMs, box: item.box, id })
  draft.putBox(item.box, { ...box, items: box.items + 1, bytes: box.bytes + length })
  return 'stored'
}

/** Returns how many of the ids were here as items. */
export function acknowledgeAll(
  draft: Draft,
  { box: id, ids, expiresAtMs, proof, nowMs }:
  { box: BoxId, ids: readonly EnvelopeId[], expiresAtMs: number, proof: Uint8Array, nowMs: number },
): number {
  let found = 0
  let proofNumber: number | undefined
  for (const item of ids) {
    const box = draft.box(id)
    if (box === undefined) return 0
    const slotKey = rowKey.slot(box.generation, item)
    const slot = draft.get(slotRow, slotKey)
    if (slot?.kind === slotKind.item) {
      removeItem(draft, id, { item, slot, box })
      found++
    }
    const keptUntilMs = slot?.kind === slotKind.tombstone ? slot.expiresAtMs : nowMs
    if (expiresAtMs <= Math.max(keptUntilMs, nowMs)) continue
    if (slot?.kind === slotKind.tombstone) draft.deleteExpiry(slot.expiresAtMs, slot.number)
    if (proofNumber === undefined) {
      proofNumber = draft.nextNumber()
      draft.put(proofRow, rowKey.proof(box.generation, proofNumber), { expiresAtMs, proof })
      draft.putExpiry(proofNumber, { kind: expiryKind.proof, atMs: expiresAtMs, box: id })
    }
    const number = draft.nextNumber()
    const { tombstone: kind } = slotKind
    draft.put(slotRow, slotKey, { kind, number, expiresAtMs, bytes: 0, proof: proofNumber })
    draft.putExpiry(number, { kind: expiryKind.slot, atMs: expiresAtMs, box: id, id: item })
  }
  return found
}

function removeItem(
  draft: Draft,
  id: BoxId,
  { item, slot, box }: { item: EnvelopeId, slot: SlotRow, box: BoxRow },
): void {
  draft.delete(rowKey.slot(box.generation, item))
  draft.delete(rowKey.order(box.generation, slot.number))
  draft.delete(rowKey.body(slot.number))
  draft.deleteExpiry(slot.expiresAtMs, slot.number)
  draft.putBox(id, { ...box, items: box.items - 1, bytes: box.bytes - slot.bytes })
  draft.freedBytes += slot.bytes
}

/** An item whose body or index row is damaged. Without an `id` its slot stays until it expires. */
export function dropDamaged(
  { box: boxName, number, id }: { box: BoxId, number: number, id: EnvelopeId | undefined },
): Operation<void> {
  return {
    grows: false,
    bytes: 256,
    reads: (state) => {
      const box = state.boxes.get(boxName)
      if (box === undefined) return []
      return [rowKey.order(box.generation, number), ...slotKeys(state, boxName, id === undefined ? [] : [id])]
    },
    apply(draft) {
      const box = draft.box(boxName)
      // Somebody was faster.
      if (box === undefined || draft.raw(rowKey.order(box.generation, number)) === undefined) return
      const slotKey = id === undefined ? undefined : rowKey.slot(box.generation, id)
      const slot = slotKey === undefined ? undefined : draft.get(slotRow, slotKey)
      if (id !== undefined && slot?.kind === slotKind.item && slot.number === number) {
        removeItem(draft, boxName, { item: id, slot, box })
        return
      }
      draft.delete(rowKey.order(box.generation, number))
      draft.delete(rowKey.body(number))
      draft.putBox(boxName, { ...box, items: Math.max(0, box.items - 1) })
    },
  }
}

/** Removes what ends at or before `nowMs`, at most `budget`; `more`: there may be more of it. */
export function expireOperation(nowMs: number, budget: number): Operation<{ gone: number, more: boolean }> {
  let due: { key: string, row: ExpiryRow | undefined }[] = []
  return {
    grows: false,
    bytes: 1_024,
    async reads(state, handle) {
      const rows = await handle.iterator({
        gte: `x${timeText(state.expiryMarkMs)}`,
        lt: `x${timeText(nowMs)}${afterAll}`,
        limit: budget,
      }).all()
      due = rows.map(([key, row]) => ({ key, row: decodeRow(expiryRow, key, row) }))
      return due.flatMap(({ row }) => row?.kind === expiryKind.slot ? slotKeys(state, row.box, [row.id]) : [])
    },
    apply(draft) {
      let gone = 0
      for (const { key, row } of due) {
        draft.delete(key)
        if (row !== undefined && expireOne(draft, row, trailingNumber(key))) gone++
      }
      const more = due.length === budget
      const lastMs = due.at(-1)?.row?.atMs
      if (!more) draft.raiseExpiryMark(nowMs)
      else if (lastMs !== undefined) draft.raiseExpiryMark(lastMs)
      return { gone, more }
    },
  }
}

/** Whether it counts: an item, tombstone or box that was really there. */
function expireOne(draft: Draft, { kind, atMs, box: id, id: item }: ExpiryRow, number: number): boolean {
  const box = draft.box(id)
  // A dropped box: its rows are swept.
  if (box === undefined) return false
  if (kind === expiryKind.box) {
    if (box.generation !== number || box.expiresAtMs !== atMs) return false
    draft.dropBox(id, box)
    return true
  }
  if (kind === expiryKind.proof) {
    draft.delete(rowKey.proof(box.generation, number))
    return false
  }
  const slotKey = rowKey.slot(box.generation, item)
  const slot = draft.get(slotRow, slotKey)
  if (slot?.number !== number) return false
  if (slot.kind === slotKind.item) removeItem(draft, id, { item, slot, box })
  else draft.delete(slotKey)
  return true
}

/** Removes some rows of a dropped box; settles with true when none is left. */
export function sweepOperation(generation: number): Operation<boolean> {
  const text = numberText(generation)
  let doomed: string[] = []
  let more = false
  return {
    grows: false,
    bytes: sweepRowsMax * 64,
    async reads(_state, handle) {
      const [slots, orders, proofs] = await Promise.all([
        rowsOf(handle, `i${text}`), rowsOf(handle, `o${text}`), rowsOf(handle, `q${text}`),
      ])
      more = [slots, orders, proofs].some(({ length }) => length === sweepRowsMax)
      doomed = [
        ...slots.flatMap(([key, row]) => [key, ...expiryKeyOf(decodeRow(slotRow, key, row))]),
        ...orders.flatMap(([key]) => [key, rowKey.body(trailingNumber(key))]),
        ...proofs.flatMap(([key, row]) => {
          const proof = decodeRow(proofRow, key, row)
          return proof === undefined ? [key] : [key, rowKey.expiry(proof.expiresAtMs, trailingNumber(key))]
        }),
      ]
      return []
    },
    apply(draft) {
      for (const key of doomed) draft.delete(key)
      if (!more) draft.swept(generation)
      return !more
    },
  }
}

async function rowsOf(handle: LevelHandle, prefix: string): Promise<[string, Uint8Array][]> {
  return await handle.iterator({ gte: prefix, lt: prefix + afterAll, limit: sweepRowsMax }).all()
}

function expiryKeyOf(slot: SlotRow | undefined): string[] {
  return slot === undefined ? [] : [rowKey.expiry(slot.expiresAtMs, slot.number)]
}

