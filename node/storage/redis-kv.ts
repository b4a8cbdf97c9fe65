/**
 * `KvStore` over Redis. A record whose checksum does not fit is never returned and never dropped:
 * reading it throws STORE_CORRUPT with its key, for only its owner knows what it was worth; writing
 * it heals it. (Redis puts no checksum over its append-only log.)
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { checkOperations, ownedOperation } from '../../protocol/kv.ts'
import type { KvEntry, KvOperation, KvRange, KvStore } from '../../protocol/ports.ts'
import { openRow, sealRow } from './level-rows.ts'
import type { RedisArgument } from './redis-link.ts'
import type { RedisStoreComponents } from './redis-mailbox.ts'
import { fromLua, luaNumber } from './redis-scripts.ts'
import { bytesOf } from './redis-values.ts'

/** Asked for at once; a page also ends at some megabytes (redis-scripts-read.ts). */
const pageRows = 500
/** Removed in one run of the script: others are not held up for long. */
const expireStep = 500
/** No UTF-8 text holds the byte 0xff. */
const afterPrefix = Buffer.from([0xff])

export class RedisKv implements KvStore {
  readonly #components: RedisStoreComponents

  constructor(components: RedisStoreComponents) {
    this.#components = components
  }

  /** @throws STORE_CORRUPT */
  async get(key: string): Promise<KvEntry | undefined> {
    const reply = await this.#components.queue.read('kv_get', key)
    if (reply === null) return undefined
    const [row, value] = reply as [Buffer, Buffer]
    return this.#entry(key, row, value)
  }

  /**
   * Each page of some hundred records is true for its own moment.
   * @throws STORE_CORRUPT when one of them is damaged
   */
  async list({ prefix, after, limit = Infinity, reverse = false }: KvRange): Promise<KvEntry[]> {
    const first = Buffer.from(prefix)
    const end = Buffer.concat([first, afterPrefix])
    const cut = after === undefined ? undefined : Buffer.from(after)
    // In the form of Redis: `[` takes what is named, `(` what is behind or before it.
    let low: RedisArgument = prefix === '' ? '-' : `[${prefix}`
    let high: RedisArgument = prefix === '' ? '+' : Buffer.concat([Buffer.from('('), end])
    if (cut !== undefined && !reverse && Buffer.compare(cut, first) >= 0) low = `(${after}`
    if (cut !== undefined && reverse && Buffer.compare(cut, end) < 0) high = `(${after}`
    const entries: KvEntry[] = []
    while (entries.length < limit) {
      const count = luaNumber(Math.min(limit - entries.length, pageRows))
      const reply = await this.#components.queue.read('kv_list', reverse ? 'down' : 'up', low, high, count)
      const [more, rows] = reply as [number, [Buffer, Buffer, Buffer][]]
      for (const [key, row, value] of rows) entries.push(this.#entry(key.toString(), row, value))
      if (more === 0) break
      const next = `(${entries.at(-1)!.key}`
      if (reverse) high = next
      else low = next
    }
    return entries
  }

  async write(operations: readonly KvOperation[]): Promise<boolean> {
    const bytes = checkOperations(operations)
    const own = operations.map(ownedOperation)
    const checks = own.filter((one) => one.type === 'check')
    const args: RedisArgument[] = [String(checks.length)]
    for (const { key, version } of checks) args.push(key, String(version))
    for (const one of own) {
      if (one.type === 'delete') args.push('delete', one.key)
      if (one.type !== 'put') continue
      const { key, value, expiresAtMs = Infinity } = one
      args.push('put', key, luaNumber(expiresAtMs), bytesOf(sealRow(key, value)))
    }
    const grows = own.some((one) => one.type === 'put')
    return await this.#components.queue.submit({
      name: 'kv_write', args, grows, bytes: bytes + own.length * 128, answer: (value) => value === 1,
    })
  }

  async expire(nowMs: number, budget: number): Promise<number> {
    let gone = 0
    while (gone < budget) {
      const step = Math.min(budget - gone, expireStep)
      const went = await this.#components.queue.submit({
        name: 'kv_expire', args: [luaNumber(nowMs), String(step)], grows: false, bytes: 1_024, answer: Number,
      })
      gone += went
      if (went < step) break
    }
    return gone
  }

  #entry(key: string, row: Buffer, sealed: Buffer): KvEntry {
    const [version, ends] = String(row).split(' ') as [string, string]
    const value = openRow(key, sealed)
    if (value !== undefined) {
      return { key, value: value.slice(), version: Number(version), expiresAtMs: fromLua(ends) }
    }
    this.#components.onCorrupt(key)
    const message = `the record ${key} is damaged; restore it from a backup`
    throw new OpenIMError('STORE_CORRUPT', message, { details: { key } })
  }
}
