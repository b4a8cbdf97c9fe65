/**
 * What happens to an SQL store when its server is killed, freezes or goes away, when locks collide,
 * and when what it finds is not what it left. Real servers, on sockets of their own.
 */
import { inspect } from 'node:util'
import * as assert from 'uvu/assert'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { limits } from '../../../protocol/limits.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { silentLog } from '../../../node/ports.ts'
import type { MailboxItem, PutResult } from '../../../node/ports.ts'
import type { SqlDriver, SqlReader, SqlSession } from '../../../node/storage/sql/sql-driver.ts'
import { schemaVersion } from '../../../node/storage/sql/sql-schema.ts'
import { openSqlStore } from '../../../node/storage/sql/sql-store.ts'
import { boxNamed, idsIn, itemOf, proof, rejection } from '../../compliance/store-subject.ts'
import type { Suite } from '../../helpers/harness.ts'
import { mariadbKind, postgresqlKind } from '../../helpers/sql-kinds.ts'
import { killCampaignAt, killServerCampaign } from './kill-campaign.ts'
import { box, everlasting, hasty, mail, sqlGroundSuite } from './sql-ground.ts'
import type { SqlGround } from './sql-ground.ts'

// ── The server goes ─────────────────────────────────────────────────────────────────────────

function serverTests(test: Suite, ground: SqlGround): void {
  test('loses and doubles nothing when the server is killed three times under its writers', async () => {
    const { server, kind } = ground
    const place = { kind: kind.name, address: kind.address(server) }
    const { put, acknowledged } = await killServerCampaign(server, place, { rounds: 3, seed: kind.name })
    assert.ok(put > 400 && acknowledged > 50, `${put} stored, ${acknowledged} acknowledged`)
  })

  test('refuses writes and reads in time while the server is away, and goes on afterwards', async () => {
    const store = await ground.store(hasty)
    await store.mailbox.setBox(box, everlasting)
    await ground.server.stop()
    const beforeMs = systemClock.monotonicMs()
    assert.is(await rejection(store.mailbox.put(mail(1))), 'STORE_AWAY')
    const waitedMs = systemClock.monotonicMs() - beforeMs
    assert.ok(waitedMs > limits.databaseAwayMs / 2 && waitedMs < 3 * limits.databaseAwayMs, `${waitedMs} ms`)
    assert.is(store.health().away, true)
    const againMs = systemClock.monotonicMs()
    assert.is(await rejection(store.kv.write([{ type: 'delete', key: 'k' }])), 'STORE_AWAY')
    assert.is(await rejection(store.mailbox.boxes()), 'STORE_AWAY')
    assert.ok(systemClock.monotonicMs() - againMs < limits.databaseAwayMs, 'nobody waits twice')
    await ground.server.start()
    assert.equal(await store.mailbox.put(mail(1)), ['stored'])
    assert.equal([(await store.mailbox.boxes()).length, store.health().away], [1, false])
  })

  test('takes no more into its queue than it may while the server is away', async () => {
    const store = await ground.store(hasty)
    await store.mailbox.setBox(box, everlasting)
    await ground.server.stop()
    const large = Array.from({ length: 320 }, (_, number) =>
      itemOf({ box, number, expiresAtMs: Infinity, bytes: limits.envelopeBytesMax }))
    const codes = await Promise.all(large.map((item) => rejection(store.mailbox.put([item]))))
    assert.equal(new Set(codes), new Set(['STORE_AWAY', 'STORE_BUSY']))
    const busy = codes.filter((code) => code === 'STORE_BUSY').length
    const expected = large.length - Math.floor(limits.commitQueueBytesMax / (limits.envelopeBytesMax + 512))
    assert.is(busy, expected)
    await ground.server.start()
  })

  test('notices a server that froze, and knows afterwards what became of the write', async () => {
    const store = await ground.store(hasty)
    await store.mailbox.setBox(box, everlasting)
    await store.mailbox.put(mail(1))
    ground.server.freeze()
    try {
      const beforeMs = systemClock.monotonicMs()
      const refused = [store.mailbox.put(mail(1, 1)), store.mailbox.usage(), store.kv.get('k')]
      assert.equal(await Promise.all(refused.map(rejection)), ['STORE_AWAY', 'STORE_AWAY', 'STORE_AWAY'])
      assert.ok(systemClock.monotonicMs() - beforeMs < 10_000)
    } finally {
      ground.server.thaw()
    }
    const [first, second] = await store.mailbox.put(mail(2))
    assert.equal([first, second === 'stored' || second === 'duplicate'], ['duplicate', true])
    assert.equal(await idsIn(store, box), mail(2).map(({ id }) => id))
  })

  test('looks up whether a group was written when the connection broke during its commit', async () => {
    for (const isWritten of [false, true]) {
      const driver = breakingAtCommit(await ground.driver(), isWritten)
      const store = await openSqlStore({ driver, clock: systemClock, log: silentLog })
      await store.mailbox.setBox(box, everlasting)
      const check = { type: 'check', key: `n${String(isWritten)}`, version: 0 } as const
      driver.breakNext()
      const answers = await Promise.all([
        store.mailbox.put(mail(2, isWritten ? 10 : 20)),
        store.kv.write([check, { ...check, type: 'put', value: proof }]),
      ])
      assert.equal(answers, [['stored', 'stored'], true])
      assert.is(driver.broken(), 2)
      await store.close()
    }
  })
}

/** Loses the connection before or after the server heard COMMIT. */
function breakingAtCommit(driver: SqlDriver, isWritten: boolean) {
  let breaks = 0
  let broken = 0
  const lost = new OpenIMError('ECONNRESET', 'the connection broke')
  const transaction = async <T>(work: (session: SqlSession) => Promise<T>): Promise<T> => {
    if (breaks === 0) return await driver.transaction(work)
    breaks--
    broken++
    await driver.transaction(async (session) => {
      await work(session)
      if (!isWritten) throw lost
    })
    throw lost
  }
  const { dialect, statementBytesMax } = driver
  return {
    dialect,
    statementBytesMax,
    transaction,
    run: (...given: Parameters<SqlDriver['run']>) => driver.run(...given),
    migration: <T>(work: (session: SqlReader) => Promise<T>) => driver.migration(work),
    trouble: (error: unknown) => driver.trouble(error),
    undurable: () => driver.undurable(),
    close: () => driver.close(),
    /** Of both lanes. */
    breakNext: () => { breaks = 2 },
    broken: () => broken,
  }
}

// ── Locks and connections ───────────────────────────────────────────────────────────────────

function lockTests(test: Suite, ground: SqlGround): void {
  const isPostgresql = ground.kind.name === 'PostgreSQL'

  test('does a group again that the database gave up in a deadlock', async () => {
    const store = await ground.store()
    const driver = await ground.driver()
    const [low, high] = [boxNamed('aa'), boxNamed('ab')]
    for (const one of [low, high]) await store.mailbox.setBox(one, everlasting)
    const stripe = (name: typeof low): bigint => BigInt(Number.parseInt(name.slice(0, 4), 16) % 64)
    const [first, second] = [stripe(low), stripe(high)]
    assert.ok(first < second)
    const lock = 'SELECT stripe FROM openim_lock WHERE stripe = ? FOR UPDATE'
    let put: Promise<PutResult[]> | undefined
    await driver.transaction(async (session) => {
      // The other one is to be given up: this one is patient, or has more to lose.
      if (isPostgresql) await session.run('SET LOCAL deadlock_timeout = \'60s\'')
      const insert = 'INSERT INTO openim_lock (stripe) VALUES (?)'
      for (let i = 0n; i < 50n; i++) await session.run(insert, [1_000n + i])
      await session.run(lock, [second])
      const items = [low, high].map((one) => itemOf({ box: one, number: 1, expiresAtMs: Infinity }))
      put = store.mailbox.put(items)
      await untilWaiting(driver, isPostgresql)
      await session.run(lock, [first])
    })
    assert.equal(await put, ['stored', 'stored'])
    await driver.close()
  })

  test('refuses readers in time while all connections are in use, and still writes', async () => {
    const store = await ground.store({ ...hasty, connectionsMax: 2 })
    await store.mailbox.setBox(box, everlasting)
    const [item] = mail(1) as [MailboxItem]
    await store.mailbox.put([item])
    const driver = await ground.driver()
    await driver.transaction(async (session) => {
      const lock = isPostgresql ? 'TABLE openim_mail IN ACCESS EXCLUSIVE MODE' : 'TABLES openim_mail WRITE'
      await session.run(`LOCK ${lock}`)
      const codes = Array.from({ length: 20 }, () => rejection(store.mailbox.get(box, item.id)))
      assert.equal(new Set(await Promise.all(codes)), new Set(['STORE_AWAY']))
      assert.is(await store.kv.write([{ type: 'put', key: 'k', value: proof }]), true)
      if (!isPostgresql) await session.run('UNLOCK TABLES')
    })
    assert.is((await store.mailbox.get(box, item.id))!.id, item.id)
    await driver.close()
  })
}

/** Until another transaction waits for one of our locks. */
async function untilWaiting(driver: SqlDriver, isPostgresql: boolean): Promise<void> {
  const text = isPostgresql
    ? 'SELECT count(*) AS "Value" FROM pg_locks WHERE NOT granted'
    : 'SHOW GLOBAL STATUS LIKE \'Innodb_row_lock_current_waits\''
  while (Number((await driver.run(text))[0]!['Value']) === 0);
}

// ── What it finds and leaves ────────────────────────────────────────────────────────────────

function lifeTests(test: Suite, ground: SqlGround): void {
  test('refuses a database of a newer openIM, and changes nothing in it', async () => {
    const store = await ground.store()
    await store.close()
    const driver = await ground.driver()
    await driver.run('UPDATE openim_schema SET version = ?', [BigInt(schemaVersion + 1)])
    assert.is(await rejection(ground.store()), 'STORE_NEWER')
    const rows = await driver.run('SELECT version FROM openim_schema')
    assert.equal(rows.map(({ version }) => Number(version)), [schemaVersion + 1])
    await driver.close()
  })

  test('says when the database may lose what it says is stored', async () => {
    const fleeting = await ground.kind.start(ground.kind.fleeting)
    try {
      const driver = await ground.kind.open(ground.kind.address(fleeting), { log: silentLog })
      const store = await openSqlStore({ driver, clock: systemClock, log: silentLog })
      const { undurable } = store.health()
      const expected = /^(fsync = off|innodb_flush_log_at_trx_commit = 0)$/
      assert.ok(undurable.some((setting) => expected.test(setting)))
      await store.close()
      assert.equal((await ground.store()).health().undurable, [])
    } finally {
      await fleeting.remove()
    }
  })

  test('takes the largest record and much large mail at once, whatever one packet may hold', async () => {
    const driver = await ground.driver()
    const isMariadb = ground.kind.name === 'MariaDB'
    if (isMariadb) await driver.run('SET GLOBAL max_allowed_packet = 2359296')
    const store = await ground.store()
    await store.mailbox.setBox(box, everlasting)
    const large = Array.from({ length: 40 }, (_, number) =>
      itemOf({ box, number, expiresAtMs: Infinity, bytes: limits.envelopeBytesMax }))
    const value = new Uint8Array(limits.kvValueBytesMax).fill(7)
    const [results] = await Promise.all([
      store.mailbox.put(large),
      store.kv.write(['a', 'b', 'c'].map((key) => ({ type: 'put', key, value }) as const)),
    ])
    assert.equal(results, large.map(() => 'stored'))
    assert.equal((await store.kv.get('c'))!.value, value)
    assert.is((await idsIn(store, box)).length, large.length)
    if (isMariadb) {
      await driver.run('SET GLOBAL max_allowed_packet = 1048576')
      assert.is(await rejection(ground.store()), 'STORE_IO')
      await driver.run('SET GLOBAL max_allowed_packet = 16777216')
    }
    await driver.close()
  })

  test('leaves what it was to store out of errors', async () => {
    const store = await ground.store()
    const driver = await ground.driver()
    await driver.run('DROP TABLE openim_kv')
    const value = new Uint8Array(16).fill(0xab)
    const error: unknown = await store.kv.write([{ type: 'put', key: 'k', value }]).catch((one) => one)
    assert.is(errorCode(error), 'STORE_IO')
    assert.not.match(inspect(error, { depth: 10, showHidden: true }), /abab|ab ab|171, 171/i)
    await driver.close()
  })

  test('never hands out a damaged body, and takes the mail again', async () => {
    const store = await ground.store()
    await store.mailbox.setBox(box, everlasting)
    await store.pieces.setBox(box, everlasting)
    const [bad, good] = mail(2) as [MailboxItem, MailboxItem]
    await store.mailbox.put([bad, good])
    await store.pieces.put(box, [bad, good])
    const driver = await ground.driver()
    for (const table of ['mail', 'piece']) {
      const text = `UPDATE openim_${table} SET data = ? WHERE data = ?`
      await driver.run(text, [new Uint8Array(200).fill(9), bad.body])
    }
    assert.equal(await idsIn(store, box), [good.id])
    const page = { after: 0, itemsMax: 10, bytesMax: 10_000 }
    assert.equal((await store.pieces.list(box, page)).entries.map(({ id }) => id), [good.id])
    assert.is(store.health().corrupt, 2)
    assert.equal(await store.mailbox.put([bad]), ['stored'])
    assert.equal(await store.pieces.put(box, [bad]), ['stored'])
    assert.equal(await idsIn(store, box), [good.id, bad.id])
    assert.equal(await store.mailbox.usage(), { items: 2, bytes: 400 })
    await driver.close()
  })

  test('loses nothing it said was durable when its process is killed three times', async () => {
    const place = { kind: ground.kind.name, address: ground.kind.address(ground.server) }
    const { put, acknowledged } = await killCampaignAt(place, { rounds: 3, seed: ground.kind.name })
    assert.ok(put > 200 && acknowledged > 50, `${put} stored, ${acknowledged} acknowledged`)
  })
}

for (const kind of [postgresqlKind, mariadbKind]) {
  sqlGroundSuite('sql-faults', kind, (test, ground) => {
    serverTests(test, ground)
    lockTests(test, ground)
    lifeTests(test, ground)
  })
}
