/**
 * Every backend against the public vector files: Project Wycheproof, the Ed25519 edge cases and the
 * ZIP 215 cases. Noise and key blinding have theirs in noise.test.ts and blinding.test.ts.
 *
 * Every case of a file is put to the backend; what our interface does not take (another nonce
 * length, a seed cut short) must be refused as misuse. Each test prints how many there were.
 */
import { createPrivateKey, decapsulate } from 'node:crypto'
import * as assert from 'uvu/assert'
import { ml_kem768 as mlKem768 } from '@noble/post-quantum/ml-kem.js'
import sodium from 'libsodium-wrappers'
import { concat, hex, hexDecode } from '../../crypto/bytes.ts'
import type { CryptoProvider } from '../../crypto/provider.ts'
import { systemRandom } from '../../crypto/random.ts'
import { suite } from '../helpers/harness.ts'
import { backends } from './support/backends.ts'
import { hasCode } from './support/devices.ts'
import { eachCase, hasPublicVectors, readVectors, skipReason } from './support/public-vectors.ts'
import type { WycheproofCase } from './support/public-vectors.ts'

const test = suite('crypto/provider vectors', { timeoutMs: 120_000 })
const withVectors = test.skipUnless(hasPublicVectors, skipReason, { allowInCI: true })

const nothing = new Uint8Array(0)
const fixedRandom = (bytes: Uint8Array): { bytes: () => Uint8Array } => ({ bytes: () => bytes.slice() })
const misused = hasCode('BUG_ASSERTION')

/** Runs all cases of a file, which must be `expected` many, and tells how many of them were valid. */
function play<Group, Case>(
  where: { crypto: { name: string }, file: string, expected: number },
  check: (vector: Case & WycheproofCase, group: Group) => void,
): void {
  let valid = 0
  const count = eachCase<Group, Case>(where.file, (vector, group) => {
    if (vector.result !== 'invalid') valid++
    check(vector, group)
  })
  tell({ ...where, count, valid })
  assert.is(count, where.expected)
}

function tell(input: { crypto: { name: string }, file: string, count: number, valid: number }): void {
  const { crypto, file, count, valid } = input
  process.stdout.write(`\n  ${crypto.name}: ${file}: ${count} cases, ${count - valid} of them invalid `)
}

for (const crypto of backends) {
  withVectors(`${crypto.name}: X25519 agrees with Wycheproof and refuses every all-zero secret`, () => {
    play<object, { public: string, private: string, shared: string }>(
      { crypto, file: 'wycheproof-x25519_test.json', expected: 518 },
      (vector) => {
        const shared = crypto.dh(crypto.dhKeyPair(hexDecode(vector.private)), hexDecode(vector.public))
        const zero = /^0+$/.test(vector.shared)
        assert.is(shared && hex(shared), zero ? undefined : vector.shared)
      },
    )
  })

  withVectors(`${crypto.name}: Ed25519 agrees with Wycheproof`, () => {
    play<{ publicKey: { pk: string } }, { msg: string, sig: string }>(
      { crypto, file: 'wycheproof-ed25519_test.json', expected: 151 },
      (vector, group) => {
        const publicKey = hexDecode(group.publicKey.pk)
        const [message, signature] = [hexDecode(vector.msg), hexDecode(vector.sig)]
        const accepted = crypto.verify({ publicKey, message, signature })
        assert.is(accepted, vector.result === 'valid')
        assert.ok(crypto.isVerifyKey(publicKey))
      },
    )
  })

  for (const [file, expected, nonceBytes] of [
    ['wycheproof-chacha20_poly1305_test.json', 325, 12],
    ['wycheproof-xchacha20_poly1305_test.json', 315, 24],
  ] as const) {
    withVectors(`${crypto.name}: ${file.slice(11, -10)} agrees with Wycheproof both ways`, () => {
      const [seal, open] = nonceBytes === 12 ? [crypto.seal, crypto.open] : [crypto.sealX, crypto.openX]
      play<object, AeadCase>({ crypto, file, expected }, (vector) => {
        const [key, nonce, ad] = [hexDecode(vector.key), hexDecode(vector.iv), hexDecode(vector.aad)]
        const [plaintext, ciphertext] = [hexDecode(vector.msg), hexDecode(vector.ct + vector.tag)]
        if (nonce.length !== nonceBytes) {
          assert.throws(() => seal({ key, nonce, plaintext, ad }), misused)
          assert.throws(() => open({ key, nonce, ciphertext, ad }), misused)
          return
        }
        const opened = open({ key, nonce, ciphertext, ad })
        assert.is(opened && hex(opened), vector.result === 'valid' ? vector.msg : undefined)
        if (vector.result === 'valid') assert.is(hex(seal({ key, nonce, plaintext, ad })), hex(ciphertext))
      })
    })
  }

  withVectors(`${crypto.name}: HKDF agrees with Wycheproof`, () => {
    play<object, { ikm: string, salt: string, info: string, size: number, okm: string }>(
      { crypto, file: 'wycheproof-hkdf_sha256_test.json', expected: 86 },
      (vector) => {
        const [secret, salt, info] = [hexDecode(vector.ikm), hexDecode(vector.salt), hexDecode(vector.info)]
        const derive = (): Uint8Array => crypto.hkdf({ secret, salt, info, length: vector.size })
        if (vector.result === 'valid') assert.is(hex(derive()), vector.okm)
        else assert.throws(derive, misused)
      },
    )
  })

  withVectors(`${crypto.name}: HMAC agrees with Wycheproof`, () => {
    play<{ tagSize: number }, { key: string, msg: string, tag: string }>(
      { crypto, file: 'wycheproof-hmac_sha256_test.json', expected: 174 },
      (vector, group) => {
        const tag = hex(crypto.hmacSha256(hexDecode(vector.key), hexDecode(vector.msg)))
        assert.is(tag.slice(0, group.tagSize / 4) === vector.tag, vector.result === 'valid')
      },
    )
  })

  withVectors(`${crypto.name}: ML-KEM-768 decapsulates as Wycheproof does`, () => {
    play<object, { seed: string, ek?: string, c: string, K: string }>(
      { crypto, file: 'wycheproof-mlkem_768_test.json', expected: 193 },
      (vector) => {
        const [seed, ciphertext] = [hexDecode(vector.seed), hexDecode(vector.c)]
        if (seed.length !== 64) {
          assert.throws(() => crypto.kemKeyPair(seed), misused)
          return
        }
        const keys = crypto.kemKeyPair(seed)
        assert.is(hex(keys.publicKey), vector.ek)
        if (ciphertext.length !== 1_088) assert.throws(() => crypto.kemDecapsulate(keys, ciphertext), misused)
        else assert.is(hex(crypto.kemDecapsulate(keys, ciphertext)) === vector.K, vector.result === 'valid')
      },
    )
  })

  withVectors(`${crypto.name}: ML-KEM-768 makes keys from seeds as Wycheproof does`, () => {
    play<object, { seed: string, ek: string }>(
      { crypto, file: 'wycheproof-mlkem_768_keygen_seed_test.json', expected: 100 },
      (vector) => assert.is(hex(crypto.kemKeyPair(hexDecode(vector.seed)).publicKey), vector.ek),
    )
  })

  withVectors(`${crypto.name}: ML-KEM-768 encapsulates as Wycheproof does`, () => {
    play<object, { m: string, ek: string, c: string, K: string }>(
      { crypto, file: 'wycheproof-mlkem_768_encaps_test.json', expected: 265 },
      (vector) => {
        const encapsulated = crypto.kemEncapsulate(hexDecode(vector.ek), fixedRandom(hexDecode(vector.m)))
        assert.is(encapsulated !== undefined, vector.result === 'valid')
        // OpenSSL takes no randomness from us: of its own encapsulation the verdict can be compared.
        const fresh = crypto.kemEncapsulate(hexDecode(vector.ek), systemRandom)
        assert.is(fresh !== undefined, vector.result === 'valid')
        if (encapsulated === undefined) return
        assert.is(hex(encapsulated.ciphertext), vector.c)
        assert.is(hex(encapsulated.sharedSecret), vector.K)
      },
    )
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
    tell({ crypto, file: 'ed25519-edge-cases.json', count: edges.length, valid: 1 })

    interface Zip215 { vk_bytes: string, sig_bytes: string }
    const zip215 = readVectors<Zip215[]>('ed25519-zip215.json')
    assert.is(zip215.length, 196)
    for (const { vk_bytes, sig_bytes } of zip215) {
      const publicKey = hexDecode(vk_bytes)
      assert.not(crypto.verify({ publicKey, message: nothing, signature: hexDecode(sig_bytes) }))
      assert.not(crypto.isVerifyKey(publicKey))
    }
    tell({ crypto, file: 'ed25519-zip215.json', count: zip215.length, valid: 0 })
  })
}

/**
 * Expanded decapsulation keys never enter openIM: it keeps seeds, and expands them where they are
 * used. So these cases go to the libraries, past the provider, as a check of their decapsulation.
 */
type Decapsulate = (expandedKey: Uint8Array, ciphertext: Uint8Array) => Uint8Array
const expandedKeys: Readonly<Record<CryptoProvider['name'], Decapsulate>> = {
  noble: (key, ciphertext) => mlKem768.decapsulate(ciphertext, key),
  node: (key, ciphertext) => new Uint8Array(decapsulate(
    createPrivateKey({ key: pkcs8(key) as Buffer, format: 'der', type: 'pkcs8' }), ciphertext,
  )),
  wasm: (key, ciphertext) => sodium.crypto_kem_mlkem768_dec(ciphertext, key),
}

for (const { name } of backends) {
  withVectors(`${name}: the library under it takes expanded ML-KEM-768 keys as Wycheproof does`, () => {
    const crypto = { name }
    play<object, { dk: string, c: string, K: string }>(
      { crypto, file: 'wycheproof-mlkem_768_semi_expanded_decaps_test.json', expected: 9 },
      (vector) => {
        const decapsulated = (): string => hex(expandedKeys[name](hexDecode(vector.dk), hexDecode(vector.c)))
        // libsodium does not compare the hash inside the key: one more reason to keep seeds.
        const unchecked = name === 'wasm' && vector.flags.includes('InvalidDecapsulationKey')
        if (vector.result === 'valid') assert.is(decapsulated(), vector.K)
        else if (!unchecked) assert.throws(decapsulated)
      },
    )
  })
}

/** PrivateKeyInfo of id-alg-ml-kem-768 with an expandedKey (draft-ietf-lamps-kyber-certificates §6). */
function pkcs8(expandedKey: Uint8Array): Uint8Array {
  const der = (tag: number, content: Uint8Array): Uint8Array =>
    concat(Uint8Array.of(tag, 0x82, content.length >> 8, content.length & 0xff), content)
  const algorithm = hexDecode('300b0609608648016503040402')
  return der(0x30, concat(hexDecode('020100'), algorithm, der(0x04, der(0x04, expandedKey))))
}

interface AeadCase {
  key: string
  iv: string
  aad: string
  msg: string
  ct: string
  tag: string
}

test.run()
