/** The authority of the house: what it issues, what OpenSSL and our own verifier make of it, renewal. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:tls'
import type { AddressInfo } from 'node:net'
import * as assert from 'uvu/assert'
import { writeCertificate } from '../../../../bridges/xmpp/certificates/certificate-writer.ts'
import { HomeCa } from '../../../../bridges/xmpp/certificates/home-ca.ts'
import { readCertificate } from '../../../../bridges/xmpp/s2s/certificate-fields.ts'
import { TrustedRoots, verifyCertificate } from '../../../../bridges/xmpp/s2s/certificate-path.ts'
import { silentLog } from '../../../../node/ports.ts'
import { MemoryStore } from '../../../../node/storage/memory-store.ts'
import { systemClock } from '../../../../protocol/system-clock.ts'
import { suite } from '../../../helpers/harness.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('bridges/xmpp/certificates/home-ca')

const dayMs = 86_400_000
const domain = 'home.example'

function ground(clock = new VirtualClock(systemClock.now())) {
  const random = seededRandom(1)
  return { clock, random, log: silentLog, kv: new MemoryStore({ clock }).kv }
}

/** What a server with this certificate is told by a client that trusts `ca` alone. */
async function handshake(
  context: HomeCa['context'], { ca, name }: { readonly ca: string, readonly name: string },
): Promise<string | undefined> {
  const server = createServer({ SNICallback: (_, done) => done(null, context) })
  server.on('tlsClientError', () => {})
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port, servername: name, ca, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  // Whatever its type says, it is absent after a good check.
  const problem = socket.authorizationError as unknown as string | Error | undefined
  const closed = once(server, 'close')
  socket.destroy()
  server.close()
  await closed
  return problem === undefined || problem === null ? undefined
    : problem instanceof Error ? (problem as { code?: string }).code : problem
}

test('OpenSSL takes what it issues for the domain and its services, and for no other name', async () => {
  const home = await HomeCa.open(ground(), domain)
  const ca = home.authority.pem
  assert.is(await handshake(home.context, { ca, name: domain }), undefined)
  assert.is(await handshake(home.context, { ca, name: `oim.${domain}` }), undefined)
  assert.is(await handshake(home.context, { ca, name: 'bank.example' }), 'ERR_TLS_CERT_ALTNAME_INVALID')
  const other = await HomeCa.open(ground(), domain)
  assert.not(await handshake(home.context, { ca: other.authority.pem, name: domain }) === undefined)
})

test('our own verifier takes it where the authority is trusted', async () => {
  const home = await HomeCa.open(ground(), domain)
  const leaf = new X509Certificate(home.server.pem).raw
  const roots = new TrustedRoots([home.authority.pem])
  const presented = { leaf, others: [] }
  assert.equal(verifyCertificate(presented, domain, { roots, nowMs: systemClock.now() }), { ok: true })
  const stranger = verifyCertificate(
    presented, domain, { roots: new TrustedRoots([]), nowMs: systemClock.now() },
  )
  assert.is(stranger.ok ? '' : stranger.reason, 'untrusted')
})

test('its authority speaks for nothing outside of the domain', async () => {
  const home = await HomeCa.open(ground(), domain)
  const { constraints, isAuthority, pathLength } = readCertificate(
    new X509Certificate(home.authority.pem).raw,
  )
  assert.ok(isAuthority)
  assert.is(pathLength, 0)
  assert.equal(constraints?.permittedDns, [domain])
  assert.equal([...constraints!.otherForms], [7])
})

test('a certificate of such an authority for another domain is refused', () => {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuer = { name: 'home', ...authority }
  const times = {
    serial: new Uint8Array(16), fromMs: systemClock.now() - dayMs, toMs: systemClock.now() + dayMs,
  }
  const root = writeCertificate({
    subject: 'home', publicKey: authority.publicKey, issuer, ...times, use: { as: 'authority', domain },
  })
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const leaf = writeCertificate({
    subject: 'openIM', publicKey: server.publicKey, issuer, ...times,
    use: { as: 'server', names: ['bank.example'] },
  })
  const roots = new TrustedRoots([new X509Certificate(root).toString()])
  const verdict = verifyCertificate({ leaf, others: [] }, 'bank.example', { roots, nowMs: systemClock.now() })
  assert.is(verdict.ok ? '' : verdict.reason, 'constraint')
})

test('the same certificate stands after a restart, and another one before it ends', async () => {
  const parts = ground()
  const first = await HomeCa.open(parts, domain)
  const again = await HomeCa.open(parts, domain)
  assert.is(again.server.pem, first.server.pem)
  await parts.clock.advance(300 * dayMs)
  await again.renew()
  assert.is(again.server.pem, first.server.pem)
  await parts.clock.advance(10 * dayMs)
  await again.renew()
  assert.is.not(again.server.pem, first.server.pem)
  assert.is.not(again.context, first.context)
  assert.is(again.authority.pem, first.authority.pem)
  const leaf = new X509Certificate(again.server.pem).raw
  const roots = new TrustedRoots([first.authority.pem])
  const verdict = verifyCertificate({ leaf, others: [] }, domain, { roots, nowMs: parts.clock.now() })
  assert.equal(verdict, { ok: true })
})

test('looks by itself while it runs', async () => {
  const parts = ground()
  const home = await HomeCa.open(parts, domain)
  const before = home.server.pem
  await parts.clock.advance(306 * dayMs)
  home.start()
  await parts.clock.advance(dayMs)
  await home.stop()
  assert.is.not(home.server.pem, before)
})

test('an authority that would end before what it issues is replaced', async () => {
  const parts = ground()
  const first = await HomeCa.open(parts, domain)
  parts.clock.jumpWall(9.5 * 365 * dayMs)
  const later = await HomeCa.open(parts, domain)
  assert.is.not(later.authority.pem, first.authority.pem)
  assert.ok(later.authority.untilMs > later.server.untilMs)
})

test('each domain has an authority of its own', async () => {
  const parts = ground()
  const [one, two] = [await HomeCa.open(parts, domain), await HomeCa.open(parts, 'other.example')]
  assert.is.not(one.authority.fingerprint, two.authority.fingerprint)
  assert.match(one.authority.fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
})

test.run()
