/** Tests of bridges/xmpp/s2s/resolver.ts against a real name server of the test's own. */
import * as assert from 'uvu/assert'
import { S2sResolver } from '../../../../bridges/xmpp/s2s/resolver.ts'
import type { Resolution, ResolverOptions } from '../../../../bridges/xmpp/s2s/resolver.ts'
import { suite } from '../../../helpers/harness.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'
import { TestDns } from '../../../helpers/xmpp-dns.ts'

const test = suite('bridges/xmpp/s2s/resolver')
let dns: TestDns
let clock: VirtualClock
test.before.each(async () => {
  dns = await TestDns.start()
  clock = new VirtualClock()
})
test.after.each(async () => {
  await dns.stop()
})

function resolver(options: ResolverOptions = {}): S2sResolver {
  const components = { clock, random: seededRandom('resolver') }
  return new S2sResolver(components, { dnsServers: [dns.server], timeoutMs: 100, ...options })
}

/** `transport address:port`, or the condition. */
function shown(resolution: Resolution): string[] {
  if (!resolution.ok) return [resolution.condition]
  return resolution.targets.map(({ transport, address, port }) => `${transport} ${address}:${port}`)
}

test('direct TLS comes first on equal priority, and priority before all', async () => {
  dns.setSrv('_xmpps-server._tcp.a.test', { target: '192.0.2.1', port: 5270, priority: 5 },
    { target: '192.0.2.2', port: 443, priority: 20 })
  dns.setSrv('_xmpp-server._tcp.a.test', { target: '192.0.2.3', port: 5269, priority: 5 },
    { target: '192.0.2.4', port: 5269, priority: 1 })
  assert.equal(shown(await resolver().resolve('a.test')), [
    'starttls 192.0.2.4:5269', 'direct 192.0.2.1:5270', 'starttls 192.0.2.3:5269', 'direct 192.0.2.2:443',
  ])
})

test('servers of one priority are drawn by weight, a weight of zero seldom', async () => {
  const weights = { '192.0.2.1': 0, '192.0.2.2': 10, '192.0.2.3': 30 }
  dns.setSrv('_xmpp-server._tcp.a.test', ...Object.entries(weights)
    .map(([target, weight]) => ({ target, port: 5269, weight })))
  const one = resolver()
  const firsts = new Map<string, number>()
  for (let i = 0; i < 1_000; i++) {
    one.forget('a.test')
    const first = shown(await one.resolve('a.test'))[0]!
    firsts.set(first, (firsts.get(first) ?? 0) + 1)
  }
  const share = (address: string): number => (firsts.get(`starttls ${address}:5269`) ?? 0) / 1_000
  assert.ok(share('192.0.2.1') > 0.005 && share('192.0.2.1') < 0.06, `zero: ${share('192.0.2.1')}`)
  assert.ok(Math.abs(share('192.0.2.2') - 0.25) < 0.06, `ten: ${share('192.0.2.2')}`)
  assert.ok(Math.abs(share('192.0.2.3') - 0.73) < 0.06, `thirty: ${share('192.0.2.3')}`)
})

test('names of servers become their addresses, IPv6 and IPv4 in turn', async () => {
  dns.setSrv('_xmpp-server._tcp.a.test', { target: 'host.a.test', port: 5269 })
  dns.setA('host.a.test', '192.0.2.1', '192.0.2.2')
  dns.setAaaa('host.a.test', '2001:db8::1')
  assert.equal(shown(await resolver().resolve('a.test')), [
    'starttls 2001:db8::1:5269', 'starttls 192.0.2.1:5269', 'starttls 192.0.2.2:5269',
  ])
})

test('without service records the domain itself is the server', async () => {
  dns.setA('a.test', '192.0.2.9')
  assert.equal(shown(await resolver().resolve('a.test')), ['starttls 192.0.2.9:5269'])
  assert.equal(shown(await resolver().resolve('b.test')), ['remote-server-not-found'])
})

test('a target of "." means that there is no such service', async () => {
  dns.setA('a.test', '192.0.2.9')
  dns.setSrv('_xmpps-server._tcp.a.test', { target: '.', port: 0 })
  assert.equal(shown(await resolver().resolve('a.test')), ['starttls 192.0.2.9:5269'])
  dns.setSrv('_xmpp-server._tcp.a.test', { target: '.', port: 0 })
  const resolution = await resolver().resolve('a.test')
  assert.equal(shown(resolution), ['remote-server-not-found'])
  assert.ok(!resolution.ok && resolution.isLasting && /says that it has no XMPP server/.test(resolution.text))
})

test('a failing name server is no proof that there are no records', async () => {
  dns.setA('a.test', '192.0.2.9')
  for (const fault of ['SERVFAIL', 'silence'] as const) {
    dns.setFault('_xmpp-server._tcp.a.test', fault)
    const resolution = await resolver().resolve('a.test')
    assert.equal(shown(resolution), ['remote-server-timeout'], fault)
    assert.ok(!resolution.ok && !resolution.isLasting)
  }
  dns.setSrv('_xmpps-server._tcp.a.test', { target: '192.0.2.1', port: 5270 })
  assert.equal(shown(await resolver().resolve('a.test')), ['direct 192.0.2.1:5270'])
})

test('failures are forgotten within seconds, answers within minutes', async () => {
  const one = resolver()
  dns.setFault('_xmpp-server._tcp.a.test', 'SERVFAIL')
  assert.equal(shown(await one.resolve('a.test')), ['remote-server-timeout'])
  dns.setFault('_xmpp-server._tcp.a.test', undefined)
  dns.setSrv('_xmpp-server._tcp.a.test', { target: '192.0.2.1', port: 1 })
  assert.equal(shown(await one.resolve('a.test')), ['remote-server-timeout'])
  await clock.advance(15_000)
  assert.equal(shown(await one.resolve('a.test')), ['starttls 192.0.2.1:1'])
  dns.setSrv('_xmpp-server._tcp.a.test', { target: '192.0.2.1', port: 2 })
  assert.equal(shown(await one.resolve('a.test')), ['starttls 192.0.2.1:1'])
  await clock.advance(301_000)
  assert.equal(shown(await one.resolve('a.test')), ['starttls 192.0.2.1:2'])
})

test('one question is asked for many who want to know at once', async () => {
  dns.setSrv('_xmpp-server._tcp.a.test', { target: '192.0.2.1', port: 1 })
  const one = resolver()
  await Promise.all(Array.from({ length: 20 }, () => one.resolve('a.test')))
  assert.equal(dns.queries.toSorted(), ['SRV _xmpp-server._tcp.a.test', 'SRV _xmpps-server._tcp.a.test'])
})

test('entries of ours and addresses as domains need no name server', async () => {
  const one = resolver({ overrides: { 'a.test': { host: '192.0.2.7', port: 7, transport: 'direct' } } })
  assert.equal(shown(await one.resolve('a.test')), ['direct 192.0.2.7:7'])
  assert.equal(shown(await one.resolve('192.0.2.8')), ['starttls 192.0.2.8:5269'])
  assert.equal(shown(await one.resolve('[2001:db8::1]')), ['starttls 2001:db8::1:5269'])
  assert.equal(dns.queries, [])
})

test('many records are bounded, and names beyond ASCII are asked for in their encoded form', async () => {
  dns.setSrv('_xmpp-server._tcp.a.test', ...Array.from({ length: 30 }, (_, i) => ({
    target: `192.0.2.${i + 1}`, port: 5269,
  })))
  assert.is(shown(await resolver().resolve('a.test')).length, 10)
  await resolver().resolve('bücher.test')
  assert.ok(dns.queries.includes('SRV _xmpp-server._tcp.xn--bcher-kva.test'))
})

test.run()
