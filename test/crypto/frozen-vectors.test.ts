/**
 * What devices say to each other and store, byte for byte, on both backends; and a device on one
 * backend talking to a device on the other.
 */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import * as index from '../../crypto/index.ts'
import * as prekeys from '../../crypto/handshake/prekeys.ts'
import * as secureSession from '../../crypto/secure-session.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { generate, loadNobleModules, vectorsFile } from '../vectors/secure-session.ts'
import type { CryptoModules, SessionVectors } from '../vectors/secure-session.ts'
import { ad, value } from './support/devices.ts'

const test = suite('crypto/frozen vectors', { timeoutMs: 60_000 })

const frozen = JSON.parse(readFileSync(vectorsFile, 'utf8')) as SessionVectors
const native: CryptoModules = { index, prekeys, secureSession }
const reference = await loadNobleModules()

test('the reference backend gives the frozen vectors', () => {
  assert.is(reference.index.crypto.name, 'noble')
  assert.equal(JSON.parse(JSON.stringify(generate(reference))), frozen)
})

test('the native backend gives the frozen vectors', () => {
  assert.is(native.index.crypto.name, 'node')
  assert.equal(JSON.parse(JSON.stringify(generate(native))), frozen)
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

test.run()
