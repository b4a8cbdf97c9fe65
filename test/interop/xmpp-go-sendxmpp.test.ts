/**
 * go-sendxmpp, a client stack in Go that nobody here wrote, against the XMPP server. Debian 12 has a
 * version of it that knows no SCRAM: it logs in where PLAIN inside of TLS is allowed, and nowhere else.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates } from 'node:tls'
import * as assert from 'uvu/assert'
import { needProgram } from '../helpers/debian.ts'
import { suite } from '../helpers/harness.ts'
import { settled } from '../helpers/xmpp-asking.ts'
import { TestCA } from '../helpers/xmpp-ca.ts'
import { XmppHouse } from '../helpers/xmpp-house.ts'

const program = await needProgram('go-sendxmpp')

const test = suite('interop/xmpp go-sendxmpp', { timeoutMs: 60_000 })
const withGo = test.skipUnless(program !== undefined, 'go-sendxmpp is not installed')

let house: XmppHouse | undefined
let folder: string | undefined
test.after.each(async () => {
  await house?.close()
  if (folder !== undefined) await rm(folder, { recursive: true })
  house = folder = undefined
})

async function open(isPlainAllowed: boolean): Promise<XmppHouse> {
  house = await XmppHouse.open({ bridge: { isPlainAllowed } })
  folder = await mkdtemp(join(tmpdir(), 'openim-go-sendxmpp-'))
  return house
}

/** Its exit code. Its settings are in a file, so that no password is an argument. */
async function send(text: string, password: string, authorities: readonly string[]): Promise<number> {
  const settings = join(folder!, 'settings')
  const lines = ['username: ann@a.test', `password: ${password}`, `jserver: 127.0.0.1:${house!.port}`]
  await writeFile(settings, `${lines.join('\n')}\n`, { mode: 0o600 })
  const trusted = join(folder!, 'trusted.pem')
  await writeFile(trusted, authorities.join('\n'))
  const env = { ...process.env, HOME: folder, SSL_CERT_FILE: trusted, SSL_CERT_DIR: folder }
  const child = spawn(program!, ['-f', settings, 'bob@a.test'], { env, stdio: ['pipe', 'ignore', 'ignore'] })
  child.stdin.on('error', () => {}).end(text)
  const [code] = await once(child, 'close') as [number]
  return code
}

withGo('sends what another client gets once, where PLAIN is allowed', async () => {
  const server = await open(true)
  const [bob, password] = [await server.login('bob'), await server.password('ann')]
  assert.is(await send('from Go', password, getCACertificates('default')), 0)
  await bob.until(() => bob.texts.length > 0)
  await settled(bob)
  assert.equal(bob.texts.map((text) => text.trim()), ['from Go'])
})

withGo('is let in by no wrong password, and shows none to a server that it does not believe', async () => {
  const password = await (await open(true)).password('ann')
  assert.is.not(await send('never', 'not this', getCACertificates('default')), 0)
  assert.is.not(await send('never', password, [TestCA.create().pem]), 0)
})

withGo('is let in nowhere else', async () => {
  const password = await (await open(false)).password('ann')
  assert.is.not(await send('never', password, getCACertificates('default')), 0)
})

test.run()
