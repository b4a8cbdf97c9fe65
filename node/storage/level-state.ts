/**
 * Reads what an embedded store keeps in memory: counters, boxes, boxes being swept.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { LevelDatabase } from './level-database.ts'
import { emptyState } from './level-draft.ts'
import type { CorruptionListener, StoreState } from './level-draft.ts'
import {
  afterAll, boxOf, boxRow, decodeRow, generationOf, openRow, rowKey, schemaVersion, stateRow,
} from './level-rows.ts'

/** @throws STORE_NEWER, STORE_CORRUPT */
export async function loadState(database: LevelDatabase, onCorrupt: CorruptionListener): Promise<StoreState> {
  return await database.read(async (handle) => {
    const state = emptyState()
    const row = await handle.get(rowKey.state)
    if (row === undefined) throw damaged(database.location)
    assertSchema(row, database.location)
    const counters = decodeRow(stateRow, rowKey.state, row)
    if (counters === undefined) throw damaged(database.location)
    state.nextNumber = counters.nextNumber
    state.expiryMarkMs = counters.expiryMarkMs
    for await (const [key, value] of handle.iterator({ gte: 'b', lt: `b${afterAll}` })) {
      const box = decodeRow(boxRow, key, value)
      if (box === undefined) {
        onCorrupt(key)
        continue
      }
      state.boxes.set(boxOf(key), box)
      state.items += box.items
      state.bytes += box.bytes
    }
    for await (const key of handle.keys({ gte: 'g', lt: `g${afterAll}` })) {
      state.garbage.add(generationOf(key))
    }
    return state
  })
}

function assertSchema(row: Uint8Array, location: string): void {
  const value = openRow(rowKey.state, row)
  if (value === undefined || value.length < 2) throw damaged(location)
  const schema = value[0]! * 256 + value[1]!
  if (schema > schemaVersion) {
    throw new OpenIMError('STORE_NEWER', `the database ${location} has schema ${schema}, this openIM knows `
      + `${schemaVersion}; run the newer openIM that wrote it`, { details: { schema, known: schemaVersion } })
  }
}

function damaged(location: string): OpenIMError {
  return new OpenIMError('STORE_CORRUPT',
    `the database ${location} has lost its state record; repair it or restore a backup`)
}
