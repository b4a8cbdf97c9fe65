/** The place of an id in a box: what two puts of it meet in. */
import type { BoxId, EnvelopeId } from '../../../protocol/ids.ts'

/** Id and box in hex, as they stand in the column. */
export type SlotKey = string

export function slotKey(box: BoxId, id: EnvelopeId): SlotKey {
  return id + box
}

/** @param slot of a row */
export function slotOf(slot: unknown): { id: EnvelopeId, box: BoxId, key: SlotKey } {
  const key = columnHex(slot)
  return { id: key.slice(0, 64) as EnvelopeId, box: key.slice(64) as BoxId, key }
}

/** Hexadecimal of ours: natively ten times as fast as with its checks, and it is done for each row. */
export function columnBytes(text: string): Uint8Array {
  return Buffer.from(text, 'hex')
}

export function columnHex(value: unknown): string {
  const { buffer, byteOffset, length } = value as Uint8Array
  return Buffer.from(buffer, byteOffset, length).toString('hex')
}
