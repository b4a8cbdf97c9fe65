/** Two stores, or two processes, that race on one SQL database: every rule holds between them, too. */
import * as assert from 'uvu/assert'
import { systemClock } from '../../../protocol/system-clock.ts'
import { schemaVersion } from '../../../node/storage/sql/sql-schema.ts'
import type { SqlStore } from '../../../node/storage/sql/sql-store.ts'
import { boxNamed, hourMs, idsIn, itemOf, proof, wide } from '../../compliance/store-subject.ts'
import type { Suite } from '../../helpers/harness.ts'
import { mariadbKind, postgresqlKind } from '../../helpers/sql-kinds.ts'
import type { KillPlace } from './kill-place.ts'
import { RaceProcess } from './race-process.ts'
import type { RaceTask } from './race-process.ts'
import { box, everlasting, mail, sqlGroundSuite } from './sql-ground.ts'
import type { SqlGround } from './sql-ground.ts'

function raceTests(test: Suite, ground: SqlGround): void {
  const two = async (): Promise<[SqlStore, SqlStore]> => [await ground.store(), await ground.store()]

  test('holds a quota exactly under 200 puts from two sides', async () => {
    const [one, other] = await two()
    await one.mailbox.setBox(box, { ...wide, itemsMax: 100 })
    const results = await Promise.all(mail(200).map((item, i) =>
      (i % 2 === 0 ? one : other).mailbox.put([item])))
    const stored = results.flat().filter((result) => result === 'stored').length
    assert.equal([stored, results.flat().length], [100, 200])
    assert.equal(await other.mailbox.usage(), { items: 100, bytes: 20_000 })
    assert.is((await idsIn(one, box)).length, 100)
  })

  test('holds quota and write-once exactly between two processes', async () => {
    const store = await ground.store()
    const [own, shared] = [boxNamed('own'), boxNamed('shared')]
    await store.mailbox.setBox(own, { ...wide, itemsMax: 100 })
    await store.mailbox.setBox(shared, wide)
    const place = { kind: ground.kind.name, address: ground.kind.address(ground.server) }
    const answers = await raceOf(place, [0, 100])
    const outcomes = answers.flatMap((one) => one.own).toSorted()
    assert.equal([outcomes.lastIndexOf('over-quota'), outcomes.lastIndexOf('stored')], [99, 199])
    for (let i = 0; i < 100; i++) {
      assert.equal(answers.map((one) => one.shared[i]!).toSorted(), ['duplicate', 'stored'])
    }
    const expected = { items: 200, bytes: 40_000 }
    assert.equal([await store.mailbox.usage(), (await idsIn(store, own)).length], [expected, 100])
  })

  test('gives one stored and one duplicate to the same item from two sides', async () => {
    const [one, other] = await two()
    await one.mailbox.setBox(box, everlasting)
    const results = await Promise.all(mail(50).map(async (item) =>
      (await Promise.all([one, other].map((store) => store.mailbox.put([item])))).flat().toSorted()))
    for (const result of results) assert.equal(result, ['duplicate', 'stored'])
    assert.is((await idsIn(one, box)).length, 50)
  })

  test('counts each item once when expiry and acknowledgements race', async () => {
    const [one, other] = await two()
    await one.mailbox.setBox(box, everlasting)
    const expiresAtMs = systemClock.now() + hourMs
    const items = Array.from({ length: 200 }, (_, number) => itemOf({ box, number, expiresAtMs }))
    await one.mailbox.put(items)
    const later = { expiresAtMs: expiresAtMs + hourMs, proof }
    const acknowledging = items.map(({ id }) => other.mailbox.acknowledge(box, [id], later))
    const expiring = Array.from({ length: 20 }, () => one.mailbox.expire(expiresAtMs, 10))
    const gone = (await Promise.all([...acknowledging, ...expiring])).reduce((sum, count) => sum + count, 0)
    assert.is(gone, 200)
    assert.equal(await one.mailbox.usage(), { items: 0, bytes: 0 })
    for (const { id } of items) assert.equal(await one.mailbox.tombstone(box, id), proof)
  })

  test('lets one of two sides win each compare-and-set, and loses no increment', async () => {
    const [one, other] = await two()
    const increment = async (store: SqlStore): Promise<void> => {
      for (;;) {
        const entry = await store.kv.get('n')
        const n = entry === undefined ? 0 : entry.value[0]!
        const value = new Uint8Array([n + 1])
        const check = { type: 'check', key: 'n', version: entry?.version ?? 0 } as const
        if (await store.kv.write([check, { type: 'put', key: 'n', value }])) return
      }
    }
    await Promise.all(Array.from({ length: 20 }, (_, i) => increment(i % 2 === 0 ? one : other)))
    assert.equal((await one.kv.get('n'))!.value, new Uint8Array([20]))
  })

  test('shows a reader on the other side every item, however the puts interleave', async () => {
    const [one, other] = await two()
    await one.mailbox.setBox(box, everlasting)
    const seen: string[] = []
    const writing = Promise.all(mail(300).map((item, i) =>
      (i % 2 === 0 ? one : other).mailbox.put([item])))
    let isWritten = false
    writing.then(() => { isWritten = true }, () => {})
    for (let after = 0, isLast = false; !isLast;) {
      isLast = isWritten
      const { entries } = await other.mailbox.list(box, { after, itemsMax: 1_000, bytesMax: 1_000_000 })
      seen.push(...entries.map(({ id }) => id))
      after = entries.at(-1)?.position ?? after
    }
    await writing
    assert.equal(seen.toSorted(), mail(300).map(({ id }) => id as string).toSorted())
  })

  test('makes its tables once when six open an empty database at once', async () => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => ground.store()))
    await stores[0]!.mailbox.setBox(box, wide)
    for (const store of stores) assert.is((await store.mailbox.boxes()).length, 1)
    const driver = await ground.driver()
    const rows = await driver.run('SELECT version FROM openim_schema')
    assert.equal(rows.map(({ version }) => Number(version)), [schemaVersion])
    await driver.close()
  })
}

/** What two processes hear that put 100 items each, some of their own and some of both, at once. */
async function raceOf(
  place: KillPlace,
  firsts: readonly number[],
): Promise<{ own: string[], shared: string[] }[]> {
  const children = await Promise.all(firsts.map(() => RaceProcess.start(place)))
  const put = (box: string, from: number): RaceTask => ({
    do: 'put',
    box: boxNamed(box),
    numbers: Array.from({ length: 100 }, (_, i) => from + i),
    expiresAtMs: null,
  })
  try {
    const own = await Promise.all(children.map((child, i) => child.ask<string[]>(put('own', firsts[i]!))))
    const shared = await Promise.all(children.map((child) => child.ask<string[]>(put('shared', 0))))
    return children.map((_, i) => ({ own: own[i]!, shared: shared[i]! }))
  } finally {
    await Promise.all(children.map((child) => child.kill()))
  }
}

for (const kind of [postgresqlKind, mariadbKind]) sqlGroundSuite('sql-races', kind, raceTests)
