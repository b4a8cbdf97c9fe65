/** Walks all entries under a prefix in pages, so that a large store is never in memory at once. */
import type { KvEntry, KvStore } from './ports.ts'

const pageSize = 500

export async function* kvEntries(kv: KvStore, prefix: string): AsyncGenerator<KvEntry> {
  let after: string | undefined
  for (;;) {
    const page = await kv.list({ prefix, limit: pageSize, ...(after === undefined ? {} : { after }) })
    yield* page
    if (page.length < pageSize) return
    after = page.at(-1)!.key
  }
}
