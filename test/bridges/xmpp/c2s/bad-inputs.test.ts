/**
 * What hostile clients send, over real sockets and TLS: each gets its condition and loses its stream,
 * and a client beside it notices nothing.
 */
import { once } from 'node:events'
import { connect as connectPlain } from 'node:net'
import { connect as connectTls, createSecureContext } from 'node:tls'
import * as assert from 'uvu/assert'
import { systemRandom } from '../../../../crypto/random.ts'
import { silentLog } from '../../../../node/ports.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { systemClock } from '../../../../protocol/system-clock.ts'
import { XMPPConnector } from '../../../../bridges/xmpp/c2s/xmpp-connector.ts'
import { StreamListener } from '../../../../bridges/xmpp/stream/stream-listener.ts'
import { Visits } from '../../../../bridges/xmpp/stream/visits.ts'
import { suite } from '../../../helpers/harness.ts'
import { RawClient, streamHeader as header } from '../../../helpers/raw-xmpp-client.ts'
import { ScramClient } from '../../../helpers/scram-client.ts'
import { base64, fromBase64 } from '../../../helpers/scripted-stream.ts'
import { TestCA } from '../../../helpers/xmpp-ca.ts'
import { SmallHost } from '../../../helpers/xmpp-small-host.ts'

const test = suite('bridges/xmpp/c2s/bad-inputs')

const ca = TestCA.create()
const leaf = ca.issue({ dns: ['a.test'] })
const context = createSecureContext({ cert: leaf.fullChain, key: leaf.key })
const secureContext = (): typeof context => context
const starttls = `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`
const saslNs = 'urn:ietf:params:xml:ns:xmpp-sasl'
const smNs = 'urn:xmpp:sm:3'

const clients: RawClient[] = []
let host: SmallHost
let connector: XMPPConnector
let password = ''
let bystander: RawClient
const ports = { plain: 0, tls: 0 }

test.before(async () => {
  host = new SmallHost(['alice', 'bob'])
  const visits = new Visits(systemClock, { totalMax: 100, perAddressMax: 100 })
  const parts = { clock: systemClock, log: silentLog, visits }
  const local = { host: '127.0.0.1', port: 0 }
  const plain = new StreamListener(parts, { name: 'xmpp', ...local })
  const tls = { secureContext, alpn: 'xmpp-client', requestCert: false }
  const direct = new StreamListener(parts, { name: 'xmpps', ...local, tls })
  connector = new XMPPConnector({
    clock: systemClock, random: systemRandom, kv: memoryKv(), log: silentLog, host, secureContext,
    doors: [plain, direct],
  }, { domain: 'a.test', isPlainAllowed: true })
  await connector.start()
  ports.plain = Number(plain.address()!.split(':')[1])
  ports.tls = Number(direct.address()!.split(':')[1])
  password = await connector.credentials.add(host.known('alice'), 'phone')
  bystander = await bound('beside')
})

/** The client beside it is still served. */
test.after.each(async () => {
  bystander.say(`<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>`)
  assert.match(await bystander.hears('/>'), /type='result'/)
})

test.after(async () => {
  for (const client of clients) client.drop()
  await connector.stop()
})

async function plainClient(): Promise<RawClient> {
  const socket = connectPlain(ports.plain, '127.0.0.1')
  await once(socket, 'connect')
  return kept(new RawClient(socket))
}

async function secureClient(): Promise<RawClient> {
  const socket = connectTls({ port: ports.tls, host: '127.0.0.1', servername: 'a.test', ca: ca.pem })
  await once(socket, 'secureConnect')
  const client = kept(new RawClient(socket))
  client.say(header)
  await client.hears('</stream:features>')
  return client
}

function kept(client: RawClient): RawClient {
  clients.push(client)
  return client
}

async function loggedIn(): Promise<RawClient> {
  const client = await secureClient()
  const scram = new ScramClient({ hash: 'sha256', username: 'alice', password })
  client.say(`<auth xmlns='${saslNs}' mechanism='SCRAM-SHA-256'>${base64(scram.first())}</auth>`)
  const challenge = /<challenge[^>]*>([^<]*)</.exec(await client.hears('</challenge>'))![1]!
  client.say(`<response xmlns='${saslNs}'>${base64(scram.final(fromBase64(challenge)))}</response>`)
  await client.hears('</success>')
  client.say(header)
  await client.hears('</stream:features>')
  return client
}

async function bound(resource: string): Promise<RawClient> {
  const client = await loggedIn()
  const wanted = `<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>${resource}</resource></bind>`
  client.say(`<iq type='set' id='b'>${wanted}</iq>`)
  await client.hears('</iq>')
  return client
}

test('10: ends a stream that sends a message before its login', async () => {
  const client = await secureClient()
  client.say(`<message to='bob@a.test'><body>hello</body></message>`)
  assert.match(await client.end(), /<not-authorized/)
})

test('11: refuses a password in the clear, and takes it inside of TLS alone', async () => {
  const auth = `<auth xmlns='${saslNs}' mechanism='PLAIN'>${base64(`\0alice\0${password}`)}</auth>`
  const client = await plainClient()
  client.say(header + auth)
  assert.match(await client.hears('</failure>'), /<encryption-required/)
  const secure = await secureClient()
  secure.say(auth)
  await secure.hears('<success')
})

test('12: replays nothing that came in the clear behind the word for TLS', async () => {
  const client = await plainClient()
  client.say(header)
  await client.hears('</stream:features>')
  client.say(`${starttls}<auth xmlns='${saslNs}' mechanism='PLAIN'>${base64(`\0alice\0${password}`)}</auth>`)
  const text = await client.hears('<proceed')
  assert.not.match(text, /success|failure/)
  client.say(header)
  assert.not.match(await client.end(), /success|failure|features/)
})

test('22: answers a malformed resource with its error, and goes on', async () => {
  const client = await loggedIn()
  const bind = (resource: string): string => {
    const wanted = `<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>${resource}</resource></bind>`
    return `<iq type='set' id='b'>${wanted}</iq>`
  }
  client.say(bind('x'.repeat(1_024)))
  assert.match(await client.hears('</iq>'), /type='error'.*<bad-request/s)
  client.say(bind('phone'))
  assert.match(await client.hears('</iq>'), /alice@a\.test\/phone/)
})

test('23: refuses a second resource, and ends a stream that begins anew inside of a session', async () => {
  const client = await bound('phone')
  client.say(`<iq type='set' id='c'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`)
  assert.match(await client.hears('</iq>'), /<not-allowed/)
  client.say(header)
  assert.match(await client.end(), /<stream:error>/)
})

test('25: ends who speaks for another, or for another device of its own', async () => {
  for (const from of ['bob@a.test', 'alice@a.test/beside', 'a.test', 'alice@b.test']) {
    const client = await bound('phone')
    client.say(`<message from='${from}' to='alice@a.test/beside'><body>not me</body></message>`)
    assert.match(await client.end(), /<invalid-from/, from)
  }
})

test('26: lets nobody with a right password in as somebody else', async () => {
  const client = await secureClient()
  client.say(`<auth xmlns='${saslNs}' mechanism='PLAIN'>${base64(`bob@a.test\0alice\0${password}`)}</auth>`)
  assert.match(await client.hears('</failure>'), /<invalid-authzid/)
})

test('38: resumes nothing that it cannot, counts once, and ends who acknowledges too much', async () => {
  const client = await loggedIn()
  client.say(`<resume xmlns='${smNs}' previd='guessed' h='0'/>`)
  assert.match(await client.hears('</failed>'), /<item-not-found/)
  const counting = await bound('phone')
  counting.say(`<enable xmlns='${smNs}' resume='true'/>`)
  assert.match(await counting.hears('/>'), /<enabled [^>]*id='[\w-]{32}'/)
  counting.say(`<enable xmlns='${smNs}' resume='true'/>`)
  assert.match(await counting.hears('</failed>'), /<unexpected-request/)
  counting.say(`<a xmlns='${smNs}' h='1'/>`)
  assert.match(await counting.end(), /<undefined-condition.*<handled-count-too-high [^>]*send-count='0'/s)
})

test('41: refuses a client that was kept from seeing channel binding', async () => {
  const client = await secureClient()
  const first = base64('y,,n=alice,r=abcdefgh')
  client.say(`<auth xmlns='${saslNs}' mechanism='SCRAM-SHA-256'>${first}</auth>`)
  assert.match(await client.hears('</failure>'), /<not-authorized/)
})

test('47: takes spaces for hours, and nothing of them stays', async () => {
  const client = await bound('phone')
  for (let i = 0; i < 1_000; i++) client.say(' '.repeat(100))
  client.say(`<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>`)
  assert.match(await client.hears('/>'), /type='result'/)
})

test.run()
