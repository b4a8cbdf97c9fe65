/** The place of an id in a box: what two puts of it meet in. */
import { hex } from '../../../crypto/bytes.ts'
import type { BoxId, EnvelopeId } from '../../../protocol/ids.ts'
import { bytesOf } from './sql-driver.ts'

/** Id and box in hex, as they stand in the column. */
export type SlotKey = string

export function slotKey(box: BoxId, id: EnvelopeId): SlotKey {
  return id + box
}

/** @param slot of a row */
export function slotOf(slot: unknown): { id: EnvelopeId, box: BoxId, key: SlotKey } {
  const key = hex(bytesOf(slot))
  return { id: key.slice(0, 64) as EnvelopeId, box: key.slice(64) as BoxId, key }
}
