/** The server's half of SCRAM against the RFCs' own exchanges, and against what it must refuse. */
import * as assert from 'uvu/assert'
import { utf8, utf8Decode } from '../../../../crypto/bytes.ts'
import { decodeBase64, noChannelBindings } from '../../../../bridges/xmpp/auth/sasl.ts'
import { scramKeys, ScramServer } from '../../../../bridges/xmpp/auth/scram.ts'
import type { ScramServerOptions } from '../../../../bridges/xmpp/auth/scram.ts'
import { suite } from '../../../helpers/harness.ts'
import { ScramClient } from '../../../helpers/scram-client.ts'

const test = suite('bridges/xmpp/auth/scram')

/** RFC 5802 §5 and RFC 7677 §3. */
const published = [
  {
    hash: 'SHA-1', salt: 'QSXCR+Q6sek8bf92', serverNonce: '3rfcNHYJY1ZVvWVs7j',
    first: 'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
    challenge: 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    final: 'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    verifier: 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  },
  {
    hash: 'SHA-256', salt: 'W22ZaJ0SNY7soEsUEjb6gQ==', serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    first: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
    challenge: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    final: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,'
      + 'p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    verifier: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
] as const

const binding = utf8('what only this connection knows')
const bindings = {
  types: ['tls-exporter'], data: (type: string) => type === 'tls-exporter' ? binding : undefined,
}

function server(options: Partial<ScramServerOptions> = {}): ScramServer {
  return new ScramServer({
    hash: 'SHA-256', isPlus: false, isPlusOffered: false, bindings: noChannelBindings, serverNonce: 'ours',
    ...options,
  })
}

/** @returns the condition of the refusal, or `ok` */
function firstOf(message: string, options: Partial<ScramServerOptions> = {}): string {
  const first = server(options).first(utf8(message))
  return first.ok ? 'ok' : first.condition
}

for (const { hash, salt, serverNonce, first, challenge, final, verifier } of published) {
  test(`answers the published exchange of SCRAM-${hash} as the RFC does`, async () => {
    const scram = server({ hash, serverNonce })
    assert.equal(scram.first(utf8(first)), { ok: true, username: 'user', authzid: '' })
    const challenged = { salt: decodeBase64(salt)!, iterations: 4096 }
    assert.is(utf8Decode(scram.challenge(challenged)), challenge)
    const result = scram.final(utf8(final))
    assert.ok(result.ok)
    const keys = await scramKeys(hash, 'pencil', challenged)
    assert.ok(result.proof.matches(keys))
    assert.not.ok(result.proof.matches(await scramKeys(hash, 'pencils', challenged)))
    assert.is(utf8Decode(result.proof.serverFinal(keys)), verifier)
  })
}

test('binds a -PLUS login to its connection, and refuses that of another', async () => {
  const salt = { salt: utf8('0123456789abcdef'), iterations: 4096 }
  const keys = await scramKeys('SHA-256', 'secret', salt)
  for (const [seen, expected] of [
    [binding, 'ok'], [utf8('the man in the middle'), 'not-authorized'],
  ] as const) {
    const client = new ScramClient({
      hash: 'sha256', username: 'a,b=c', password: 'secret', flag: 'p=tls-exporter', binding: seen,
    })
    const scram = server({ isPlus: true, isPlusOffered: true, bindings })
    assert.equal(scram.first(utf8(client.first())), { ok: true, username: 'a,b=c', authzid: '' })
    const final = scram.final(utf8(client.final(utf8Decode(scram.challenge(salt)))))
    assert.is(final.ok ? 'ok' : final.condition, expected)
    if (final.ok) assert.ok(client.accepts(utf8Decode(final.proof.serverFinal(keys))))
  }
})

test('refuses a client that saw no -PLUS though it was offered', () => {
  assert.is(firstOf('y,,n=user,r=abc', { isPlusOffered: true, bindings }), 'not-authorized')
  assert.is(firstOf('y,,n=user,r=abc'), 'ok')
  assert.is(firstOf('n,,n=user,r=abc', { isPlusOffered: true, bindings }), 'ok')
})

test('refuses channel binding without -PLUS, -PLUS without it, and a type that was not offered', () => {
  assert.is(firstOf('p=tls-exporter,,n=user,r=abc', { bindings }), 'malformed-request')
  const plus = { isPlus: true, isPlusOffered: true, bindings }
  assert.is(firstOf('n,,n=user,r=abc', plus), 'malformed-request')
  assert.is(firstOf('p=tls-unique,,n=user,r=abc', plus), 'not-authorized')
  assert.is(firstOf('p=tls-exporter,,n=user,r=abc', plus), 'ok')
})

test('refuses malformed messages of either kind', () => {
  const wrong = [
    '', 'n', 'n,,', 'n,,n=user', 'n,,n=,r=abc', 'n,,n=user,r=', 'n,,m=x,n=user,r=abc', 'n,,n=us=er,r=abc',
    'n,,n=user,r=a b', 'x,,n=user,r=abc', 'n,b=x,n=user,r=abc', 'n,,n=us\0er,r=abc', 'n=x,,n=user,r=abc',
    'p,,n=user,r=abc',
  ]
  for (const message of wrong) assert.is(firstOf(message), 'malformed-request', JSON.stringify(message))
  assert.is(server().first(Uint8Array.of(0xff)).ok, false)
  const finals = ['', 'c=biws', 'c=biws,r=abcours', 'c=!!,r=abcours,p=AAAA', 'c=biws,r=abcours,p=AAAA']
  for (const message of finals) {
    const scram = server()
    scram.first(utf8('n,,n=user,r=abc'))
    scram.challenge({ salt: utf8('salt'), iterations: 4096 })
    const final = scram.final(utf8(message))
    assert.is(final.ok ? 'ok' : final.condition, 'malformed-request', message)
  }
})

test('refuses a nonce that is not the one of this exchange', () => {
  const scram = server()
  scram.first(utf8('n,,n=user,r=abc'))
  scram.challenge({ salt: utf8('salt'), iterations: 4096 })
  const final = scram.final(utf8(`c=biws,r=abcOURS,p=${Buffer.alloc(32).toString('base64')}`))
  assert.is(final.ok ? 'ok' : final.condition, 'not-authorized')
})

test.run()
