/**
 * Goes on after damage: records that do not open are set aside one by one, so that a bad sector
 * costs what stood there and not the account. It stands between a sealed store (kv.ts) and its
 * user, to whom such a record is absent; what that means is the user's (a session is made anew, a
 * counter starts again).
 *
 * ```text
 *   get, list ──► STORE_SEAL, STORE_CORRUPT ──► record deleted, damaged/NAME written ──► once more
 * ```
 *
 * Nothing is guessed: a value comes back as it was written, or not at all. Vital records, without
 * which an account would quietly become another one, are refused instead. With another key every
 * record is damaged: whoever opens a store sees first that a vital one opens.
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { encode, struct, u64 } from '../codec/struct.ts'
import type { Clock, KvEntry, KvOperation, KvRange, KvStore } from '../ports.ts'

export const damagedPrefix = 'damaged/'

/** When a record was found damaged. */
export const damagedCodec = struct<{ readonly foundAtMs: number }>({ foundAtMs: u64 })

export interface SalvageOptions {
  /** What stands before the names of this user's records in the store below. */
  readonly scope: string
  /** By name without scope: reading it damaged throws STORE_SEAL or STORE_CORRUPT. */
  isVital(name: string): boolean
  /** A record was set aside, durably. */
  onSetAside(name: string, code: string): void
}

/** The same store, in which damaged records are absent. Names below `scope` only. */
export function salvagingKv(components: { kv: KvStore, clock: Clock }, options: SalvageOptions): KvStore {
  const { kv, clock } = components
  const { scope } = options

  /** @throws the problem itself unless it is one record's, and that one is not vital */
  async function setAside(problem: unknown): Promise<void> {
    const code = errorCode(problem)
    const { key: damaged, version } = problem instanceof OpenIMError ? problem.details : {}
    const isOne = (code === 'STORE_SEAL' || code === 'STORE_CORRUPT') && typeof damaged === 'string'
    if (!isOne || !damaged.startsWith(scope)) throw problem
    const name = damaged.slice(scope.length)
    if (options.isVital(name)) throw problem
    const operations: KvOperation[] = [{ type: 'delete', key: damaged }]
    // Written anew by somebody meanwhile: then there is nothing to do. A row that the database cannot
    // read has no version.
    if (typeof version === 'number') operations.push({ type: 'check', key: damaged, version })
    const mark = `${scope}${damagedPrefix}${name}`
    // A mark that is damaged itself leaves none.
    if (!name.startsWith(damagedPrefix)) {
      const value = encode(damagedCodec, { foundAtMs: clock.now() })
      operations.push({ type: 'put', key: mark, value })
    }
    if (await kv.write(operations)) options.onSetAside(name, code)
  }

  async function salvaged<T>(read: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await read()
      } catch (problem) {
        await setAside(problem)
      }
    }
  }

  return {
    get: (key: string): Promise<KvEntry | undefined> => salvaged(() => kv.get(key)),
    list: (range: KvRange): Promise<KvEntry[]> => salvaged(() => kv.list(range)),
    write: (operations) => kv.write(operations),
    expire: (nowMs, budget) => kv.expire(nowMs, budget),
  }
}
