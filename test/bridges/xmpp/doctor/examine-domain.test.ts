/** `openim xmpp doctor` against real doors and a name server: what is found, and what is said to do. */
import { createSecureContext } from 'node:tls'
import * as assert from 'uvu/assert'
import { examineDomain } from '../../../../bridges/xmpp/doctor/examine-domain.ts'
import type { ExamineParts } from '../../../../bridges/xmpp/doctor/examine-domain.ts'
import { systemRandom } from '../../../../crypto/random.ts'
import type { DoctorCheck } from '../../../../node/status.ts'
import { systemClock } from '../../../../protocol/system-clock.ts'
import { suite } from '../../../helpers/harness.ts'
import { GatewayNode } from '../../../helpers/xmpp-gateway.ts'
import type { GatewayNodeOptions } from '../../../helpers/xmpp-gateway.ts'
import { XmppGround } from '../../../helpers/xmpp-server.ts'

const test = suite('bridges/xmpp/doctor/examine-domain')
let ground: XmppGround
const nodes: GatewayNode[] = []
test.before.each(async () => { ground = await XmppGround.create() })
test.after.each(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()))
  await ground.remove()
})

async function start(options: GatewayNodeOptions): Promise<GatewayNode> {
  const node = await GatewayNode.start(ground, options)
  nodes.push(node)
  return node
}

function parts(policy: ExamineParts['s2s']['policy'] = {}): ExamineParts {
  const own = ground.ca.issue({ dns: ['a.test'] })
  return {
    node: { clock: systemClock, random: systemRandom },
    s2s: { policy, resolver: { dnsServers: [ground.dns.server], timeoutMs: 1_000 }, roots: [ground.ca.pem] },
    secureContext: createSecureContext({ cert: own.fullChain, key: own.key }),
  }
}

async function other(name: string, policy?: ExamineParts['s2s']['policy']): Promise<readonly DoctorCheck[]> {
  return await examineDomain(parts(policy), { domain: 'a.test', other: name, doors: {}, isHome: false })
}

async function own(node: GatewayNode, isHome = false): Promise<readonly DoctorCheck[]> {
  const [starttls, tls] = node.ports
  const doors = { 'xmpp-server': `127.0.0.1:${starttls}`, 'xmpps-server': `127.0.0.1:${tls}` }
  return await examineDomain(parts(), { domain: node.domain, other: undefined, doors, isHome })
}

function found(checks: readonly DoctorCheck[], name: string): DoctorCheck {
  const check = checks.find((one) => one.name === name)
  assert.ok(check, `${name} is not among ${checks.map((one) => one.name).join(', ')}`)
  return check!
}

const shape = (checks: readonly DoctorCheck[]): string =>
  checks.map(({ name, ok }) => `${ok ? '+' : '-'}${name}`).join(' ')

for (const doors of [['starttls'], ['tls']] as const) {
  test(`goes the whole way to a healthy domain over ${doors[0]}`, async () => {
    await start({ domain: 'b.test', doors })
    const checks = await other('b.test')
    assert.is(shape(checks), '+address +connection +certificate +offers')
    assert.match(found(checks, 'connection').detail, /^127\.0\.0\.1:\d+ \(.*\), TLSv1\.3$/)
    assert.match(found(checks, 'offers').detail, /EXTERNAL/)
  })
}

test('says what is wrong with the certificate of another domain, and what to do', async () => {
  await start({ domain: 'b.test', certificate: ground.ca.issue({ dns: ['c.test'] }) })
  const check = found(await other('b.test'), 'certificate')
  assert.not(check.ok)
  assert.is(check.detail, 'the certificate of b.test is not for this domain but for c.test')
  assert.match(check.cure ?? '', 'xmpp.s2s.dialback = ["b.test"]')
  const allowed = found(await other('b.test', { defaultProof: 'dialback' }), 'certificate')
  assert.ok(allowed.ok)
  assert.match(allowed.detail, 'dialback is allowed')
})

test('says when there is no such domain, nobody listens, or we block it', async () => {
  assert.is(shape(await other('none.test')), '-address')
  ground.publish('down.test', { starttls: 1, tls: 1 })
  assert.is(shape(await other('down.test')), '+address -connection')
  const blocked = await other('b.spam.test', { blocked: ['spam.test'] })
  assert.is(shape(blocked), '-policy')
})

test('finds nothing wrong with a domain of ours that is in order', async () => {
  const node = await start({ domain: 'a.test' })
  const [starttls, tls] = node.ports
  ground.dns.setSrv('_xmpp-server._tcp.a.test', { target: 'node.a.test', port: starttls! })
  ground.dns.setSrv('_xmpps-server._tcp.a.test', { target: 'node.a.test', port: tls! })
  ground.dns.setAaaa('node.a.test', '::1')
  const checks = await own(node)
  assert.ok(checks.every(({ ok }) => ok), JSON.stringify(checks))
  assert.is(found(checks, 'DNS _xmpp-server._tcp').detail, `node.a.test:${starttls} at ::1`)
  assert.match(found(checks, 'certificate').detail, /^for a\.test, \*\.a\.test until \d{4}-/)
  assert.match(found(checks, 'door xmpps-server').detail, 'TLSv1.3')
})

test('gives the line to paste where DNS lacks a record', async () => {
  const node = await start({ domain: 'a.test', doors: ['tls'] })
  const check = found(await own(node), 'DNS _xmpp-server._tcp')
  assert.not(check.ok)
  assert.match(check.cure ?? '', `_xmpp-server._tcp.a.test. 3600 IN SRV 5 1 ${node.ports[0]} node.a.test.`)
})

test('says when a record names another port, has no address, or DNS does not answer', async () => {
  const node = await start({ domain: 'a.test' })
  ground.dns.setSrv('_xmpp-server._tcp.a.test', { target: '127-0-0-1.hosts.test', port: 443 })
  ground.dns.setA('127-0-0-1.hosts.test', '127.0.0.1')
  const record = async (): Promise<DoctorCheck> => found(await own(node), 'DNS _xmpp-server._tcp')
  assert.match((await record()).detail, 'the router must lead there')
  ground.dns.unset('A', '127-0-0-1.hosts.test')
  assert.match((await record()).detail, 'at no address')
  ground.dns.setFault('_xmpp-server._tcp.a.test', 'SERVFAIL')
  assert.match((await record()).detail, 'gave no answer')
})

test('says when other servers do not find our rooms, or our certificate is not for them', async () => {
  const node = await start({ domain: 'a.test' })
  assert.is(found(await own(node), 'rooms').detail, 'rooms.a.test')
  for (const service of ['_xmpp-server', '_xmpps-server']) ground.dns.setSrv(`${service}._tcp.rooms.a.test`)
  const check = found(await own(node), 'rooms')
  assert.match(check.cure ?? '', `_tcp.rooms.a.test. 3600 IN SRV 5 1 ${node.ports[0]} node.a.test.`)
  const alone = await start({ domain: 'b.test', certificate: ground.ca.issue({ dns: ['b.test'] }) })
  assert.match(found(await own(alone), 'rooms').cure ?? '', 'get one for rooms.b.test')
})

test('says what other servers will find wrong with our certificate', async () => {
  const wrong = await start({ domain: 'a.test', certificate: ground.ca.issue({ dns: ['node.a.test'] }) })
  assert.match(found(await own(wrong), 'certificate').detail, 'is not for this domain but for node.a.test')
  const soon = await start({ domain: 'b.test', certificate: ground.ca.issue({ dns: ['b.test'], toDays: 5 }) })
  assert.is(found(await own(soon), 'certificate').cure, 'renew it')
  assert.match(found(await own(soon, true), 'certificate').detail, 'other servers do not know it')
})

test('says which of our doors is closed', async () => {
  const node = await start({ domain: 'a.test' })
  const doors = { 'xmpp': '127.0.0.1:1', 'xmpps-server': `127.0.0.1:${node.ports[1]}` }
  const checks = await examineDomain(parts(), { domain: 'a.test', other: undefined, doors, isHome: false })
  assert.not(found(checks, 'door xmpp').ok)
  assert.match(found(checks, 'door xmpp').detail, 'ECONNREFUSED')
})

test.run()
