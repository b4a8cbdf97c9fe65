/**
 * What goes with the `KvStore` port (ports.ts): walking all entries, and what every implementation
 * asks of its callers before it queues anything. Who breaks one of these has a bug
 * (`BUG_ASSERTION`): what comes from the network was checked on its way in.
 */
import { utf8 } from '../crypto/bytes.ts'
import { assert, OpenIMError } from '../crypto/errors.ts'
import { limits } from './limits.ts'
import type { KvEntry, KvOperation, KvStore } from './ports.ts'

const pageSize = 500

/** All entries under a prefix, in pages, so that a large store is never in memory at once. */
export async function* kvEntries(kv: KvStore, prefix: string): AsyncGenerator<KvEntry> {
  let after: string | undefined
  for (;;) {
    const page = await kv.list({ prefix, limit: pageSize, ...(after === undefined ? {} : { after }) })
    yield* page
    if (page.length < pageSize) return
    after = page.at(-1)!.key
  }
}

/** Others who change one record meanwhile are so many at most; each of them got on. */
const changesMax = 100

/**
 * Changes a record that others may change at the same moment: reads it, asks for its next value,
 * and writes that unless somebody was faster; then once more, with what they wrote.
 *
 * @param change gets undefined when there is none; gives undefined to leave all as it is
 * @throws STORE_BUSY, and what `change` throws
 */
export async function changeEntry(
  kv: KvStore,
  key: string,
  change: (value: Uint8Array | undefined) => Uint8Array | undefined,
): Promise<void> {
  for (let tries = 0; tries < changesMax; tries++) {
    const entry = await kv.get(key)
    const value = change(entry?.value)
    if (value === undefined) return
    const check = { type: 'check', key, version: entry?.version ?? 0 } as const
    if (await kv.write([check, { type: 'put', key, value }])) return
  }
  const message = `others changed the record ${key} ${changesMax} times meanwhile; try again`
  throw new OpenIMError('STORE_BUSY', message)
}

/** Safe from a caller who reuses its buffer. */
export function ownedOperation(operation: KvOperation): KvOperation {
  return operation.type === 'put' ? { ...operation, value: operation.value.slice() } : operation
}

/** Returns the bytes of the batch: keys and values. */
export function checkOperations(operations: readonly KvOperation[]): number {
  let bytes = 0
  for (const operation of operations) {
    bytes += checkKey(operation.key)
    if (operation.type !== 'put') continue
    const { length } = operation.value
    assert(length <= limits.kvValueBytesMax, `a value of ${length} bytes under ${operation.key}`)
    const { expiresAtMs = Infinity } = operation
    assert(expiresAtMs >= 0, `a time of ${expiresAtMs} ms`)
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
