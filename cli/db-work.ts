/** What the `db` commands share: the database of a stopped node, and how far the work is. */
import { ensureDataDir, lockDataDir } from '../node/data-dir.ts'
import type { Store } from '../node/ports.ts'
import type { StoreCounts } from '../node/storage/store-parts.ts'
import type { CommandContext } from './context.ts'
import { openDatabase } from './database.ts'
import { formatSize } from './units.ts'

/** A terminal is slower than a disk. */
const everyMs = 100

/** No node of this data directory runs meanwhile. @throws DATA_DIR_*, STORE_*, CONFIG_*, USAGE_* */
export async function withStoppedNode<T>(context: CommandContext, work: () => Promise<T>): Promise<T> {
  const { paths: { dataDir }, terminal } = context
  await ensureDataDir(dataDir)
  const lock = await lockDataDir(dataDir)
  try {
    return await work()
  } finally {
    terminal.progress('')
    await lock.release()
  }
}

/** @throws as `withStoppedNode` */
export async function withDatabase<T>(
  context: CommandContext,
  work: (store: Store) => Promise<T>,
): Promise<T> {
  return await withStoppedNode(context, async () => {
    const store = await openDatabase(context)
    try {
      return await work(store)
    } finally {
      await store.close()
    }
  })
}

/** Takes every step, shows some. */
export function storeProgress(
  { terminal, clock }: CommandContext,
  what: string,
): (done: StoreCounts & { readonly bytes?: number }) => void {
  let shownMs = -everyMs
  return (done) => {
    const nowMs = clock.monotonicMs()
    if (nowMs - shownMs < everyMs) return
    shownMs = nowMs
    const size = done.bytes === undefined ? '' : `, ${formatSize(done.bytes)}`
    terminal.progress(`${what} … ${countsText(done)}${size}`)
  }
}

export function countsText({ records, mail, pieces }: StoreCounts): string {
  return `${records} records, ${mail} messages, ${pieces} pieces of files`
}
