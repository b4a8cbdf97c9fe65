/**
 * Key blinding against Tor's vectors, against every Ed25519 verifier here, and its refusals.
 */
import * as assert from 'uvu/assert'
import { ed25519 } from '@noble/curves/ed25519.js'
import { blindedSigner, blindPublicKey } from '../../crypto/blinding.ts'
import { concat, equalBytes, hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { backends, importOn } from './support/backends.ts'
import { hasCode } from './support/devices.ts'
import { hasPublicVectors, readVectors, skipReason } from './support/public-vectors.ts'

const test = suite('crypto/blinding')

const random = seededRandom('blinding')
const seed = random.bytes(32)
const factor = random.bytes(32)
const { publicKey } = crypto.signingKeyPair(seed)

type BlindingModule = typeof import('../../crypto/blinding.ts')

for (const { name } of backends) {
  const withVectors = test.skipUnless(hasPublicVectors, skipReason, { allowInCI: true })
  withVectors(`${name}: gives the blinded keys of Tor`, async () => {
    playTorVectors(await importOn<BlindingModule>(name, 'blinding.ts'))
  })
}

function playTorVectors({ blindedSigner, blindPublicKey }: BlindingModule): void {
  type Field = 'secretKey' | 'publicKey' | 'blindingParam' | 'blindedPublicKey'
  const vectors = readVectors<Record<Field, string[]>>('tor-ed25519-blinding.json')
  assert.is(vectors.secretKey.length, 4)
  for (const [at, secretKey] of vectors.secretKey.entries()) {
    // Tor's code hashes the parameter once more before it clamps it (ed25519_donna_gettweak).
    const parameter = hexDecode(vectors.blindingParam[at]!)
    const torFactor = crypto.sha512(concat(utf8('Derive temporary signing key'), parameter)).slice(0, 32)
    const expected = vectors.blindedPublicKey[at]!
    const torKey = hexDecode(vectors.publicKey[at]!)
    assert.is(hex(blindPublicKey({ publicKey: torKey, factor: torFactor })), expected)
    assert.is(hex(blindedSigner({ seed: hexDecode(secretKey), factor: torFactor }).publicKey), expected)
  }
}

test('the owner signs under the key that others derive, for every verifier', () => {
  const signer = blindedSigner({ seed, factor })
  assert.equal(signer.publicKey, blindPublicKey({ publicKey, factor }))
  for (const message of [utf8(''), utf8('record'), random.bytes(3_000)]) {
    const signature = signer.sign(message)
    for (const backend of backends) {
      assert.ok(backend.isVerifyKey(signer.publicKey))
      assert.ok(backend.verify({ publicKey: signer.publicKey, message, signature }))
      assert.not(backend.verify({ publicKey, message, signature }))
      assert.not(backend.verify({ publicKey: signer.publicKey, message: utf8('other'), signature }))
    }
    assert.ok(ed25519.verify(signature, message, signer.publicKey, { zip215: false }))
  }
})

test('two factors give unrelated keys, and the same factor always the same', () => {
  const other = random.bytes(32)
  assert.not(equalBytes(blindPublicKey({ publicKey, factor }), blindPublicKey({ publicKey, factor: other })))
  assert.equal(blindPublicKey({ publicKey, factor }), blindPublicKey({ publicKey, factor: factor.slice() }))
})

test('the same message under two factors does not use one nonce twice', () => {
  const message = utf8('the same')
  const commitments = [factor, random.bytes(32)].map((one) =>
    hex(blindedSigner({ seed, factor: one }).sign(message).subarray(0, 32)))
  assert.is.not(commitments[0], commitments[1])
})

test('refuses keys that are no points, of small order, or have a torsion component', () => {
  const refused = (key: Uint8Array): void =>
    assert.throws(() => blindPublicKey({ publicKey: key, factor }), hasCode('BLINDING_KEY'))
  const torsion = ed25519.Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  refused(torsion.toBytes())
  refused(ed25519.Point.fromBytes(publicKey).add(torsion).toBytes())
  refused(ed25519.Point.ZERO.toBytes())
  refused(new Uint8Array(32).fill(2))
  refused(new Uint8Array(31))
})

test('keeps nothing secret where it shows', () => {
  const signer = blindedSigner({ seed, factor })
  assert.equal(Object.keys(signer).sort(), ['publicKey', 'sign'])
})

test.run()
