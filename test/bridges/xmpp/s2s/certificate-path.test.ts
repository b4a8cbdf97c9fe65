/**
 * Tests of bridges/xmpp/s2s/certificate-path.ts and certificate-names.ts: the vectors that Node's own
 * verdict gets wrong, over real TLS, and every way in which a certificate can be another's.
 */
import * as assert from 'uvu/assert'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { isNamed } from '../../../../bridges/xmpp/s2s/certificate-names.ts'
import {
  presentedBy, TrustedRoots, verifyCertificate, verifyPinned,
} from '../../../../bridges/xmpp/s2s/certificate-path.ts'
import type { CertificateVerdict } from '../../../../bridges/xmpp/s2s/certificate-path.ts'
import { readDer } from '../../../../bridges/xmpp/s2s/der.ts'
import { suite } from '../../../helpers/harness.ts'
import { selfSigned, sequence, tagged, TestCA } from '../../../helpers/xmpp-ca.ts'
import type { CertificateOptions, Issued } from '../../../helpers/xmpp-ca.ts'

const test = suite('bridges/xmpp/s2s/certificate-path')
const ca = TestCA.create()
const roots = new TrustedRoots([ca.pem])
const nowMs = Date.now()

function reasonOf(verdict: CertificateVerdict): string {
  return verdict.ok ? 'ok' : verdict.reason
}

function verdictOn(issued: Issued, { domain = 'e.test', others = issued.above } = {}): CertificateVerdict {
  const presented = { leaf: issued.der, others: others.map(({ der }) => der) }
  return verifyCertificate(presented, domain, { roots, nowMs })
}

const reasonOn = (options: CertificateOptions, authority = ca): string =>
  reasonOf(verdictOn(authority.issue({ dns: ['e.test'], ...options })))

/** A client with a certificate reaches a server that asks for one: what Node says, and what we say. */
async function overTls(client: Issued, chain = client.fullChain): Promise<{ node: string, ours: string }> {
  const own = ca.issue({ dns: ['a.test'] })
  const server = createServer({
    cert: own.fullChain, key: own.key, ca: ca.pem, requestCert: true, rejectUnauthorized: false,
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({
    port: (server.address() as AddressInfo).port, host: '127.0.0.1', servername: 'a.test', ca: ca.pem,
    cert: chain, key: client.key,
  })
  const [accepted] = await once(server, 'secureConnection') as [TLSSocket]
  const presented = presentedBy(accepted.getPeerX509Certificate())
  const ours = reasonOf(verifyCertificate(presented, 'e.test', { roots, nowMs }))
  const node = accepted.authorized ? 'authorized' : String(accepted.authorizationError)
  for (const one of [socket, accepted]) one.destroy()
  server.close()
  await once(server, 'close')
  return { node, ours }
}

test('judges what Node misjudges, as the certificate of a TLS client', async () => {
  const evil = TestCA.create('evil authority')
  const fake = TestCA.create()
  const serverOnly = { dns: ['e.test'], purposes: ['serverAuth'] } as const
  const evilLeaf = evil.issue(serverOnly)
  const table: [string, Issued, { node: string, ours: string }, string?][] = [
    ['both purposes', ca.issue({ dns: ['e.test'] }), { node: 'authorized', ours: 'ok' }],
    ['server alone', ca.issue(serverOnly), { node: 'INVALID_PURPOSE', ours: 'ok' }],
    ['self-signed', selfSigned({ ...serverOnly, commonName: 'e.test' }),
      { node: 'INVALID_PURPOSE', ours: 'self-signed' }],
    ['evil chain sent along', evilLeaf, { node: 'INVALID_PURPOSE', ours: 'untrusted' },
      evilLeaf.pem + evil.pem],
    ['fake authority of the same name', fake.issue({ dns: ['e.test'] }),
      { node: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', ours: 'untrusted' }],
    ['expired', ca.issue({ ...serverOnly, toDays: -0.5 }), { node: 'CERT_HAS_EXPIRED', ours: 'expired' }],
    ['of another domain', ca.issue({ dns: ['other.test'] }), { node: 'authorized', ours: 'other-name' }],
    ['below an intermediate', ca.intermediate({ commonName: 'middle' }).issue(serverOnly),
      { node: 'INVALID_PURPOSE', ours: 'ok' }],
  ]
  const told: string[] = []
  for (const [name, client, expected, chain] of table) {
    const found = await overTls(client, chain)
    assert.is(found.ours, expected.ours, name)
    told.push(`${name}: ${found.node}`)
  }
  // The trap itself: Node's verdict does not tell the good ones from the bad ones.
  assert.equal(told.filter((line) => line.endsWith('INVALID_PURPOSE')).length >= 3, true, told.join('; '))
})

test('names the reason in words', () => {
  const verdict = verdictOn(ca.issue({ dns: ['other.test', '*.other.test'] }))
  assert.is(verdict.ok ? '' : verdict.text, 'is not for this domain but for other.test, *.other.test')
})

test('time counts at both ends, of authorities, too', () => {
  assert.is(reasonOn({ fromDays: 0.5 }), 'not-yet-valid')
  assert.is(reasonOn({ toDays: -0.5, fromDays: -3 }), 'expired')
  assert.is(reasonOn({}, ca.intermediate({ commonName: 'old', toDays: -0.5 })), 'expired')
  const old = TestCA.create('old root', { toDays: -0.5 })
  const verdict = verifyCertificate({ leaf: old.issue({ dns: ['e.test'] }).der, others: [] }, 'e.test',
    { roots: new TrustedRoots([old.pem]), nowMs })
  assert.is(reasonOf(verdict), 'expired')
})

test('an authority must be one, for servers, and within its limits', () => {
  const middle = (options: CertificateOptions = {}, above = ca): TestCA =>
    above.intermediate({ commonName: 'middle', ...options })
  assert.is(reasonOn({}, middle()), 'ok')
  assert.is(reasonOn({}, middle({ isAuthority: false })), 'constraint')
  assert.is(reasonOn({}, middle({ keyUsage: [0] })), 'constraint')
  assert.is(reasonOn({}, middle({ purposes: ['emailProtection'] })), 'purpose')
  assert.is(reasonOn({}, middle({ purposes: ['any'] })), 'ok')
  assert.is(reasonOn({}, middle({ commonName: 'deep' }, middle({ pathLength: 1 }))), 'ok')
  assert.is(reasonOn({}, middle({ commonName: 'deep' }, middle({ pathLength: 0 }))), 'constraint')
})

test('domains that an authority may not issue for are refused in every form of name', () => {
  const permitted = ca.intermediate({ commonName: 'middle', permitted: ['e.test'] })
  const excluded = ca.intermediate({ commonName: 'middle', excluded: ['e.test'] })
  assert.is(reasonOn({}, permitted), 'ok')
  assert.is(reasonOn({ dns: ['e.test', 'f.test'] }, permitted), 'constraint')
  assert.is(reasonOn({}, excluded), 'constraint')
  assert.is(reasonOn({ dns: ['*.test', 'e.test'] }, excluded), 'constraint')
  const other = ca.intermediate({ commonName: 'middle', permitted: ['f.test'] })
  assert.is(reasonOn({ dns: [], xmppAddrs: ['e.test'] }, other), 'constraint')
  assert.is(reasonOn({ dns: [], srvNames: ['_xmpp-server.e.test'] }, other), 'constraint')
})

test('a leaf must be for servers and sign', () => {
  assert.is(reasonOn({ purposes: ['clientAuth'] }), 'purpose')
  assert.is(reasonOn({ purposes: ['emailProtection'] }), 'purpose')
  assert.is(reasonOn({ purposes: ['any'] }), 'ok')
  assert.is(reasonOn({ purposes: [] }), 'ok')
  assert.is(reasonOn({ keyUsage: [2] }), 'purpose')
  assert.is(reasonOn({ extensions: [{ oid: '1.2.3.4', critical: true, value: sequence() }] }), 'constraint')
  assert.is(reasonOn({ extensions: [{ oid: '1.2.3.4', value: sequence() }] }), 'ok')
  assert.is(reasonOn({ keyType: 'rsa' }), 'ok')
  assert.is(reasonOn({ keyType: 'ed25519' }), 'ok')
})

test('the chain may come in any order, with strangers in it, but not in endless number', () => {
  const one = ca.intermediate({ commonName: 'one' })
  const two = one.intermediate({ commonName: 'two' })
  const leaf = two.issue({ dns: ['e.test'] })
  const strangers = Array.from({ length: 5 }, (_, i) =>
    selfSigned({ commonName: `stranger ${i}`, isAuthority: true }))
  assert.is(reasonOf(verdictOn(leaf, { others: [...strangers, ...leaf.above.toReversed()] })), 'ok')
  assert.is(reasonOf(verdictOn(leaf, { others: [] })), 'untrusted')
  // Sixteen authorities of one name, each issued by "each other": the search ends by its budget.
  const tangle = Array.from({ length: 16 }, () => TestCA.create('tangle').certificate)
  const lost = TestCA.create('tangle').issue({ dns: ['e.test'] })
  assert.is(reasonOf(verdictOn(lost, { others: tangle })), 'untrusted')
})

test('a self-signed certificate is trusted where it is a root itself', () => {
  const own = selfSigned({ commonName: 'e.test', dns: ['e.test'] })
  const presented = { leaf: own.der, others: [] }
  const trusted = { roots: new TrustedRoots([own.pem]), nowMs }
  assert.is(reasonOf(verifyCertificate(presented, 'e.test', trusted)), 'ok')
  assert.is(reasonOf(verifyCertificate(presented, 'f.test', trusted)), 'other-name')
  assert.is(reasonOf(verdictOn(own)), 'self-signed')
})

test('pins name a certificate or its key, whatever else it says', () => {
  const own = selfSigned({ commonName: 'x', dns: ['x.test'], toDays: -0.5 })
  const presented = { leaf: own.der, others: [] }
  assert.is(reasonOf(verifyPinned(presented, [own.fingerprint])), 'ok')
  assert.is(reasonOf(verifyPinned(presented, ['00', own.keyFingerprint])), 'ok')
  assert.is(reasonOf(verifyPinned(presented, [ca.certificate.fingerprint])), 'not-pinned')
  assert.is(reasonOf(verifyPinned({ leaf: undefined, others: [] }, [own.fingerprint])), 'absent')
})

test('a domain is matched by the names that say a server, and by no other', () => {
  const none = { dns: [], xmppAddrs: [], srvNames: [], otherForms: new Set<number>() }
  const named = (kind: 'dns' | 'xmppAddrs' | 'srvNames', name: string, domain = 'e.test'): boolean =>
    isNamed({ ...none, [kind]: [name] }, domain)
  const table: [boolean, boolean][] = [
    [named('dns', 'e.test'), true], [named('dns', 'E.Test'), true],
    [named('dns', 'e.test.'), false], [named('dns', 'f.test'), false], [named('dns', '*.e.test'), false],
    [named('dns', '*.e.test', 'chat.e.test'), true], [named('dns', '*.e.test', 'a.chat.e.test'), false],
    [named('dns', 'c*.e.test', 'chat.e.test'), false], [named('dns', '*', 'test'), false],
    [named('dns', '*.test'), false], [named('dns', 'chat.*.test', 'chat.e.test'), false],
    [named('dns', '*.*.test', 'chat.e.test'), false], [named('dns', 'e.test\0.evil.test'), false],
    [named('dns', 'xn--bcher-kva.test', 'bücher.test'), true],
    [named('xmppAddrs', 'e.test'), true], [named('xmppAddrs', 'me@e.test'), false],
    [named('xmppAddrs', 'e.test/x'), false], [named('xmppAddrs', '*.e.test', 'chat.e.test'), false],
    [named('xmppAddrs', 'bücher.test', 'bücher.test'), true],
    [named('srvNames', '_xmpp-server.e.test'), true], [named('srvNames', '_XMPP-Server.E.test'), true],
    [named('srvNames', '_xmpp-client.e.test'), false], [named('srvNames', '_imap.e.test'), false],
    [named('srvNames', '_xmpp-server.*.test'), false], [named('srvNames', 'e.test'), false],
  ]
  for (const [i, [found, expected]] of table.entries()) assert.is(found, expected, `row ${i}`)
})

test('the common name counts for nothing', () => {
  assert.is(reasonOn({ commonName: 'e.test', dns: [] }), 'other-name')
})

test('each certificate cut short or with a bit turned is refused or says the same', () => {
  const good = ca.issue({ dns: ['e.test'], xmppAddrs: ['e.test'], srvNames: ['_xmpp-server.e.test'] })
  for (let length = 0; length < good.der.length; length++) {
    const presented = { leaf: good.der.subarray(0, length), others: [] }
    const verdict = verifyCertificate(presented, 'e.test', { roots, nowMs })
    assert.is.not(reasonOf(verdict), 'ok', `cut at ${length}`)
  }
  for (let at = 0; at < good.der.length; at++) {
    const leaf = Buffer.from(good.der)
    leaf[at]! ^= 1 << at % 8
    const verdict = verifyCertificate({ leaf, others: [] }, 'e.test', { roots, nowMs })
    assert.is.not(reasonOf(verdict), 'ok', `turned at ${at}`)
  }
})

test('DER that could be read in two ways is refused', () => {
  const bad: [string, number[]][] = [
    ['indefinite length', [0x30, 0x80, 0, 0]], ['length in too many bytes', [0x04, 0x81, 0x01, 0]],
    ['padded length', [0x04, 0x82, 0x00, 0x81, ...Array<number>(0x81).fill(0)]],
    ['bytes behind', [0x04, 0x00, 0x00]], ['cut', [0x04, 0x02, 0x00]], ['long tag', [0x1f, 0x81, 0x01, 0x00]],
  ]
  const isRefusal = (error: Error): boolean => error.name === 'DerError'
  for (const [name, bytes] of bad) assert.throws(() => readDer(Uint8Array.from(bytes)), isRefusal, name)
  assert.is(readDer(tagged(0x04, Buffer.alloc(200))).content.length, 200)
})

test.run()
