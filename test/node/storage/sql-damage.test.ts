/** An SQL database that is not what the store left: rows gone, tables gone, everything gone. */
import * as assert from 'uvu/assert'
import type { MailboxItem } from '../../../node/ports.ts'
import { idsIn, proof, rejection } from '../../compliance/store-subject.ts'
import type { Suite } from '../../helpers/harness.ts'
import { mariadbKind, postgresqlKind } from '../../helpers/sql-kinds.ts'
import { box, everlasting, mail, sqlGroundSuite } from './sql-ground.ts'
import type { SqlGround } from './sql-ground.ts'

function damageTests(test: Suite, ground: SqlGround): void {
  /** Three messages, and what becomes of the database behind the back of the closed store. */
  const spoil = async (...texts: readonly string[]): Promise<MailboxItem[]> => {
    const store = await ground.store()
    await store.mailbox.setBox(box, everlasting)
    const items = mail(3)
    await store.mailbox.put(items)
    await store.kv.write([{ type: 'put', key: 'k', value: proof }])
    await store.close()
    const driver = await ground.driver()
    for (const text of texts) await driver.run(text)
    await driver.close()
    return items
  }

  test('shows the rest when rows of mail are gone, and takes them again', async () => {
    const items = await spoil('DELETE FROM openim_mail WHERE position = (SELECT * FROM '
      + '(SELECT min(position) FROM openim_mail) AS first)')
    const store = await ground.store()
    const [gone, ...rest] = items as [MailboxItem, MailboxItem, MailboxItem]
    assert.equal(await idsIn(store, box), rest.map(({ id }) => id))
    assert.equal(await store.mailbox.put(items), ['stored', 'duplicate', 'duplicate'])
    assert.equal(await idsIn(store, box), [...rest, gone].map(({ id }) => id))
  })

  test('refuses a database that has lost its version, or goes on with all that is in it', async () => {
    const items = await spoil('DELETE FROM openim_schema')
    // MariaDB commits each table by itself, so a layout may be half there, and is gone on with.
    if (ground.kind.name === 'PostgreSQL') assert.is(await rejection(ground.store()), 'STORE_IO')
    else assert.equal(await idsIn(await ground.store(), box), items.map(({ id }) => id))
    const driver = await ground.driver()
    const [row] = await driver.run('SELECT count(*) AS mail FROM openim_mail')
    assert.is(Number(row!['mail']), items.length)
    await driver.close()
  })

  test('fails when a table is gone, and never shows an empty box in its place', async () => {
    await spoil('DROP TABLE openim_mail')
    const store = await ground.store()
    assert.is(await rejection(idsIn(store, box)), 'STORE_IO')
    assert.is(await rejection(store.mailbox.put(mail(1))), 'STORE_IO')
  })
}

for (const kind of [postgresqlKind, mariadbKind]) sqlGroundSuite('sql-damage', kind, damageTests)
