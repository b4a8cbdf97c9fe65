/**
 * Reads all of a store and says what is damaged. Mail and pieces whose bodies do not fit their ids
 * are dropped by reading them, because their replicas have them; a damaged record is named.
 */
import { hex } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import type { KvEntry, KvStore } from '../protocol/ports.ts'
import type { Store } from './ports.ts'
import { addCounts, noCounts, PartsDigest, storeParts } from './storage/store-parts.ts'
import type { StoreCounts } from './storage/store-parts.ts'

const pageMax = 500

export interface StoreCheck extends StoreCounts {
  /** Of what can be read. */
  readonly digest: string
  /** Names of records. */
  readonly damaged: readonly string[]
  /** Messages that were damaged, and are gone here. */
  readonly dropped: number
}

/** @throws STORE_* */
export async function checkStore(
  store: Store,
  onProgress?: (done: StoreCounts) => void,
): Promise<StoreCheck> {
  const damaged: string[] = []
  const digest = new PartsDigest()
  let counts = noCounts
  // What has only expired stays: nobody checked this clock, and a wrong one would take mail for good.
  const before = await store.mailbox.usage()
  const readable = { ...store, kv: passingOver(store.kv, (key) => damaged.push(key)) }
  for await (const part of storeParts(readable)) {
    digest.add(part)
    counts = addCounts(counts, part)
    onProgress?.(counts)
  }
  // Nobody waits for what reading drops; this takes nothing, and comes after it.
  await store.mailbox.expire(0, 1)
  const after = await store.mailbox.usage()
  return { ...counts, digest: hex(digest.hash), damaged, dropped: Math.max(0, before.items - after.items) }
}

/** Lists without the damaged records, each of which is told once: closed in on by halving the page. */
function passingOver(kv: KvStore, onDamaged: (key: string) => void): KvStore {
  return {
    get: (key) => kv.get(key),
    write: (operations) => kv.write(operations),
    expire: (nowMs, budget) => kv.expire(nowMs, budget),
    async list(range) {
      const limit = range.limit ?? Infinity
      const entries: KvEntry[] = []
      let { after } = range
      for (let size = pageMax; entries.length < limit;) {
        const asked = Math.min(size, limit - entries.length)
        try {
          const page = await kv.list({ ...range, ...after === undefined ? {} : { after }, limit: asked })
          entries.push(...page)
          if (page.length < asked) return entries
          after = page.at(-1)!.key
          size = Math.min(pageMax, size * 2)
        } catch (error) {
          const key = error instanceof OpenIMError && error.code === 'STORE_CORRUPT' && error.details.key
          if (typeof key !== 'string') throw error
          if (asked > 1) {
            size = asked >> 1
            continue
          }
          onDamaged(key)
          after = key
        }
      }
      return entries
    },
  }
}
