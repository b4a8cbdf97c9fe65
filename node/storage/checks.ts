/**
 * What every store asks of its callers before it queues anything. Whoever breaks one of these has
 * a bug (`BUG_ASSERTION`): what comes from the network was checked on its way in.
 */
import { assert } from '../../crypto/errors.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { envelopeId } from '../../protocol/envelope.ts'
import { limits } from '../../protocol/limits.ts'
import type { KvOperation } from '../../protocol/ports.ts'
import type { BoxLimits, MailboxItem, Piece } from '../ports.ts'

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

export function ownedOperation(operation: KvOperation): KvOperation {
  return operation.type === 'put' ? { ...operation, value: operation.value.slice() } : operation
}

export function checkTombstone(tombstone: { expiresAtMs: number, proof: Uint8Array }): void {
  checkTime(tombstone.expiresAtMs)
  const { length } = tombstone.proof
  assert(length <= limits.tombstoneProofBytesMax, `a tombstone proof of ${length} bytes`)
}

/** Milliseconds since 1970; Infinity for ever. */
function checkTime(timeMs: number): void {
  assert(timeMs >= 0, `a time of ${timeMs} ms`)
}

/** Returns the bytes of the batch: keys and values. */
export function checkOperations(operations: readonly KvOperation[]): number {
  let bytes = 0
  for (const operation of operations) {
    bytes += checkKey(operation.key)
    if (operation.type !== 'put') continue
    const { length } = operation.value
    assert(length <= limits.kvValueBytesMax, `a value of ${length} bytes under ${operation.key}`)
    bytes += length
  }
  assert(bytes <= limits.kvBatchBytesMax, `a batch of ${bytes} bytes`)
  return bytes
}

function checkKey(key: string): number {
  assert(key.length > 0 && key.isWellFormed(), 'a key is not empty and is valid Unicode')
  // UTF-8 takes 1 to 3 bytes a code unit: most keys need no encoding to be measured.
  if (key.length * 3 <= limits.kvKeyBytesMax) return key.length
  const { length } = utf8(key)
  assert(length <= limits.kvKeyBytesMax, `a key of ${length} bytes`)
  return length
}
