/**
 * What every store asks of its callers before it queues anything. Whoever breaks one of these has
 * a bug (`BUG_ASSERTION`): what comes from the network was checked on its way in.
 */
import { assert } from '../../crypto/errors.ts'
import { envelopeId } from '../../protocol/envelope.ts'
import { limits } from '../../protocol/limits.ts'
import type { BoxLimits, DigestRange, MailboxItem, MailMark, Piece } from '../ports.ts'

export function checkBoxLimits({ itemsMax, bytesMax, expiresAtMs }: BoxLimits): void {
  assert(itemsMax >= 0 && bytesMax >= 0, `box limits of ${itemsMax} items and ${bytesMax} bytes`)
  checkTime(expiresAtMs)
}

/** Also that the id is the hash of the body: a store that cannot tell damage would lose mail silently. */
function checkItem({ id, body, expiresAtMs }: MailboxItem): void {
  assert(body.length <= limits.envelopeBytesMax, `an envelope of ${body.length} bytes`)
  checkTime(expiresAtMs)
  assert(envelopeId(body) === id, 'the id of an item is the envelope id of its body')
}

/** Checked, and safe from a caller who reuses its buffer. */
export function ownedItem(item: MailboxItem): MailboxItem {
  checkItem(item)
  const { box, id, expiresAtMs, body } = item
  return { box, id, expiresAtMs, body: body.slice() }
}

/** What lies around a piece in its box: id and length. */
export const pieceOverheadBytes = 36

export function checkPiece({ id, body }: Piece): void {
  assert(body.length <= limits.envelopeBytesMax, `an envelope of ${body.length} bytes`)
  assert(envelopeId(body) === id, 'the id of a piece is the envelope id of its body')
}

export function checkTombstone(tombstone: { expiresAtMs: number, proof: Uint8Array }): void {
  checkTime(tombstone.expiresAtMs)
  const { length } = tombstone.proof
  assert(length <= limits.tombstoneProofBytesMax, `a tombstone proof of ${length} bytes`)
}

export function isInDigest({ box, expiresAtMs }: MailMark, range: DigestRange): boolean {
  const { boxes, fromMs, beforeMs } = range
  return expiresAtMs >= fromMs && expiresAtMs < beforeMs && (boxes?.has(box) ?? true)
}

/** The order of a digest. */
export function compareMarks(a: MailMark, b: MailMark): number {
  if (a.expiresAtMs !== b.expiresAtMs) return a.expiresAtMs - b.expiresAtMs
  if (a.id !== b.id) return a.id < b.id ? -1 : 1
  return a.box < b.box ? -1 : a.box === b.box ? 0 : 1
}

/** Milliseconds since 1970; Infinity for ever. */
function checkTime(timeMs: number): void {
  assert(timeMs >= 0, `a time of ${timeMs} ms`)
}
