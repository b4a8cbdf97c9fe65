/**
 * What devices say to each other and store, byte for byte, on every backend; and a device on one
 * backend talking to a device on the other.
 */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import * as index from '../../crypto/index.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { generate, loadModules, vectorsFile } from '../vectors/secure-session.ts'
import type { CryptoModules, SessionVectors } from '../vectors/secure-session.ts'
import { backends } from './support/backends.ts'
import { ad, value } from './support/devices.ts'

const test = suite('crypto/frozen vectors', { timeoutMs: 60_000 })

const frozen = JSON.parse(readFileSync(vectorsFile, 'utf8')) as SessionVectors
const onBackends = await Promise.all(backends.map(({ name }) => loadModules(name)))
const [reference, native] = onBackends as [CryptoModules, CryptoModules, ...CryptoModules[]]

for (const modules of onBackends) {
  const { name } = modules.index.crypto
  test(`the ${name} backend gives the frozen vectors`, () => {
    const made = JSON.parse(JSON.stringify(generate(modules))) as SessionVectors
    // Part by part: the difference of the whole is too long to be read.
    for (const [part, value] of Object.entries(made.parts)) {
      assert.equal(value, (frozen.parts as Record<string, unknown>)[part], part)
    }
    assert.equal(made, frozen)
  })
}

test('what Node runs gives the frozen vectors, before and after libsodium has loaded', async () => {
  const mixed = await defaultModules()
  assert.equal(JSON.parse(JSON.stringify(generate(mixed))), frozen)
  await index.crypto.warmUp()
  assert.equal(JSON.parse(JSON.stringify(generate(mixed))), frozen)
})

test('the file is what its hash says', () => {
  const { sha256, ...rest } = frozen
  assert.is(index.crypto.sha256Hex(utf8(JSON.stringify(rest))), sha256)
})

for (const [from, to] of [[native, reference], [reference, native]] as const) {
  test(`a device on ${from.index.crypto.name} talks to one on ${to.index.crypto.name}`, () => {
    const random = seededRandom('across backends')
    const identity = ({ index: { crypto } }: CryptoModules) =>
      ({ signingKeys: crypto.signingKeyPair(random.bytes(32)), dhKeys: crypto.dhKeyPair(random.bytes(32)) })
    const [alice, bob] = [identity(from), identity(to)]
    const signed = to.prekeys.createSignedPrekey({ own: bob, id: 1, random })
    const kem = to.prekeys.createKemPrekey({ own: bob, id: 1, oneTime: false, random })
    let one = value(from.secureSession.SecureSession.initiate({
      own: alice,
      bundle: {
        identity: { signingKey: bob.signingKeys.publicKey, dhKey: bob.dhKeys.publicKey },
        signedPrekey: { id: 1, publicKey: signed.keys.publicKey, signature: signed.signature },
        kemPrekey: { id: 1, oneTime: false, publicKey: kem.keys.publicKey, signature: kem.signature },
      },
      random,
    }))
    let { session: other } = value(to.secureSession.SecureSession.respond({
      own: bob,
      message: one.encrypt({ plaintext: random.bytes(50), ad, random }),
      ad,
      prekeys: { signedPrekey: () => signed.keys, kemPrekey: () => kem.keys, oneTimePrekey: () => undefined },
    }))
    for (let round = 0; round < 5; round++) {
      const plaintext = random.bytes(100)
      assert.equal(value(one.decrypt({ message: other.encrypt({ plaintext, ad, random }), ad })), plaintext)
      assert.equal(value(other.decrypt({ message: one.encrypt({ plaintext, ad, random }), ad })), plaintext)
    }
    // A stored session opens on the other backend.
    const moved = from.secureSession.SecureSession.deserialize(other.serialize())
    other = to.secureSession.SecureSession.deserialize(one.serialize())
    one = moved
    const plaintext = random.bytes(10)
    assert.equal(value(one.decrypt({ message: other.encrypt({ plaintext, ad, random }), ad })), plaintext)
  })
}

/** The modules as the product imports them. */
async function defaultModules(): Promise<CryptoModules> {
  return {
    index,
    labels: await import('../../crypto/labels.ts'),
    prekeys: await import('../../crypto/handshake/prekeys.ts'),
    pqxdh: await import('../../crypto/handshake/pqxdh.ts'),
    header: await import('../../crypto/ratchet/header.ts'),
    keySchedule: await import('../../crypto/ratchet/key-schedule.ts'),
    kemStep: await import('../../crypto/ratchet/kem-step.ts'),
    secureSession: await import('../../crypto/secure-session.ts'),
    content: await import('../../protocol/message/content.ts'),
    sealed: await import('../../protocol/message/sealed.ts'),
    envelope: await import('../../protocol/envelope.ts'),
  }
}

test.run()
