/**
 * Both backends against Project Wycheproof, the Ed25519 edge cases and the ZIP 215 cases.
 */
import * as assert from 'uvu/assert'
import { hex, hexDecode } from '../../crypto/bytes.ts'
import { backends } from './support/backends.ts'
import { eachCase, hasPublicVectors, readVectors, skipReason } from './support/public-vectors.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('crypto/provider vectors', { timeoutMs: 120_000 })

const nothing = new Uint8Array(0)
const fixedRandom = (bytes: Uint8Array): { bytes: () => Uint8Array } => ({ bytes: () => bytes.slice() })

for (const crypto of backends) {
  const withVectors = test.skipUnless(hasPublicVectors, skipReason, { allowInCI: true })

  withVectors(`${crypto.name}: X25519 agrees with Wycheproof and refuses every all-zero secret`, () => {
    const count = eachCase<object, { public: string, private: string, shared: string }>(
      'wycheproof-x25519_test.json',
      (vector) => {
        const shared = crypto.dh(crypto.dhKeyPair(hexDecode(vector.private)), hexDecode(vector.public))
        const zero = /^0+$/.test(vector.shared)
        assert.is(shared && hex(shared), zero ? undefined : vector.shared)
      },
    )
    assert.is(count, 518)
  })

  withVectors(`${crypto.name}: Ed25519 agrees with Wycheproof`, () => {
    const count = eachCase<{ publicKey: { pk: string } }, { msg: string, sig: string }>(
      'wycheproof-ed25519_test.json',
      (vector, group) => {
        const publicKey = hexDecode(group.publicKey.pk)
        const [message, signature] = [hexDecode(vector.msg), hexDecode(vector.sig)]
        const accepted = crypto.verify({ publicKey, message, signature })
        assert.is(accepted, vector.result === 'valid')
      },
    )
    assert.is(count, 151)
  })

  withVectors(`${crypto.name}: ChaCha20-Poly1305 agrees with Wycheproof both ways`, () => {
    const count = eachCase<AeadGroup, AeadCase>('wycheproof-chacha20_poly1305_test.json', (vector, group) => {
      if (group.ivSize !== 96) return
      checkAead(vector, crypto.seal, crypto.open)
    })
    assert.is(count, 325)
  })

  withVectors(`${crypto.name}: XChaCha20-Poly1305 agrees with Wycheproof both ways`, () => {
    const file = 'wycheproof-xchacha20_poly1305_test.json'
    const count = eachCase<AeadGroup, AeadCase>(file, (vector, group) => {
      if (group.ivSize !== 192) return
      checkAead(vector, crypto.sealX, crypto.openX)
    })
    assert.is(count, 315)
  })

  withVectors(`${crypto.name}: HKDF and HMAC agree with Wycheproof`, () => {
    eachCase<object, { ikm: string, salt: string, info: string, size: number, okm: string }>(
      'wycheproof-hkdf_sha256_test.json',
      (vector) => {
        if (vector.result !== 'valid') return
        const [secret, salt, info] = [hexDecode(vector.ikm), hexDecode(vector.salt), hexDecode(vector.info)]
        assert.is(hex(crypto.hkdf({ secret, salt, info, length: vector.size })), vector.okm)
      },
    )
    eachCase<{ tagSize: number }, { key: string, msg: string, tag: string }>(
      'wycheproof-hmac_sha256_test.json',
      (vector, group) => {
        const tag = hex(crypto.hmacSha256(hexDecode(vector.key), hexDecode(vector.msg)))
        assert.is(tag.slice(0, group.tagSize / 4) === vector.tag, vector.result === 'valid')
      },
    )
  })

  withVectors(`${crypto.name}: ML-KEM-768 agrees with Wycheproof`, () => {
    const file = 'wycheproof-mlkem_768_test.json'
    const count = eachCase<object, { seed: string, ek: string, c: string, K: string }>(file, (vector) => {
      // Lengths are the codec's to check; a provider asserts them.
      if (vector.seed.length !== 128 || vector.c.length !== 2_176) return
      const keys = crypto.kemKeyPair(hexDecode(vector.seed))
      if (vector.ek !== undefined) assert.is(hex(keys.publicKey), vector.ek)
      assert.is(hex(crypto.kemDecapsulate(keys, hexDecode(vector.c))) === vector.K, vector.result === 'valid')
    })
    assert.is(count, 193)
    eachCase<object, { seed: string, ek: string }>('wycheproof-mlkem_768_keygen_seed_test.json', (vector) => {
      assert.is(hex(crypto.kemKeyPair(hexDecode(vector.seed)).publicKey), vector.ek)
    })
    const encapsFile = 'wycheproof-mlkem_768_encaps_test.json'
    eachCase<object, { m: string, ek: string, c: string, K: string }>(encapsFile, (vector) => {
      const encapsulated = crypto.kemEncapsulate(hexDecode(vector.ek), fixedRandom(hexDecode(vector.m)))
      assert.is(encapsulated !== undefined, vector.result === 'valid')
      if (encapsulated === undefined) return
      assert.is(hex(encapsulated.ciphertext), vector.c)
      assert.is(hex(encapsulated.sharedSecret), vector.K)
    })
  })

  withVectors(`${crypto.name}: refuses every key and signature that libraries disagree about`, () => {
    interface Edge { message: string, pub_key: string, signature: string }
    const edges = readVectors<Edge[]>('ed25519-edge-cases.json')
    const accepted = edges.map(({ message, pub_key, signature }) => crypto.verify({
      publicKey: hexDecode(pub_key), message: hexDecode(message), signature: hexDecode(signature),
    }))
    // Case 3 has a key of mixed order and satisfies the cofactorless equation; 6 and 7 have good
    // keys and S ≥ L. So no signature is accepted under a key that passes the import.
    assert.equal(accepted.flatMap((yes, at) => (yes ? [at] : [])), [3])
    const importable = edges.map(({ pub_key }) => crypto.isVerifyKey(hexDecode(pub_key)))
    assert.equal(importable.flatMap((yes, at) => (yes ? [at] : [])), [6, 7])

    interface Zip215 { vk_bytes: string, sig_bytes: string }
    const zip215 = readVectors<Zip215[]>('ed25519-zip215.json')
    assert.is(zip215.length, 196)
    for (const { vk_bytes, sig_bytes } of zip215) {
      const publicKey = hexDecode(vk_bytes)
      assert.not(crypto.verify({ publicKey, message: nothing, signature: hexDecode(sig_bytes) }))
      assert.not(crypto.isVerifyKey(publicKey))
    }
  })
}

interface AeadGroup {
  ivSize: number
}
interface AeadCase {
  key: string
  iv: string
  aad: string
  msg: string
  ct: string
  tag: string
  result: string
}

function checkAead(
  vector: AeadCase,
  seal: (typeof backends)[number]['seal'],
  open: (typeof backends)[number]['open'],
): void {
  const [key, nonce, ad] = [hexDecode(vector.key), hexDecode(vector.iv), hexDecode(vector.aad)]
  const ciphertext = hexDecode(vector.ct + vector.tag)
  const opened = open({ key, nonce, ciphertext, ad })
  assert.is(opened && hex(opened), vector.result === 'valid' ? vector.msg : undefined)
  if (vector.result !== 'valid') return
  assert.is(hex(seal({ key, nonce, plaintext: hexDecode(vector.msg), ad })), hex(ciphertext))
}

test.run()
