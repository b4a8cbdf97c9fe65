/**
 * The servers that the tests of the XMPP bridge talk to, without the bridge: a Prosody and an ejabberd
 * find each other through the name server of the test, prove themselves with certificates of its
 * authority, and carry messages between clients both ways, also after a kill −9.
 */
import * as assert from 'uvu/assert'
import { hasEjabberd, startEjabberd } from '../helpers/ejabberd-server.ts'
import { suite } from '../helpers/harness.ts'
import { hasProsody, startProsody } from '../helpers/prosody-server.ts'
import { LoggedIn, trustAuthority } from '../helpers/xmpp-client.ts'
import type { LtxElement } from '../helpers/xmpp-client.ts'
import { XmppGround } from '../helpers/xmpp-server.ts'
import type { XmppServer } from '../helpers/xmpp-server.ts'

const test = suite('interop/xmpp-fixtures', { timeoutMs: 90_000 })
let ground: XmppGround
test.before.each(async () => {
  ground = await XmppGround.create()
  trustAuthority(ground.ca.pem)
})
test.after.each(async () => {
  await ground.remove()
})

const password = 'correct horse'
const areHere = test.skipUnless(hasProsody && hasEjabberd, 'prosody or ejabberd is not installed')

const saying = (text: string) => (stanza: LtxElement): boolean => stanza.getChildText('body') === text

async function logIn(server: XmppServer, local: string): Promise<LoggedIn> {
  return await LoggedIn.open({ jid: `${local}@${server.domain}`, password, port: server.ports.c2s })
}

areHere('Prosody and ejabberd federate with certificates, also after a kill', async () => {
  const a = await startProsody(ground, { domain: 'a.test', accounts: { alice: password } })
  const b = await startEjabberd(ground, { domain: 'b.test', accounts: { bob: password } })
  const alice = await logIn(a, 'alice')
  const bob = await logIn(b, 'bob')
  await alice.say('bob@b.test', 'hello')
  assert.is((await bob.find(saying('hello'))).attrs['from'], 'alice@a.test/test')
  await bob.say('alice@a.test', 'and back')
  assert.is((await alice.find(saying('and back'))).attrs['from'], 'bob@b.test/test')
  assert.ok(ground.dns.queries.includes('SRV _xmpps-server._tcp.b.test'), 'Prosody asks for direct TLS')
  assert.ok(ground.dns.queries.includes('SRV _xmpps-server._tcp.a.test'), 'ejabberd asks for direct TLS')

  await alice.close()
  await a.kill()
  await a.start()
  const again = await logIn(a, 'alice')
  await again.say('bob@b.test', 'after the kill')
  await bob.find(saying('after the kill'))
  await Promise.all([again.close(), bob.close()])
})

areHere('a server whose certificate is of nobody known is refused with a reason', async () => {
  const a = await startProsody(ground, { domain: 'a.test', accounts: { alice: password } })
  await startEjabberd(ground, {
    domain: 'e.test', certificate: ground.ca.issue({ dns: ['e.test'], toDays: -0.1 }),
  })
  const alice = await logIn(a, 'alice')
  await alice.say('bob@e.test', 'hello')
  const bounce = await alice.find(({ attrs }) => attrs['type'] === 'error')
  assert.match(bounce.getChild('error')!.getChildText('text')!, /certificate has expired/)
  await alice.close()
})

test.run()
