/**
 * All backends answer alike: a short run of support/differential.ts (the long one is
 * test/fuzz/provider-differential.test.ts), all combinations of small-order components in an
 * Ed25519 signature, and proof that the comparison notices what it is there for.
 */
import * as assert from 'uvu/assert'
import { ed25519 } from '@noble/curves/ed25519.js'
import { crypto } from '../../crypto/index.ts'
import type { CryptoProvider } from '../../crypto/provider.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { askAll, everybody, mixedOrderSignature, torsionPoints } from './support/differential.ts'

const test = suite('crypto/provider differential', { timeoutMs: 60_000 })

const noble = everybody['noble']!

test('gives the same bytes, verdicts and errors, before and after wasm is loaded', async () => {
  askAll({ seed: 'before', count: 200 })
  await crypto.warmUp()
  askAll({ seed: 'after', count: 800 })
})

test('gives one verdict on signatures with every pair of small-order components', () => {
  const random = seededRandom('mixed order')
  let accepted = 0
  for (let key = 0; key < torsionPoints.length; key++) {
    for (let commitment = 0; commitment < torsionPoints.length; commitment++) {
      for (let round = 0; round < 4; round++) {
        const attempt = mixedOrderSignature(random, { key, commitment })
        const verdicts = Object.values(everybody).map((backend) => backend.verify(attempt))
        const imports = Object.values(everybody).map((backend) => backend.isVerifyKey(attempt.publicKey))
        assert.is(new Set(verdicts).size, 1, `A + T${key}, R + T${commitment}: ${verdicts.join()}`)
        assert.ok(imports.every((yes) => yes === (key === 0)), `A + T${key}: ${imports.join()}`)
        // A laxer verifier takes all of them, as ZIP 215 does.
        assert.ok(ed25519.verify(attempt.signature, attempt.message, attempt.publicKey))
        // Under a key that passes the import only the honest signature is left.
        if (key === 0) assert.is(verdicts[0], commitment === 0)
        if (verdicts[0] === true) accepted++
      }
    }
  }
  assert.ok(accepted > 4, 'without the check at import some crafted signatures would be valid')
})

test('notices a laxer verifier, a missing all-zero check and another error', () => {
  const different: readonly [RegExp, Partial<CryptoProvider>][] = [
    [/^Ed25519/, { verify: ({ publicKey, message, signature }) => lax(publicKey, message, signature) }],
    [/^X25519/, { dh: (own, remote) => noble.dh(own, remote) ?? new Uint8Array(32) }],
    [/^ChaCha20-Poly1305/, { seal: (input) => noble.seal({ ...input, key: input.key.slice(0, 32) }) }],
    [/^Ed25519 points/, { isVerifyKey: (key) => key.length === 32 }],
  ]
  for (const [kind, change] of different) {
    const of = { noble, other: { ...noble, ...change } }
    const notices = (error: Error): boolean => kind.test(error.message)
    assert.throws(() => askAll({ seed: 'notice', count: 2_000, of }), notices)
  }
})

function lax(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return ed25519.verify(signature, message, publicKey)
  } catch {
    return false
  }
}

test.run()
