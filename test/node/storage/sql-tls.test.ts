/** TLS to a database: who is trusted, who is not, and that nothing goes out in clear where TLS is wanted. */
import { chownSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { silentLog } from '../../../node/ports.ts'
import type { SqlAddress } from '../../../node/storage/sql/sql-driver.ts'
import { openSqlStore } from '../../../node/storage/sql/sql-store.ts'
import type { SqlStore } from '../../../node/storage/sql/sql-store.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { boxNamed, idsIn, rejection } from '../../compliance/store-subject.ts'
import { nobody } from '../../helpers/database-process.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { freePort } from '../../helpers/free-port.ts'
import { suite } from '../../helpers/harness.ts'
import { mariadbKind, postgresqlKind } from '../../helpers/sql-kinds.ts'
import type { SqlKind } from '../../helpers/sql-kinds.ts'
import { TestCA } from '../../helpers/xmpp-ca.ts'
import { mailFor } from './level-fixture.ts'

const settingsOf = {
  PostgreSQL: {
    open: (port: number) => ['listen_addresses=localhost', `port=${port}`],
    tls: (cert: string, key: string) => ['ssl=on', `ssl_cert_file=${cert}`, `ssl_key_file=${key}`],
    cipher: 'SELECT cipher AS "Value" FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
  },
  MariaDB: {
    open: (port: number) => ['skip-networking=0', 'bind-address=127.0.0.1', `port=${port}`],
    tls: (cert: string, key: string) => [`ssl-cert=${cert}`, `ssl-key=${key}`],
    cipher: 'SHOW SESSION STATUS LIKE \'Ssl_cipher\'',
  },
}

function tlsTests(kind: SqlKind): void {
  const test = suite(`node/storage/sql-tls: ${kind.name}`, { timeoutMs: 60_000 })
  const withServer = test.skipUnless(kind.isHere, `${kind.name} is not installed`)
  const { open, tls, cipher } = settingsOf[kind.name]
  const authority = TestCA.create()
  const ca = authority.pem
  let folder = ''
  const servers: DatabaseProcess[] = []
  test.before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'openim-tls-'))
    await chmod(folder, 0o755)
  })
  test.after(async () => {
    for (const server of servers) await server.remove()
    await rm(folder, { recursive: true })
  })

  /** A server with a certificate for that host, or with none. */
  async function serve(certified?: string): Promise<SqlAddress> {
    const port = await freePort()
    const settings = open(port)
    if (certified !== undefined) {
      const { cert, key } = authority.issue({ dns: [certified] }).writeTo(folder, certified)
      await chmod(key, 0o600)
      if (process.getuid?.() === 0) chownSync(key, nobody, nobody)
      settings.push(...tls(cert, key))
    }
    const server = await kind.start(settings)
    servers.push(server)
    const { user, database } = kind.address(server)
    return { host: 'localhost', port, user, database }
  }

  async function storeOn(address: SqlAddress): Promise<SqlStore> {
    const driver = await kind.open(address, { log: silentLog })
    return await openSqlStore({ driver, clock: systemClock, log: silentLog })
  }
  const codeOf = (address: SqlAddress): Promise<string> =>
    rejection(storeOn(address).then((store) => store.close()))

  withServer('works with the authority that was named, refuses every other one', async () => {
    const address = await serve('localhost')
    const store = await storeOn({ ...address, tls: { ca } })
    const driver = await kind.open({ ...address, tls: { ca } }, { log: silentLog })
    assert.match(String((await driver.run(cipher))[0]!['Value']), /^[A-Z0-9_-]{8,}$/)
    await driver.close()
    const box = boxNamed('inbox')
    await store.mailbox.setBox(box, { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity })
    const mail = mailFor(box, { count: 200, bytes: 20_000 })
    await Promise.all(mail.map((item) => store.mailbox.put([item])))
    assert.equal(await idsIn(store, box), mail.map(({ id }) => id))
    await store.close()

    // Of the same name: only its key tells it from the right one.
    assert.is(await codeOf({ ...address, tls: { ca: TestCA.create().pem } }), 'STORE_TLS')
    assert.is(await codeOf({ ...address, tls: {} }), 'STORE_TLS')
    const byNumber = await codeOf({ ...address, host: '127.0.0.1', tls: { ca } })
    assert.is(byNumber, kind.name === 'MariaDB' ? 'STORE_ADDRESS' : 'STORE_TLS')
  })

  withServer('refuses a certificate of the right authority for another host', async () => {
    assert.is(await codeOf({ ...await serve('elsewhere.test'), tls: { ca } }), 'STORE_TLS')
  })

  withServer('refuses a server that speaks no TLS where TLS is wanted', async () => {
    const address = await serve()
    assert.is(await codeOf({ ...address, tls: { ca } }), 'STORE_TLS')
    assert.is(await codeOf(address), 'settled')
  })

  test.run()
}

for (const kind of [postgresqlKind, mariadbKind]) tlsTests(kind)
