/**
 * slixmpp, a client stack in Python that nobody here wrote, against the XMPP server in a process of its
 * own (python/slixmpp_play.py): the subjects a chat client lives by, in one play.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { needPythonModule } from '../helpers/debian.ts'
import { suite } from '../helpers/harness.ts'
import { toldByPython } from '../helpers/python-script.ts'
import { XmppChild } from '../helpers/xmpp-child.ts'

const python = await needPythonModule('slixmpp')

const test = suite('interop/xmpp slixmpp', { timeoutMs: 120_000 })
const withSlixmpp = test.skipUnless(python !== undefined, 'python3-slixmpp is not installed')
const script = new URL('./python/slixmpp_play.py', import.meta.url).pathname

let server: XmppChild | undefined
let folder: string | undefined
test.after.each(async () => {
  await server?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true })
  server = folder = undefined
})

async function settings(): Promise<object> {
  server = await XmppChild.start(2)
  folder = await mkdtemp(join(tmpdir(), 'openim-slixmpp-'))
  const ca = join(folder, 'ca.pem')
  await writeFile(ca, server.ca.pem)
  return {
    domain: 'a.test', host: '127.0.0.1', port: server.ports.starttls, password: server.password, ca,
    ann: 'loada0', bob: 'loadb0', stranger: 'loadb1',
  }
}

withSlixmpp('logs in, chats, publishes keys, reads its archive and resumes after a cut', async () => {
  const told = await toldByPython(python!, [script, 'play'], await settings())
  assert.equal(told, {
    login: ['SCRAM-SHA-256-PLUS', 'TLSv1.3'],
    subscription: 'both',
    chat: { ann: ['hello Ann'], laptop: ['hello Ann'], bob: ['hello Bob', 'hello, Bob'] },
    omemo: ['QUJD', 'QUJD'],
    services: {
      identity: [['server', 'im']], software: 'openIM', vcard: 'Ann', blocked: ['loadb0@a.test'],
      toBlocked: 'not-acceptable', tunes: 1, archiveOfOther: 'forbidden',
    },
    archive: ['hello Bob', 'hello Ann', 'hello, Bob'],
    resume: { same: true, inOrderOnce: true },
  })
})

withSlixmpp('is told that its password is wrong', async () => {
  assert.equal(await toldByPython(python!, [script, 'wrong-password'], await settings()), { refused: true })
})

test.run()
