/** A client's way to its session: headers, STARTTLS, SASL, SASL2, binding, and what is refused on it. */
import { createHmac } from 'node:crypto'
import * as assert from 'uvu/assert'
import { StanzaError } from '../../../../bridges/xmpp/stanza-errors.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { base64, exporter, ScriptedServer } from '../../../helpers/scripted-stream.ts'

const test = suite('bridges/xmpp/c2s/negotiation')

const hello = el(ns.client, 'message', { to: 'bob@a.test' }, el(ns.client, 'body', {}, 'hello'))
const agent = el(ns.sasl2, 'user-agent', { id: 'client-1' })
const bind2 = el(ns.bind2, 'bind', {}, el(ns.bind2, 'tag', {}, 'Dino'))
const enable = el(ns.sm, 'enable', { resume: 'true' })

function names(elements: readonly XmlElement[]): string[] {
  return elements.map(({ name }) => name)
}

/** The condition inside of a failure or an error. */
function conditionOf(element: XmlElement | undefined): string | undefined {
  return element?.elements().at(0)?.name ?? element?.childOf(ns.stanzaErrors)?.name
}

const headers: readonly [string, Parameters<ReturnType<ScriptedServer['connect']>['header']>[0], string][] = [
  ['to nobody', { to: undefined }, 'improper-addressing'],
  ['to another domain', { to: 'b.test' }, 'host-unknown'],
  ['to somebody at the domain', { to: 'alice@a.test' }, 'host-unknown'],
  ['without a version', { version: undefined }, 'unsupported-version'],
  ['of version 0.9', { version: '0.9' }, 'unsupported-version'],
  ['for servers', { contentNs: ns.server }, 'invalid-namespace'],
]
for (const [what, header, condition] of headers) {
  test(`refuses a stream ${what} with ${condition}`, () => {
    const stream = new ScriptedServer().connect()
    stream.header(header)
    assert.is(stream.condition, condition)
    assert.equal(stream.got, [])
  })
}

test('offers TLS alone in the clear, refuses every login there, and starts TLS at once', async () => {
  const stream = new ScriptedServer().connect({ isSecure: false })
  stream.header()
  const [features] = await stream.says()
  assert.equal(names(features!.elements(undefined)), ['starttls', 'limits'])
  assert.ok(features!.child('starttls', ns.tls)!.child('required'))
  const plain = el(ns.sasl, 'auth', { mechanism: 'PLAIN' }, base64('\0alice\0secret'))
  assert.equal((await stream.says(plain)).map(conditionOf), ['encryption-required'])
  const authenticate = el(ns.sasl2, 'authenticate', { mechanism: 'SCRAM-SHA-1' })
  assert.equal((await stream.says(authenticate)).map(conditionOf), ['encryption-required'])
  assert.equal(names(await stream.says(el(ns.tls, 'starttls'))), ['proceed'])
  assert.ok(stream.isTlsStarted)
})

test('asks for wss on a WebSocket in the clear that is not from this machine', () => {
  const stream = new ScriptedServer().connect({ isSecure: false, transport: 'websocket' })
  stream.header()
  assert.is(stream.condition, 'policy-violation')
})

test('announces mechanisms, channel bindings, what goes inline, and limits inside of TLS', async () => {
  const stream = new ScriptedServer().connect()
  stream.header()
  const [features] = await stream.says()
  const listed = (parent: XmlElement): string[] => parent.elements('mechanism').map(({ text }) => text)
  const scram = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1']
  assert.equal(listed(features!.child('mechanisms', ns.sasl)!), scram)
  const sasl2 = features!.child('authentication', ns.sasl2)!
  assert.equal(listed(sasl2), scram)
  const inline = sasl2.child('inline')!
  assert.equal(
    listed(inline.child('fast', ns.fast)!), ['HT-SHA-256-EXPR', 'HT-SHA-256-ENDP', 'HT-SHA-256-NONE'],
  )
  const more = inline.child('bind', ns.bind2)!.child('inline')!.elements('feature')
  assert.equal(
    more.map(({ attrs }) => attrs['var']), ['urn:xmpp:carbons:2', 'urn:xmpp:csi:0', 'urn:xmpp:sm:3'],
  )
  assert.ok(inline.child('sm', ns.sm))
  const types = features!.child('sasl-channel-binding', 'urn:xmpp:sasl-cb:0')!.elements()
  assert.equal(types.map(({ attrs }) => attrs['type']), ['tls-exporter', 'tls-server-end-point'])
  assert.is(features!.child('limits', 'urn:xmpp:stream-limits:0')!.childText('max-bytes'), '10000')
  assert.is(features!.child('starttls', ns.tls), undefined)
})

test('ends a stream that sends a stanza before it logged in, or has no resource yet', async () => {
  const server = new ScriptedServer()
  const password = await server.password('alice')
  for (const isLoggedIn of [false, true]) {
    const stream = server.connect()
    if (isLoggedIn) await stream.login('alice', password)
    else stream.header()
    await stream.says(hello)
    assert.is(stream.condition, 'not-authorized')
    assert.is(stream.session, undefined)
  }
  const stream = server.connect()
  stream.header()
  await stream.says(el('urn:unknown', 'thing'))
  assert.is(stream.condition, 'unsupported-stanza-type')
})

for (const mechanism of ['SCRAM-SHA-1', 'SCRAM-SHA-256', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256-PLUS']) {
  test(`logs in by ${mechanism} as RFC 6120 says, binds, and takes stanzas`, async () => {
    const server = new ScriptedServer()
    const stream = server.connect()
    const outcome = await stream.login('alice', await server.password('alice'), { mechanism })
    assert.is(outcome.name, 'success')
    assert.is(stream.restarts, 1)
    const [features] = await stream.says()
    assert.equal(names(features!.elements().concat(features!.elements('bind', ns.bind))).slice(-1), ['bind'])
    const bound = await stream.bind('phone')
    assert.is(bound.child('bind', ns.bind)!.childText('jid'), 'alice@a.test/phone')
    assert.ok(stream.hasSession)
    const ping = el(ns.client, 'iq', { type: 'get', id: 'p' }, el('urn:xmpp:ping', 'ping'))
    assert.equal((await stream.says(ping)).map(({ attrs }) => attrs), [
      { type: 'result', id: 'p', to: 'alice@a.test/phone' },
    ])
  })
}

test('makes a resource that nobody guesses where the client names none', async () => {
  const server = new ScriptedServer()
  const password = await server.password('alice')
  const made = new Set<string>()
  for (let i = 0; i < 3; i++) {
    const stream = server.connect()
    await stream.login('alice', password)
    made.add((await stream.bind()).child('bind', ns.bind)!.childText('jid')!)
  }
  assert.is(made.size, 3)
  for (const jid of made) assert.match(jid, /^alice@a\.test\/[\w-]{16}$/)
})

test('refuses a second resource, and one that the host refuses, and goes on', async () => {
  const server = new ScriptedServer()
  const stream = server.connect()
  await stream.login('alice', await server.password('alice'))
  server.host.refusal = new StanzaError('resource-constraint')
  assert.is(conditionOf((await stream.bind('phone')).child('error')), 'resource-constraint')
  server.host.refusal = undefined
  assert.is(server.sessions.size, 0)
  assert.is((await stream.bind('phone')).attrs.type, 'result')
  assert.is(conditionOf((await stream.bind('laptop')).child('error')), 'not-allowed')
  const session = el(ns.client, 'iq', { type: 'set', id: 's' }, el(ns.session, 'session'))
  assert.equal((await stream.says(session)).map(({ attrs }) => attrs), [{ type: 'result', id: 's' }])
  await stream.says(el(ns.sasl, 'auth', { mechanism: 'SCRAM-SHA-1' }))
  assert.is(stream.condition, 'unsupported-stanza-type')
})

test('gives a resource to the newer of two, and tells the older why', async () => {
  const server = new ScriptedServer()
  const password = await server.password('alice')
  const streams = [server.connect(), server.connect()]
  for (const stream of streams) {
    await stream.login('alice', password)
    await stream.bind('phone')
  }
  assert.equal(streams.map(({ condition }) => condition), ['conflict', undefined])
  assert.is(server.host.ended.length, 1)
  assert.is(server.sessions.size, 1)
})

test('answers SASL out of order as RFC 6120 says, and ends after five failures', async () => {
  const server = new ScriptedServer()
  const stream = server.connect()
  stream.header()
  await stream.says()
  const auth = (mechanism: string | undefined, text: string): XmlElement => el(
    ns.sasl, 'auth', { mechanism }, text,
  )
  assert.equal((await stream.says(auth('DIGEST-MD5', ''))).map(conditionOf), ['invalid-mechanism'])
  assert.equal((await stream.says(auth(undefined, ''))).map(conditionOf), ['invalid-mechanism'])
  assert.equal((await stream.says(auth('SCRAM-SHA-1', '%%'))).map(conditionOf), ['incorrect-encoding'])
  assert.equal(names(await stream.says(auth('SCRAM-SHA-1', ''))), ['challenge'])
  assert.equal((await stream.says(el(ns.sasl, 'abort'))).map(conditionOf), ['aborted'])
  assert.equal(
    (await stream.says(auth('SCRAM-SHA-1', base64('nonsense')))).map(conditionOf), ['malformed-request'],
  )
  assert.is(stream.condition, 'policy-violation')
  const other = server.connect()
  other.header()
  await other.says(el(ns.sasl, 'response', {}, ''))
  assert.is(other.condition, 'not-authorized')
})

test('refuses a login on a stream that says it is from somebody else', async () => {
  const server = new ScriptedServer()
  const stream = server.connect()
  const password = await server.password('alice')
  const says = stream.header.bind(stream)
  stream.header = (changes = {}) => says({ from: 'bob@a.test', ...changes })
  assert.is(conditionOf(await stream.login('alice', password)), 'invalid-authzid')
})

test('logs in, binds and counts in one message (SASL2), without a new stream', async () => {
  const server = new ScriptedServer()
  const stream = server.connect()
  const wanted = bind2.plus(el(ns.carbons, 'enable'), enable, el('urn:xmpp:csi:0', 'inactive'))
  const password = await server.password('alice')
  const [success, features] = await stream.authenticate({ username: 'alice', password }, agent, wanted)
  const jid = success!.childText('authorization-identifier')!
  assert.match(jid, /^alice@a\.test\/Dino\/[\w-]{16}$/)
  assert.is(jid.includes('client-1'), false)
  const enabled = success!.child('bound', ns.bind2)!.child('enabled', ns.sm)!
  assert.equal([enabled.attrs['resume'], enabled.attrs['max']], ['true', '600'])
  assert.match(enabled.attrs['id']!, /^[\w-]{32}$/)
  assert.equal(server.host.bound, [{ wantsCarbons: true }])
  assert.is(stream.restarts, 0)
  assert.is(features!.name, 'features')
  assert.is(features!.child('bind', ns.bind), undefined)
  assert.is(features!.child('sm', ns.sm), undefined)
})

test('gives the same client the same resource, and ends its session before', async () => {
  const server = new ScriptedServer()
  const password = await server.password('alice')
  const streams = [server.connect(), server.connect()]
  const jids: (string | undefined)[] = []
  for (const stream of streams) {
    const [success] = await stream.authenticate({ username: 'alice', password }, agent, bind2)
    jids.push(success!.childText('authorization-identifier'))
  }
  assert.is(jids[0], jids[1])
  assert.equal(streams.map(({ condition }) => condition), ['conflict', undefined])
})

test('binds afterwards where SASL2 brings no binding along', async () => {
  const server = new ScriptedServer()
  const stream = server.connect()
  const [success, features] = await stream.authenticate(
    { username: 'alice', password: await server.password('alice') },
  )
  assert.is(success!.childText('authorization-identifier'), 'alice@a.test')
  assert.ok(features!.child('bind', ns.bind))
  assert.is((await stream.bind('phone')).attrs.type, 'result')
})

test('resumes inside of SASL2, and binds instead where there is nothing to resume', async () => {
  const server = new ScriptedServer()
  const password = await server.password('alice')
  const who = { username: 'alice', password }
  const first = server.connect()
  const [welcome] = await first.authenticate(who, agent, bind2.plus(enable))
  const { id: previd } = welcome!.child('bound', ns.bind2)!.child('enabled', ns.sm)!.attrs
  await first.cut()
  const second = server.connect()
  const resume = el(ns.sm, 'resume', { previd, h: '0' })
  const [success, features] = await second.authenticate(who, agent, bind2, resume)
  assert.equal(success!.child('resumed', ns.sm)!.attrs, { previd, h: '0' })
  assert.is(success!.child('bound', ns.bind2), undefined)
  assert.is(features!.name, 'features')
  assert.is(second.session!.jid.toString(), success!.childText('authorization-identifier'))
  const third = server.connect()
  const unknown = el(ns.sm, 'resume', { previd: 'x', h: '0' })
  const [anew] = await third.authenticate(who, agent, bind2.plus(enable), unknown)
  assert.is(conditionOf(anew!.child('failed', ns.sm)), 'item-not-found')
  assert.ok(anew!.child('bound', ns.bind2)!.child('enabled', ns.sm))
})

test('gives a token for a mechanism with channel binding, and lets its client in by it alone', async () => {
  const server = new ScriptedServer()
  const who = { username: 'alice', password: await server.password('alice') }
  const mechanism = 'HT-SHA-256-EXPR'
  const [success] = await server.connect().authenticate(
    who, agent, bind2, el(ns.fast, 'request-token', { mechanism }),
  )
  const { token, expiry } = success!.child('token', ns.fast)!.attrs
  assert.is(Date.parse(expiry!) - server.clock.now(), 21 * 86_400_000)
  const login = async (binding: Uint8Array, ...inside: XmlElement[]): Promise<XmlElement | undefined> => {
    const stream = server.connect()
    stream.header()
    const hash = createHmac('sha256', token!).update('Initiator').update(binding).digest()
    const data = base64(Buffer.concat([Buffer.from('alice\0'), hash]))
    const first = el(ns.sasl2, 'initial-response', {}, data)
    return (await stream.says(el(ns.sasl2, 'authenticate', { mechanism }, first, ...inside)))[1]
  }
  const fast = el(ns.fast, 'fast')
  assert.is((await login(exporter, agent, fast, bind2))!.name, 'success')
  assert.is(conditionOf(await login(Buffer.alloc(32), agent, fast)), 'not-authorized')
  assert.is(conditionOf(await login(exporter, agent)), 'invalid-mechanism')
  assert.is(conditionOf(await login(exporter, fast)), 'malformed-request')
  assert.is(
    conditionOf(await login(exporter, agent, el(ns.fast, 'fast', { count: '-1' }))), 'malformed-request',
  )
})

test('gives a client another token at its first login after a day', async () => {
  const server = new ScriptedServer()
  const who = { username: 'alice', password: await server.password('alice') }
  const mechanism = 'HT-SHA-256-NONE'
  const asked = el(ns.fast, 'request-token', { mechanism })
  const [success] = await server.connect().authenticate(who, agent, asked)
  let { token } = success!.child('token', ns.fast)!.attrs
  const given: boolean[] = []
  for (const hours of [1, 24, 1, 24]) {
    await server.clock.advance(hours * 3_600_000)
    const stream = server.connect()
    stream.header()
    const hash = createHmac('sha256', token!).update('Initiator').digest()
    const first = el(ns.sasl2, 'initial-response', {}, base64(Buffer.concat([Buffer.from('alice\0'), hash])))
    const request = el(ns.sasl2, 'authenticate', { mechanism }, first, agent, el(ns.fast, 'fast'))
    const newer = (await stream.says(request))[1]!.child('token', ns.fast)
    given.push(newer !== undefined)
    token = newer?.attrs.token ?? token
  }
  assert.equal(given, [false, true, false, true])
})

test('ends a stream that sends far ahead of its login', async () => {
  const server = new ScriptedServer({ account: () => new Promise(() => {}) })
  const stream = server.connect()
  stream.header()
  const auth = el(ns.sasl, 'auth', { mechanism: 'SCRAM-SHA-1' }, base64('n,,n=alice,r=abc'))
  await stream.says(auth, ...Array.from({ length: 60 }, () => el(ns.sasl, 'response', {}, '')))
  assert.is(stream.condition, 'policy-violation')
})

test('asks the hook for registration about what a stranger sends, inside of TLS alone', async () => {
  const registration = {
    features: () => [el('http://jabber.org/features/iq-register', 'register')],
    receive: async (element: XmlElement) => element.child('query', 'jabber:iq:register') === undefined
      ? undefined
      : el(ns.client, 'iq', { type: 'result', id: element.attrs.id }),
  }
  const server = new ScriptedServer({ registration })
  const stream = server.connect()
  stream.header()
  const [features] = await stream.says()
  assert.ok(features!.child('register', 'http://jabber.org/features/iq-register'))
  const asks = el(ns.client, 'iq', { type: 'get', id: 'r' }, el('jabber:iq:register', 'query'))
  assert.equal((await stream.says(asks)).map(({ attrs }) => attrs.id), ['r'])
  await stream.says(hello)
  assert.is(stream.condition, 'not-authorized')
})

test('refuses what is neither a stanza nor known in a session, and never a second resumption', async () => {
  const server = new ScriptedServer()
  const stream = server.connect()
  await stream.login('alice', await server.password('alice'))
  assert.equal((await stream.says(enable)).slice(1).map(conditionOf), ['unexpected-request'])
  await stream.bind('phone')
  assert.equal((await stream.says(
    el(ns.sm, 'resume', { previd: 'x', h: '0' }),
  )).map(conditionOf), ['unexpected-request'])
  await stream.says(el(ns.client, 'note'))
  assert.is(stream.condition, 'unsupported-stanza-type')
})

test.run()
