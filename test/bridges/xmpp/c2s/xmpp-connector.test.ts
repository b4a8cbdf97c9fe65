/**
 * Ordinary clients against XMPPConnector, over sockets of this machine and TLS with certificates of our
 * own: `@xmpp/client`, which nobody here wrote, logs in by STARTTLS and direct TLS, with SASL2, Bind 2
 * and FAST, and resumes after a cut.
 */
import { createSecureContext, getCACertificates, setDefaultCACertificates } from 'node:tls'
import * as assert from 'uvu/assert'
import { systemRandom } from '../../../../crypto/random.ts'
import { silentLog } from '../../../../node/ports.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { systemClock } from '../../../../protocol/system-clock.ts'
import { XMPPConnector } from '../../../../bridges/xmpp/c2s/xmpp-connector.ts'
import { StreamListener } from '../../../../bridges/xmpp/stream/stream-listener.ts'
import { Visits } from '../../../../bridges/xmpp/stream/visits.ts'
import { WebDoor } from '../../../../bridges/xmpp/stream/web-door.ts'
import { suite } from '../../../helpers/harness.ts'
import { TestCA } from '../../../helpers/xmpp-ca.ts'
import { xml, xmppJsClient } from '../../../helpers/xmpp-js.ts'
import type { XmppJsClient, XmppJsElement, XmppJsOptions } from '../../../helpers/xmpp-js.ts'
import { SmallHost } from '../../../helpers/xmpp-small-host.ts'

const test = suite('bridges/xmpp/c2s/xmpp-connector')

const domain = 'a.test'
const ca = TestCA.create()
/** The client looks for the name of the service it is sent to, not for the domain. */
const leaf = ca.issue({ dns: [domain, 'localhost'] })
const context = createSecureContext({ cert: leaf.fullChain, key: leaf.key })
const secureContext = (): typeof context => context
const clock = systemClock

interface Place {
  readonly host: SmallHost
  readonly connector: XMPPConnector
  /** By transport. */
  readonly services: { readonly starttls: string, readonly tls: string, readonly web: string }
  readonly clients: XmppJsClient[]
}

test.before(() => setDefaultCACertificates([...getCACertificates('default'), ca.pem]))

const places: Place[] = []
test.after.each(async () => {
  for (const { clients, connector } of places.splice(0)) {
    for (const client of clients) {
      client.reconnect.stop()
      await client.stop().catch(() => {})
    }
    await connector.stop()
  }
})

async function place(): Promise<Place> {
  const host = new SmallHost(['alice', 'bob'])
  const visits = new Visits(clock, { totalMax: 100, perAddressMax: 100 })
  const parts = { clock, log: silentLog, visits }
  const local = { host: '127.0.0.1', port: 0 }
  const plain = new StreamListener(parts, { name: 'xmpp', ...local })
  const tls = { secureContext, alpn: 'xmpp-client', requestCert: false }
  const direct = new StreamListener(parts, { name: 'xmpps', ...local, tls })
  const web = new WebDoor(parts, { ...local, publicUrl: () => '' })
  const connector = new XMPPConnector(
    {
      clock, random: systemRandom, kv: memoryKv(), log: silentLog, host, secureContext,
      doors: [plain, direct, web],
    },
    { domain },
  )
  await connector.start()
  const services = {
    starttls: `xmpp://${plain.address()}`,
    tls: `xmpps://${direct.address()}`.replace('127.0.0.1', 'localhost'),
    web: `ws://${web.address()}/xmpp-websocket`,
  }
  const made = { host, connector, services, clients: [] }
  places.push(made)
  return made
}

function make({ clients, services }: Place, options: Partial<XmppJsOptions>): XmppJsClient {
  const client = xmppJsClient({ service: services.starttls, domain, ...options })
  client.on('error', () => {})
  clients.push(client)
  return client
}

/** The next stanza that `is` says yes to. */
function next(client: XmppJsClient, is: (stanza: XmppJsElement) => boolean): Promise<XmppJsElement> {
  return new Promise((resolve) => client.on('stanza', (stanza) => { if (is(stanza)) resolve(stanza) }))
}

function message(to: string, body: string): unknown {
  return xml('message', { to, type: 'chat', id: body }, xml('body', {}, body))
}

test('lets @xmpp/client log in with SASL2, Bind 2 and stream management, and talk', async () => {
  const scene = await place()
  const { connector, host } = scene
  const alice = make(
    scene, { username: 'alice', password: await connector.credentials.add(host.known('alice'), 'phone') },
  )
  const bob = make(scene, {
    username: 'bob', password: await connector.credentials.add(
      host.known('bob'), 'laptop',
    ), resource: 'laptop',
  })
  await Promise.all([alice.start(), bob.start()])
  assert.match(alice.jid.toString(), /^alice@a\.test\/[\w-]{16}$/)
  assert.match(bob.jid.toString(), /^bob@a\.test\/laptop\/[\w-]{16}$/)
  assert.ok(alice.streamManagement.enabled && alice.streamManagement.id !== '')
  const got = next(bob, (stanza) => stanza.is('message'))
  const acknowledged = new Promise<void>((done) => alice.streamManagement.on('ack', done))
  await alice.send(message('bob@a.test', 'hello'))
  const stanza = await got
  assert.equal([stanza.attrs['from'], stanza.getChildText('body')], [alice.jid.toString(), 'hello'])
  await acknowledged
  const answer = await alice.iqCaller.request(
    xml('iq', { type: 'get' }, xml('ping', { xmlns: 'urn:xmpp:ping' })),
  )
  assert.is(answer.attrs['type'], 'result')
  assert.equal((await connector.credentials.list(host.known('alice').id)).map(({ name }) => name), ['phone'])
})

test('tells a wrong password from a right one, at every door', async () => {
  const scene = await place()
  const { connector, host, services } = scene
  const password = await connector.credentials.add(host.known('alice'), 'phone')
  const wrong = make(scene, { username: 'alice', password: 'guess' })
  assert.is(await wrong.start().then(
    () => 'in', (error: { condition: string }) => error.condition,
  ), 'not-authorized')
  wrong.reconnect.stop()
  for (const service of Object.values(services)) {
    const client = make(scene, { username: 'alice', password, service })
    await client.start()
    assert.match(client.jid.toString(), /^alice@a\.test\//, service)
  }
  assert.is(connector.sessionCount, 3)
})

test('gives a token, logs in by it, and ends it with its app password', async () => {
  const scene = await place()
  const { connector, host } = scene
  const account = host.known('alice')
  const password = await connector.credentials.add(account, 'phone')
  const userAgent = xml('user-agent', { id: '4f1c5a2e-0d0f-4c0e-9d56-2f7f1e3a7b10' })
  const first = make(scene, { username: 'alice', password, userAgent })
  await first.start()
  const token = await first.fast.fetchToken()
  assert.ok(token)
  const mechanisms: string[] = []
  const again = make(scene, { username: 'alice', password: 'not needed', userAgent })
  again.on('send', ({ attrs: { mechanism } }) => { if (mechanism !== undefined) mechanisms.push(mechanism) })
  await again.fast.saveToken(token)
  const ended = new Promise<void>((done) => first.once('disconnect', done))
  await again.start()
  assert.equal(mechanisms, ['HT-SHA-256-NONE'])
  assert.is(again.jid.toString(), first.jid.toString(), 'the same client has the same resource')
  first.reconnect.stop()
  await ended
  again.reconnect.stop()
  const gone = new Promise<void>((done) => again.once('disconnect', done))
  await connector.credentials.revoke(account.id, 'phone')
  await gone
  const late = make(scene, { username: 'alice', password, userAgent })
  late.reconnect.stop()
  await late.fast.saveToken(token)
  assert.is(
    await late.start().then(() => 'in', (error: { condition: string }) => error.condition), 'not-authorized',
  )
  assert.is(connector.sessionCount, 0)
})

test('resumes a session after a cut with nothing lost and nothing doubled', async () => {
  const scene = await place()
  const { connector, host } = scene
  const alice = make(
    scene, { username: 'alice', password: await connector.credentials.add(host.known('alice'), 'phone') },
  )
  const bob = make(
    scene, { username: 'bob', password: await connector.credentials.add(host.known('bob'), 'phone') },
  )
  bob.reconnect.delay = 50
  const bodies: (string | null)[] = []
  bob.on('stanza', (stanza) => { if (stanza.is('message')) bodies.push(stanza.getChildText('body')) })
  await Promise.all([alice.start(), bob.start()])
  const jid = bob.jid.toString()
  for (let cut = 0; cut < 5; cut++) {
    const resumed = new Promise<void>((done) => bob.streamManagement.on('resumed', done))
    const last = next(bob, (stanza) => stanza.getChildText('body') === `${cut} 9`)
    for (let i = 0; i < 5; i++) await alice.send(message('bob@a.test', `${cut} ${i}`))
    bob.socket.socket!.destroy()
    for (let i = 5; i < 10; i++) await alice.send(message('bob@a.test', `${cut} ${i}`))
    await resumed
    await last
  }
  assert.is(bob.jid.toString(), jid)
  assert.equal(bodies, Array.from({ length: 50 }, (_, i) => `${Math.floor(i / 10)} ${i % 10}`))
  assert.is(host.ended.length, 0)
})

test.run()
