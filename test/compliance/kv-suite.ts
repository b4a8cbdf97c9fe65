/**
 * The compliance suite of the `KvStore` port (protocol/ports.ts): stores and wrappers alike.
 */
import * as assert from 'uvu/assert'
import { utf8, utf8Decode } from '../../crypto/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import type { KvRange, KvStore } from '../../protocol/ports.ts'
import { suite } from '../helpers/harness.ts'
import type { Suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { rejection } from './store-subject.ts'

/** A store under test; a wrapper takes some of the room for itself. */
export interface KvSubject {
  readonly kv: () => KvStore
  readonly keyBytesMax?: number
  readonly valueBytesMax?: number
}

/** For stores without anything else: wrappers, and databases behind this port alone. */
export function kvSuite(
  name: string,
  open: () => KvStore | Promise<KvStore>,
  room: Omit<KvSubject, 'kv'> = {},
): void {
  const test = suite(`compliance/kv: ${name}`)
  let kv: KvStore
  test.before.each(async () => { kv = await open() })
  recordTests(test, { kv: () => kv, ...room })
  checkTests(test, { kv: () => kv })
  kvExpiryTests(test, { kv: () => kv })
  test.run()
}

export function recordTests(test: Suite, subject: KvSubject): void {
  const { keyBytesMax = limits.kvKeyBytesMax, valueBytesMax = limits.kvValueBytesMax } = subject
  const put = (key: string, value = key) => ({ type: 'put', key, value: utf8(value) }) as const
  const keysOf = async (range: KvRange): Promise<string[]> =>
    (await subject.kv().list(range)).map(({ key }) => key)

  test('gives back what was put, and nothing for what is not there', async () => {
    const kv = subject.kv()
    assert.is(await kv.write([put('a', 'one')]), true)
    const entry = (await kv.get('a'))!
    assert.equal([entry.key, entry.value], ['a', utf8('one')])
    assert.ok(entry.version > 0)
    assert.is(await kv.get('b'), undefined)
    await kv.write([{ type: 'delete', key: 'a' }, { type: 'delete', key: 'b' }])
    assert.is(await kv.get('a'), undefined)
  })

  test('takes empty and largest values, and the longest keys', async () => {
    const kv = subject.kv()
    const large = seededRandom(2).bytes(valueBytesMax)
    const key = 'ü'.repeat(Math.floor(keyBytesMax / 2))
    const empty = new Uint8Array()
    await kv.write([{ type: 'put', key, value: large }, { type: 'put', key: 'empty', value: empty }])
    assert.equal((await kv.get(key))!.value, large)
    assert.equal((await kv.get('empty'))!.value, empty)
    assert.equal((await kv.list({ prefix: 'ü' }))[0]!.value, large)
  })

  test('treats a key or value out of bounds as a bug', async () => {
    const kv = subject.kv()
    const value = new Uint8Array()
    const tooLong = ['k'.repeat(keyBytesMax + 1), 'ü'.repeat(Math.floor(keyBytesMax / 2) + 1)]
    for (const key of ['', ...tooLong, '\ud800']) {
      assert.is(await rejection(kv.write([{ type: 'put', key, value }])), 'BUG_ASSERTION', key)
    }
    const large = new Uint8Array(valueBytesMax + 1)
    assert.is(await rejection(kv.write([{ type: 'put', key: 'k', value: large }])), 'BUG_ASSERTION')
  })

  test('lists by prefix in order, after a key, up to a limit, both ways', async () => {
    await subject.kv().write(['b/3', 'b/1', 'a/9', 'b/2', 'b', 'b/10', 'c', 'b0'].map((key) => put(key)))
    assert.equal(await keysOf({ prefix: 'b/' }), ['b/1', 'b/10', 'b/2', 'b/3'])
    assert.equal(await keysOf({ prefix: 'b/', after: 'b/10' }), ['b/2', 'b/3'])
    assert.equal(await keysOf({ prefix: 'b/', after: 'b/11' }), ['b/2', 'b/3'])
    assert.equal(await keysOf({ prefix: 'b/', limit: 2 }), ['b/1', 'b/10'])
    assert.equal(await keysOf({ prefix: 'b/', limit: 0 }), [])
    assert.equal(await keysOf({ prefix: 'b/', reverse: true }), ['b/3', 'b/2', 'b/10', 'b/1'])
    assert.equal(await keysOf({ prefix: 'b/', reverse: true, after: 'b/2' }), ['b/10', 'b/1'])
    assert.equal(await keysOf({ prefix: 'b/', reverse: true, after: 'b/2', limit: 1 }), ['b/10'])
    assert.equal(await keysOf({ prefix: '' }), ['a/9', 'b', 'b/1', 'b/10', 'b/2', 'b/3', 'b0', 'c'])
    assert.equal(await keysOf({ prefix: 'd' }), [])
  })

  test('takes an `after` outside the prefix', async () => {
    await subject.kv().write(['aa', 'b/1', 'b/2', 'bz'].map((key) => put(key)))
    assert.equal(await keysOf({ prefix: 'b/', after: 'a' }), ['b/1', 'b/2'])
    assert.equal(await keysOf({ prefix: 'b/', after: 'c' }), [])
    assert.equal(await keysOf({ prefix: 'b/', after: 'c', reverse: true }), ['b/2', 'b/1'])
    assert.equal(await keysOf({ prefix: 'b/', after: 'a', reverse: true }), [])
  })

  test('lists in the same order as a sorted array', async () => {
    const kv = subject.kv()
    const random = seededRandom('order')
    const keys = new Set(Array.from({ length: 200 }, () => {
      const length = 1 + randomInteger(random, 6)
      return Array.from({ length }, () => String.fromCharCode(32 + randomInteger(random, 95))).join('')
    }))
    await kv.write([...keys].map((key) => put(key)))
    assert.equal(await keysOf({ prefix: '' }), [...keys].toSorted((a, b) => (a < b ? -1 : 1)))
  })

  test('does not notice what a caller does to its buffers afterwards', async () => {
    const kv = subject.kv()
    const value = utf8('value')
    const done = kv.write([{ type: 'put', key: 'k', value }])
    value.fill(0)
    await done
    const entry = (await kv.get('k'))!
    assert.equal(entry.value, utf8('value'))
    entry.value.fill(0)
    for (const listed of await kv.list({ prefix: 'k' })) listed.value.fill(0)
    assert.equal((await kv.get('k'))!.value, utf8('value'))
  })

  test('applies a batch in order: the last change of a key wins', async () => {
    const kv = subject.kv()
    const remove = (key: string) => ({ type: 'delete', key }) as const
    await kv.write([put('a', 'one'), put('a', 'two'), put('b'), remove('b'), remove('c'), put('c')])
    assert.equal((await kv.get('a'))!.value, utf8('two'))
    assert.equal(await keysOf({ prefix: '' }), ['a', 'c'])
  })
}

export function checkTests(test: Suite, subject: KvSubject): void {
  const put = (key: string, value: string) => ({ type: 'put', key, value: utf8(value) }) as const
  const check = (key: string, version: number) => ({ type: 'check', key, version }) as const

  test('writes when the checks hold, and grows the version with every put', async () => {
    const kv = subject.kv()
    assert.is(await kv.write([check('a', 0), put('a', 'one')]), true)
    const first = (await kv.get('a'))!.version
    assert.is(await kv.write([check('a', first), put('a', 'two')]), true)
    const second = (await kv.get('a'))!.version
    assert.ok(second > first)
    assert.equal((await kv.list({ prefix: 'a' }))[0]!.version, second)
  })

  test('writes nothing of a batch when one check fails', async () => {
    const kv = subject.kv()
    await kv.write([put('a', 'one')])
    const { version } = (await kv.get('a'))!
    for (const failing of [check('a', 0), check('a', version + 1), check('b', 1)]) {
      const batch = [put('c', 'x'), { type: 'delete', key: 'a' } as const, check('a', version), failing]
      assert.is(await kv.write(batch), false)
    }
    assert.equal((await kv.list({ prefix: '' })).map(({ key }) => key), ['a'])
  })

  test('checks against what was there before the batch', async () => {
    const kv = subject.kv()
    assert.is(await kv.write([put('a', 'one'), check('a', 0)]), true)
    assert.is(await kv.write([{ type: 'delete', key: 'a' }, check('a', 0)]), false)
  })

  test('lets exactly one of many racing writers win each round', async () => {
    const kv = subject.kv()
    let version = 0
    for (let round = 0; round < 5; round++) {
      const results = await Promise.all(Array.from({ length: 20 }, (_, i) =>
        kv.write([check('counter', version), put('counter', `${round} ${i}`)])))
      assert.is(results.filter(Boolean).length, 1)
      assert.is(results[0], true)
      version = (await kv.get('counter'))!.version
    }
  })

  test('loses no increment of racing compare-and-set loops', async () => {
    const kv = subject.kv()
    const increment = async (): Promise<void> => {
      for (;;) {
        const entry = await kv.get('n')
        const n = entry === undefined ? 0 : Number(utf8Decode(entry.value))
        if (await kv.write([check('n', entry?.version ?? 0), put('n', String(n + 1))])) return
      }
    }
    await Promise.all(Array.from({ length: 20 }, increment))
    assert.equal((await kv.get('n'))!.value, utf8('20'))
  })

  test('keeps the call order of concurrent writes', async () => {
    const kv = subject.kv()
    await Promise.all(Array.from({ length: 100 }, (_, i) =>
      kv.write([put('last', String(i)), put(`all/${i}`, '')])))
    assert.equal((await kv.get('last'))!.value, utf8('99'))
    assert.is((await kv.list({ prefix: 'all/' })).length, 100)
  })

  test('takes an empty batch', async () => {
    assert.is(await subject.kv().write([]), true)
  })
}

/** Times are long past or far ahead, so that every clock agrees. */
export function kvExpiryTests(test: Suite, subject: KvSubject): void {
  const past = 1_000
  const ahead = 10 ** 15
  const put = (key: string, expiresAtMs?: number) =>
    ({ type: 'put', key, value: utf8(key), ...expiresAtMs === undefined ? {} : { expiresAtMs } }) as const
  const check = (key: string, version: number) => ({ type: 'check', key, version }) as const
  const keysOf = async (range: KvRange): Promise<string[]> =>
    (await subject.kv().list(range)).map(({ key }) => key)

  test('what has expired is not there: for get, list and check', async () => {
    const kv = subject.kv()
    await kv.write([put('a', past), put('b', ahead), put('c'), put('d', Infinity), put('e', past)])
    assert.is(await kv.get('a'), undefined)
    assert.equal((await kv.get('b'))!.value, utf8('b'))
    const ends = (await kv.list({ prefix: '' })).map((entry) => entry.expiresAtMs)
    assert.equal(ends, [ahead, Infinity, Infinity])
    assert.is((await kv.get('b'))!.expiresAtMs, ahead)
    assert.equal(await keysOf({ prefix: '' }), ['b', 'c', 'd'])
    assert.equal(await keysOf({ prefix: '', limit: 1 }), ['b'])
    assert.equal(await keysOf({ prefix: '', limit: 2, reverse: true }), ['d', 'c'])
    const { version } = (await kv.get('b'))!
    assert.is(await kv.write([check('a', 0), check('b', version), put('a', ahead)]), true)
    assert.is(await kv.write([check('a', 0), put('a')]), false)
  })

  test('a put sets the time anew, or takes it away', async () => {
    const kv = subject.kv()
    await kv.write([put('a', past), put('b', ahead), put('c', past)])
    await kv.write([put('a', ahead), put('b', past), put('c')])
    assert.equal(await keysOf({ prefix: '' }), ['a', 'c'])
    assert.is(await kv.expire(past, 10), 1)
    assert.equal(await keysOf({ prefix: '' }), ['a', 'c'])
    assert.is(await kv.expire(ahead, 10), 1)
    assert.equal(await keysOf({ prefix: '' }), ['c'])
  })

  test('removes expired entries within its budget, to the millisecond, and nothing else', async () => {
    const kv = subject.kv()
    const keys = Array.from({ length: 25 }, (_, i) => `x/${String(i).padStart(2, '0')}`)
    await kv.write([...keys.map((key, i) => put(key, past + i)), put('y', ahead), put('z')])
    assert.is(await kv.expire(past - 1, 100), 0)
    assert.is(await kv.expire(past, 100), 1)
    const steps: number[] = []
    for (let gone = -1; gone !== 0;) steps.push(gone = await kv.expire(past + 1_000, 10))
    assert.equal(steps, [10, 10, 4, 0])
    assert.equal(await keysOf({ prefix: '' }), ['y', 'z'])
    await kv.write([put('x/00', past)])
    assert.is(await kv.expire(past, 1), 1)
  })

  test('a deleted entry does not expire again', async () => {
    const kv = subject.kv()
    await kv.write([put('a', past), put('b', past)])
    await kv.write([{ type: 'delete', key: 'a' }])
    assert.is(await kv.expire(past, 10), 1)
  })

  test('treats a time out of bounds as a bug', async () => {
    for (const time of [-1, NaN]) {
      assert.is(await rejection(subject.kv().write([put('a', time)])), 'BUG_ASSERTION')
    }
  })
}
