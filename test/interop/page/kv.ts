/**
 * Runs inside a page: the compliance suite of the `KvStore` port over IndexedDB, what is special to
 * that store, and how fast it is.
 */
import { systemClock } from '../../../protocol/system-clock.ts'
import { IndexedDbKv } from '../../../protocol/client/indexed-db-kv.ts'
import { systemRandom } from '../../../crypto/random.ts'
import { errorCode } from '../../../crypto/errors.ts'
import { kvSuite } from '../../compliance/kv-suite.ts'
import { runAll } from './harness.ts'

function removeDatabase(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name)
    request.onsuccess = () => resolve()
    request.onerror = () => reject(request.error as Error)
  })
}

/** A fresh store; the one before is closed. */
let kv: IndexedDbKv | undefined
let opened = 0
async function fresh(): Promise<IndexedDbKv> {
  await kv?.close()
  kv = await IndexedDbKv.open({ name: `suite ${++opened}` })
  return kv
}

export async function compliance(): Promise<{ names: string[], failures: string[] }> {
  kvSuite('IndexedDB', fresh)
  return await runAll()
}

/** The code with which a second page is refused, and that a closed store says. */
export async function codes(): Promise<{ second: string | undefined, closed: string | undefined }> {
  const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
    promise.then(() => undefined, errorCode)
  const first = await IndexedDbKv.open({ name: 'codes' })
  const after = (_ms: number, callback: () => void) => systemClock.after(10, callback)
  const hasty = { ...systemClock, after }
  const second = await codeOf(IndexedDbKv.open({ name: 'codes', clock: hasty }))
  await first.close()
  const closed = await codeOf(first.get('a'))
  await (await IndexedDbKv.open({ name: 'codes' })).close()
  await removeDatabase('codes')
  return { second, closed }
}

/** Milliseconds: 2,000 records of 300 bytes in one batch, one synced write after another, 50 of them read. */
export async function speed(): Promise<{ batch: number, single: number, page: number, together: number }> {
  const store = await fresh()
  const put = (i: number) => ({
    type: 'put', key: `history/${String(i).padStart(16, '0')}`, value: systemRandom.bytes(300),
  }) as const
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const startMs = performance.now()
    await work()
    return performance.now() - startMs
  }
  const batch = await timed(() => store.write(Array.from({ length: 2_000 }, (_, i) => put(i))))
  const single = await timed(async () => { for (let i = 0; i < 100; i++) await store.write([put(i)]) }) / 100
  const page = await timed(() => store.list({ prefix: 'history/', reverse: true, limit: 50 }))
  const all = Array.from({ length: 100 }, (_, i) => i)
  const together = await timed(() => Promise.all(all.map((i) => store.write([put(i)]))))
  return { batch, single, page, together }
}
