/**
 * Tests of bridges/xmpp/s2s/gateway.ts and what it stands on, between two nodes of ours over real
 * sockets: what is refused, what goes back, what waits, and what a crash leaves.
 */
import * as assert from 'uvu/assert'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { GatewayNode } from '../../../helpers/xmpp-gateway.ts'
import type { GatewayNodeOptions } from '../../../helpers/xmpp-gateway.ts'
import { XmppGround } from '../../../helpers/xmpp-server.ts'

const test = suite('bridges/xmpp/s2s/gateway')
let ground: XmppGround
const nodes: GatewayNode[] = []
test.before.each(async () => {
  ground = await XmppGround.create()
})
test.after.each(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()))
  await ground.remove()
})

async function node(options: GatewayNodeOptions): Promise<GatewayNode> {
  const started = await GatewayNode.start(ground, options)
  nodes.push(started)
  return started
}

test('messages arrive in order, once each, and the outbox is empty then', async () => {
  const [a, b] = [await node({ domain: 'a.test' }), await node({ domain: 'b.test', doors: ['starttls'] })]
  const texts = Array.from({ length: 500 }, (_, i) => `${i}`)
  await Promise.all(texts.map((text) => a.say('you@b.test', text)))
  await b.until(() => b.texts.length >= texts.length)
  assert.equal(b.texts, texts)
  await a.say('you@b.test', 'last')
  await b.until(() => b.texts.includes('last'))
})

test('dialback proves a domain where policy allows it', async () => {
  const policy = { defaultProof: 'dialback' } as const
  const certificate = ground.ca.issue({ dns: ['other.test'] })
  const a = await node({ domain: 'a.test', certificate, policy })
  const b = await node({ domain: 'b.test', policy })
  await a.say('you@b.test', 'hello')
  await b.until(() => b.texts.includes('hello'))
  assert.equal(b.gateway.streams.map(({ direction, by }) => `${direction} ${by}`), ['in dialback'])
  await b.say('you@a.test', 'back')
  await a.until(() => a.texts.includes('back'))
})

test('a pinned certificate is accepted whatever else it is, and another is not', async () => {
  const certificate = ground.ca.issue({ dns: ['other.test'], toDays: -0.5 })
  await node({ domain: 'b.test', certificate, policy: { defaultProof: 'dialback' } })
  const pin = (sha256: string): GatewayNodeOptions['policy'] =>
    ({ proofs: { 'b.test': { by: 'pin', sha256: [sha256] } } })
  const good = await node({ domain: 'a.test', policy: pin(certificate.fingerprint.toUpperCase())! })
  await good.say('you@b.test', 'hello')
  await nodes[0]!.until(() => nodes[0]!.texts.includes('hello'))
  const wrong = await node({ domain: 'c.test', policy: pin('00')! })
  await wrong.say('you@b.test', 'hello')
  assert.match(await wrong.bounce(), /^the certificate of b\.test is not the one that is pinned here/)
})

test('bounces say why in words', async () => {
  const a = await node({ domain: 'a.test', policy: { blocked: ['spam.test'] } })
  const certificate = ground.ca.issue({ dns: ['old.test'], toDays: -1, fromDays: -9 })
  await node({ domain: 'old.test', certificate })
  ground.dns.setSrv('_xmpp-server._tcp.none.test', { target: '.', port: 0 })
  const table: [string, string, string][] = [
    ['you@old.test', 'remote-server-timeout', 'the certificate of old.test has expired'],
    ['you@missing.test', 'remote-server-not-found', 'missing.test has no address'],
    ['you@none.test', 'remote-server-not-found', 'none.test says that it has no XMPP server'],
    ['you@chat.spam.test', 'not-allowed', 'chat.spam.test is blocked on this server'],
    ['you@a.test', 'internal-server-error', 'a.test is not reached over federation from a.test'],
  ]
  for (const [to, condition, text] of table) {
    a.bounced.length = 0
    await a.say(to, 'hello')
    assert.is(await a.bounce(), text)
    const [bounce] = a.bounced
    assert.is(bounce!.child('error')!.childOf(ns.stanzaErrors)!.name, condition)
    assert.equal([bounce!.attrs['to'], bounce!.attrs['from']], ['me@a.test/here', to])
  }
  assert.is(a.gateway.queued, 0)
})

test('what waits for a server that is down outlives a crash of ours, and arrives when it is up', async () => {
  const a = await node({ domain: 'a.test' })
  ground.publish('b.test', { starttls: 1, tls: 1 })
  await a.say('you@b.test', 'one')
  await a.say('you@b.test', 'two')
  assert.is(a.gateway.queued, 2)
  await a.cut()
  const b = await node({ domain: 'b.test' })
  const again = await node({ domain: 'a.test', kv: a.kv })
  await b.until(() => b.texts.length === 2)
  assert.equal(b.texts, ['one', 'two'])
  assert.equal(again.bounced, [])
})

test('a stanza is acknowledged when it is handled, and comes again when it was not', async () => {
  const held = Promise.withResolvers<void>()
  const b = await node({ domain: 'b.test', onStanza: () => held.promise })
  const a = await node({ domain: 'a.test' })
  await a.say('you@b.test', 'hello')
  await b.until(() => b.texts.length === 1)
  assert.is(a.gateway.queued, 1, 'not handled, not acknowledged')
  await b.cut()
  held.resolve()
  const again = await node({ domain: 'b.test', kv: b.kv })
  await again.until(() => again.texts.includes('hello'))
})

test('a sender of ours who floods other servers is told so', async () => {
  const [a, b] = [await node({ domain: 'a.test' }), await node({ domain: 'b.test' })]
  for (let i = 0; i < 1_200; i++) await a.say('you@b.test', `${i}`)
  assert.match(await a.bounce(), /you send too much to other servers/)
  await a.say('you@b.test', 'from somebody else', 'other@a.test')
  await b.until(() => b.texts.includes('from somebody else'))
})

test.run()
