/**
 * Two wrappers that make a key-value store fit for an account: `scopedKv` gives each account (or
 * each part of one) its own corner of a shared store, `sealedKv` encrypts values, so that a stolen
 * disk shows keys of records and their sizes, never what they hold (DESIGN §11).
 *
 * ```text
 *   sealed value:  nonce[24] ‖ XChaCha20-Poly1305(value, ad = label ‖ key name)
 * ```
 *
 * The key name is authenticated, so values cannot be swapped between records. A whole store put
 * back to an older state cannot be noticed here. When a record
 * expires is not sealed: databases act on it. Wrap as `scopedKv(sealedKv({ kv, … }), 'alice/')`:
 * then the authenticated name holds the scope too, and two accounts under one key stay apart.
 */
import { concat, utf8 } from '../../crypto/bytes.ts'
import { assert, OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import { limits } from '../limits.ts'
import type { KvEntry, KvOperation, KvRange, KvStore } from '../ports.ts'

const label = utf8('openim kv v1\0')
const keyBytes = 32
const nonceBytes = 24
const tagBytes = 16

/** Room for nonce and tag is taken from the value: at most this many bytes fit. */
export const sealedValueBytesMax = limits.kvValueBytesMax - nonceBytes - tagBytes

/**
 * Every value sealed under `key` (32 bytes, copied). `get` and `list` throw STORE_SEAL for a value
 * that does not open: another key, or changed on disk.
 */
export function sealedKv(components: { kv: KvStore, key: Uint8Array, random: Random }): KvStore {
  const { kv, random } = components
  const key = components.key.slice()
  assert(key.length === keyBytes, `a sealing key of ${key.length} bytes`)

  function seal(operation: KvOperation): KvOperation {
    if (operation.type !== 'put') return operation
    const { key: name, value } = operation
    assert(value.length <= sealedValueBytesMax, `a value of ${value.length} bytes under ${name}`)
    const nonce = random.bytes(nonceBytes)
    const sealed = crypto.sealX({ key, nonce, plaintext: value, ad: concat(label, utf8(name)) })
    return { ...operation, value: concat(nonce, sealed) }
  }

  function open(entry: KvEntry): KvEntry {
    const nonce = entry.value.subarray(0, nonceBytes)
    const ciphertext = entry.value.subarray(nonceBytes)
    const value = ciphertext.length < tagBytes
      ? undefined
      : crypto.openX({ key, nonce, ciphertext, ad: concat(label, utf8(entry.key)) })
    if (value === undefined) {
      throw new OpenIMError('STORE_SEAL', `the record ${entry.key} does not open with this key; `
        + 'another key sealed it, or it was changed on disk; restore it from a backup',
      { details: { key: entry.key, version: entry.version } })
    }
    return { ...entry, value }
  }

  return {
    async get(name) {
      const entry = await kv.get(name)
      return entry === undefined ? undefined : open(entry)
    },
    list: async (range) => (await kv.list(range)).map(open),
    write: async (operations) => await kv.write(operations.map(seal)),
    expire: (nowMs, budget) => kv.expire(nowMs, budget),
  }
}

/**
 * The records of `kv` whose keys start with `prefix`, seen without it. `expire` is the whole
 * store's: what has expired is nobody's any more.
 */
export function scopedKv(kv: KvStore, prefix: string): KvStore {
  const inside = (entry: KvEntry): KvEntry => ({ ...entry, key: entry.key.slice(prefix.length) })
  const outside = (range: KvRange): KvRange => {
    const { after, ...rest } = range
    const scoped = { ...rest, prefix: prefix + range.prefix }
    return after === undefined ? scoped : { ...scoped, after: prefix + after }
  }
  return {
    async get(key) {
      const entry = await kv.get(prefix + key)
      return entry === undefined ? undefined : inside(entry)
    },
    list: async (range) => (await kv.list(outside(range))).map(inside),
    async write(operations) {
      for (const { key } of operations) assert(key.length > 0, 'a key is not empty')
      return await kv.write(operations.map((one) => ({ ...one, key: prefix + one.key })))
    },
    expire: (nowMs, budget) => kv.expire(nowMs, budget),
  }
}
