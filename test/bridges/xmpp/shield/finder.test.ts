/**
 * Tests of bridges/xmpp/shield/finder.ts and shield-door.ts against each other over real TLS, with a
 * name server and certificates of the test's own.
 */
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import * as assert from 'uvu/assert'
import { Finder } from '../../../../bridges/xmpp/shield/finder.ts'
import type { Found } from '../../../../bridges/xmpp/shield/finder.ts'
import { shieldDoor } from '../../../../bridges/xmpp/shield/shield-door.ts'
import type { Offer, WellKnown } from '../../../../bridges/xmpp/shield/well-known.ts'
import { TrustedRoots } from '../../../../bridges/xmpp/s2s/certificate-path.ts'
import { S2sPolicy } from '../../../../bridges/xmpp/s2s/policy.ts'
import { S2sResolver } from '../../../../bridges/xmpp/s2s/resolver.ts'
import type { WebRoute } from '../../../../bridges/xmpp/stream/web-door.ts'
import { systemRandom } from '../../../../crypto/random.ts'
import { crypto } from '../../../../crypto/index.ts'
import { formatAddress } from '../../../../protocol/address.ts'
import { systemClock } from '../../../../protocol/system-clock.ts'
import { suite } from '../../../helpers/harness.ts'
import { selfSigned, TestCA } from '../../../helpers/xmpp-ca.ts'
import type { Issued } from '../../../helpers/xmpp-ca.ts'
import { TestDns } from '../../../helpers/xmpp-dns.ts'

const test = suite('bridges/xmpp/shield/finder')
const ca = TestCA.create()
const address = formatAddress(crypto.signingKeyPair(new Uint8Array(32).fill(7)).publicKey)
const said: WellKnown = { domain: 'b.test', address, services: ['rooms.b.test'], maxAgeMs: 86_400_000 }

let dns: TestDns
let offers: Offer[] = []
const servers: Server[] = []
test.before.each(async () => {
  dns = await TestDns.start()
  offers = []
})
test.after.each(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  await dns.stop()
})

/** Serves the domain, and says in DNS where. */
async function serve({ certificate = ca.issue({ dns: ['b.test'] }), route = door() }: {
  readonly certificate?: Issued, readonly route?: Pick<WebRoute, 'handle'>,
} = {}): Promise<void> {
  const server = createServer({ cert: certificate.fullChain, key: certificate.key },
    (request, response) => route.handle(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  servers.push(server)
  const { port } = server.address() as AddressInfo
  dns.setTxt('_openim.b.test', 'something else', `v=openim1; host=127.0.0.1; port=${port}`)
}

function door(wellKnown: () => WellKnown | undefined = () => said): WebRoute {
  return shieldDoor({ clock: systemClock, wellKnown, offered: (offer) => offers.push(offer) })
}

function finder(): Finder {
  const clock = systemClock
  return new Finder({
    clock,
    resolver: new S2sResolver({ clock, random: systemRandom }, { dnsServers: [dns.server], timeoutMs: 500 }),
    policy: new S2sPolicy({ clock, roots: new TrustedRoots([ca.pem]) }),
  })
}

/** The reason, or what was found. */
function shown(found: Found): string {
  return found.ok ? found.value.address : `${found.why}: ${found.text}`
}

test('reads what a domain says, and hands it an offer', async () => {
  await serve()
  assert.equal(await finder().find('b.test'), { ok: true, value: said })
  const offer = { domain: 'a.test', invite: 'openim:something' }
  assert.is(await finder().offer('b.test', offer), undefined)
  assert.equal(offers, [offer])
})

test('believes nobody who shows no valid certificate for the domain itself', async () => {
  await serve({ certificate: ca.issue({ dns: ['other.test'] }) })
  assert.match(shown(await finder().find('b.test')), /unreachable: .* not for this domain/)
  await serve({ certificate: TestCA.create('somebody').issue({ dns: ['b.test'] }) })
  assert.match(shown(await finder().find('b.test')), /unreachable: .* not trusted here/)
  await serve({ certificate: selfSigned({ dns: ['b.test'], purposes: ['serverAuth'] }) })
  assert.match(shown(await finder().find('b.test')), /unreachable: .* self-signed/)
  await serve({ certificate: ca.issue({ dns: ['b.test'], toDays: -0.5 }) })
  assert.match(shown(await finder().find('b.test')), /unreachable: .* expired/)
  assert.is((await finder().offer('b.test', { domain: 'a.test', invite: 'secret' }))?.why, 'unreachable')
  assert.equal(offers, [])
})

test('tells a domain without a shield from one that cannot be asked', async () => {
  const answering = (status: number, text = '', headers = {}): Pick<WebRoute, 'handle'> => ({
    handle(_, response) {
      response.writeHead(status, headers)
      response.end(text)
    },
  })
  await serve({ route: answering(404) })
  assert.match(shown(await finder().find('b.test')), /^absent/)
  for (const [status, text] of [
    [302, ''], [500, ''], [200, 'no JSON'], [200, '{"version":1}'], [200, 'x'.repeat(20_000)],
    [200, JSON.stringify({ ...said, version: 1, maxAge: 5, domain: 'c.test' })],
    [200, JSON.stringify({ ...said, version: 1, maxAge: 5, services: ['bank.test'] })],
  ] as const) {
    await serve({ route: answering(status, text, { location: 'https://evil.test/' }) })
    assert.match(shown(await finder().find('b.test')), /^unreachable/, `${status} ${text.slice(0, 40)}`)
  }
  dns.unset('TXT', '_openim.b.test')
  assert.match(shown(await finder().find('b.test')), /^absent: b.test has no address/)
  dns.setFault('b.test', 'SERVFAIL')
  assert.match(shown(await finder().find('b.test')), /^unreachable/)
})

test('takes only offers that are ones, and not many of one domain', async () => {
  await serve()
  const taken: (string | undefined)[] = []
  for (let i = 0; i < 15; i++) {
    taken.push((await finder().offer('b.test', { domain: 'a.test', invite: `openim:${i}` }))?.why)
  }
  assert.is(taken.filter((why) => why === undefined).length, offers.length)
  assert.ok(offers.length <= 10)
  assert.is((await finder().offer('b.test', { domain: 'not a domain', invite: '' }))?.why, 'unreachable')
  const large = { domain: 'd.test', invite: 'x'.repeat(30_000) }
  assert.is((await finder().offer('b.test', large))?.why, 'unreachable')
  assert.ok(offers.every(({ domain }) => domain === 'a.test'))
})

test('a door whose account is elsewhere says so', async () => {
  await serve({ route: door(() => undefined) })
  assert.match(shown(await finder().find('b.test')), /^unreachable: .* 503/)
})

test.run()
