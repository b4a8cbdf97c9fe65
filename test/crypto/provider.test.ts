/**
 * Both backends: answers from RFCs that are always there, the same answers from both on random
 * input, the same refusals, and no secrets in anything that prints.
 */
import { inspect } from 'node:util'
import * as assert from 'uvu/assert'
import { equalBytes, hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import type { CryptoProvider } from '../../crypto/provider.ts'
import { systemRandom } from '../../crypto/random.ts'
import { selfTest } from '../../crypto/self-test.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { backends, importOnNoble } from './support/backends.ts'

const test = suite('crypto/provider', { timeoutMs: 60_000 })

const [noble, node] = backends as [CryptoProvider, CryptoProvider]
/** X25519 public keys of small order and their non-canonical forms (RFC 7748 §6.1 refuses the result). */
const smallOrderKeys = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(hexDecode)

test('runs on the native backend under Node', () => {
  assert.is(crypto.name, 'node')
})

for (const backend of backends) {
  test(`${backend.name}: passes the self-test`, () => selfTest(backend))

  test(`${backend.name}: seals the text of RFC 8439 §2.8.2`, () => {
    const key = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i)
    const nonce = hexDecode('070000004041424344454647')
    const ad = hexDecode('50515253c0c1c2c3c4c5c6c7')
    const plaintext = utf8('Ladies and Gentlemen of the class of \'99: If I could offer you only one tip for '
      + 'the future, sunscreen would be it.')
    const ciphertext = backend.seal({ key, nonce, plaintext, ad })
    assert.is(hex(ciphertext.subarray(0, 16)), 'd31a8d34648e60db7b86afbc53ef7ec2')
    assert.equal(backend.open({ key, nonce, ciphertext, ad }), plaintext)
  })

  test(`${backend.name}: refuses an altered, cut or foreign ciphertext with undefined`, () => {
    const [key, plaintext, ad] = [new Uint8Array(32).fill(1), utf8('secret'), utf8('context')]
    const { seal, open, sealX, openX } = backend
    for (const [nonceBytes, sealWith, openWith] of [[12, seal, open], [24, sealX, openX]] as const) {
      const nonce = new Uint8Array(nonceBytes)
      const ciphertext = sealWith({ key, nonce, plaintext, ad })
      for (let at = 0; at < ciphertext.length; at++) {
        assert.is(openWith({ key, nonce, ciphertext: flipped(ciphertext, at), ad }), undefined)
        assert.is(openWith({ key, nonce, ciphertext: ciphertext.subarray(0, at), ad }), undefined)
      }
      assert.is(openWith({ key, nonce, ciphertext, ad: utf8('other') }), undefined)
      assert.is(openWith({ key, nonce, ciphertext }), undefined)
      assert.is(openWith({ key: flipped(key, 3), nonce, ciphertext, ad }), undefined)
      assert.is(openWith({ key, nonce: flipped(nonce, 0), ciphertext, ad }), undefined)
    }
  })

  test(`${backend.name}: gives no shared secret for keys of small order`, () => {
    const own = backend.dhKeyPair(new Uint8Array(32).fill(9))
    for (const key of smallOrderKeys) assert.is(backend.dh(own, key), undefined)
  })

  test(`${backend.name}: verifies nothing under the identity or another small-order key`, () => {
    // R = S·B − k·A with A of small order: S = 0, R = identity fits for every message in lax libraries.
    const signature = new Uint8Array(64)
    signature[0] = 1
    for (const y of ['01', '00', 'ec']) {
      const publicKey = y === 'ec' ? hexDecode(`ec${'ff'.repeat(30)}7f`) : hexDecode(y.padEnd(64, '0'))
      assert.not(backend.verify({ publicKey, message: utf8('anything'), signature }))
      assert.not(backend.isVerifyKey(publicKey))
    }
    assert.not(backend.isVerifyKey(hexDecode(`ee${'ff'.repeat(30)}7f`)), 'y = p + 1')
    assert.not(backend.isVerifyKey(new Uint8Array(31)))
    assert.not(backend.isVerifyKey(new Uint8Array(32).fill(2)), 'not on the curve')
    assert.ok(backend.isVerifyKey(backend.signingKeyPair(new Uint8Array(32)).publicKey))
  })

  test(`${backend.name}: refuses S + L, which would be a second signature of the same message`, () => {
    const keys = backend.signingKeyPair(new Uint8Array(32).fill(3))
    const message = utf8('once')
    const signature = backend.sign(keys, message)
    const order = 2n ** 252n + 27742317777372353535851937790883648493n
    let s = order
    for (let i = 31; i >= 0; i--) s += BigInt(signature[32 + i]!) << BigInt(8 * i)
    const other = signature.slice()
    for (let i = 0; i < 32; i++) other[32 + i] = Number((s >> BigInt(8 * i)) & 0xffn)
    assert.ok(backend.verify({ publicKey: keys.publicKey, message, signature }))
    assert.not(backend.verify({ publicKey: keys.publicKey, message, signature: other }))
    assert.not(backend.verify({ publicKey: keys.publicKey, message, signature: signature.subarray(1) }))
  })

  test(`${backend.name}: refuses an ML-KEM key that is not reduced, or of another length`, () => {
    assert.is(backend.kemEncapsulate(new Uint8Array(1_184).fill(0xff), systemRandom), undefined)
    assert.is(backend.kemEncapsulate(new Uint8Array(1_183), systemRandom), undefined)
  })

  test(`${backend.name}: derives Argon2id as the reference implementation does`, () => {
    // phc-winner-argon2, src/test.c: version 0x13, t = 2, m = 2⁸ KiB, p = 1.
    const key = backend.argon2id({
      password: utf8('password'), salt: utf8('somesalt'), memoryKiB: 256, passes: 2, lanes: 1,
    })
    assert.is(hex(key), '9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe')
  })

  test(`${backend.name}: shows no secret in inspect, JSON or string form`, () => {
    const secret = seededRandom('redaction').bytes(32)
    const seed = seededRandom('redaction').bytes(64)
    for (const [bytes, keys] of [
      [secret, backend.dhKeyPair(secret)],
      [secret, backend.signingKeyPair(secret)],
      [seed, backend.kemKeyPair(seed)],
    ] as const) {
      assert.equal(keys.exportSecret(), bytes)
      const printed = inspect(keys, { depth: 10, showHidden: true, maxArrayLength: null })
      for (const text of [printed, JSON.stringify(keys), String(keys), JSON.stringify({ ...keys })]) {
        assert.not.ok(text.includes(hex(bytes).slice(0, 16)), text)
        assert.not.ok(text.includes([...bytes.subarray(0, 4)].join(',')), text)
        assert.not.ok(text.replace(/\s/g, '').includes([...bytes.subarray(0, 4)].join(',')), text)
      }
    }
  })
}

test('stops at load when a primitive answers wrongly', () => {
  const broken: CryptoProvider = { ...noble, hmacSha256: (_key, data) => noble.sha256(data) }
  assert.throws(() => selfTest(broken), /HMAC-SHA-256 .* wrong answer/)
})

test('both backends give the same bytes on random input', () => {
  const random = seededRandom('differential')
  for (let round = 0; round < 40; round++) {
    const data = random.bytes(randomInteger(random, 300))
    const [key, salt, info] = [random.bytes(32), random.bytes(32), random.bytes(randomInteger(random, 40))]
    const length = 1 + randomInteger(random, 200)
    same((backend) => backend.sha256(data))
    same((backend) => backend.sha512(data))
    same((backend) => backend.hmacSha256(key, data))
    same((backend) => backend.hkdf({ secret: data, salt, info, length }))
    same((backend) => backend.seal({ key, nonce: salt.subarray(0, 12), plaintext: data, ad: info }))
    same((backend) => backend.sealX({ key, nonce: salt.subarray(0, 24), plaintext: data }))
    same((backend) => backend.dhKeyPair(key).publicKey)
    same((backend) => backend.dh(backend.dhKeyPair(key), salt) ?? new Uint8Array(0))
    same((backend) => backend.signingKeyPair(key).publicKey)
    same((backend) => backend.sign(backend.signingKeyPair(key), data))
  }
})

test('both backends accept and refuse the same signatures', () => {
  const random = seededRandom('signatures')
  for (let round = 0; round < 60; round++) {
    const keys = node.signingKeyPair(random.bytes(32))
    const message = random.bytes(randomInteger(random, 100))
    const signature = node.sign(keys, message)
    const attempt = round % 3 === 0
      ? { publicKey: keys.publicKey, message, signature }
      : round % 3 === 1
        ? { publicKey: keys.publicKey, message, signature: flipped(signature, randomInteger(random, 64)) }
        : { publicKey: flipped(keys.publicKey, randomInteger(random, 32)), message, signature }
    assert.is(noble.verify(attempt), node.verify(attempt))
    assert.is(node.verify(attempt), round % 3 === 0)
  }
})

test('both backends open what the other encapsulated, and reject alike', () => {
  const random = seededRandom('kem')
  for (let round = 0; round < 8; round++) {
    const seed = random.bytes(64)
    same((backend) => backend.kemKeyPair(seed).publicKey)
    const { publicKey } = node.kemKeyPair(seed)
    for (const chosen of [random, systemRandom]) {
      for (const backend of backends) {
        const { ciphertext, sharedSecret } = backend.kemEncapsulate(publicKey, chosen)!
        same((other) => other.kemDecapsulate(other.kemKeyPair(seed), ciphertext), sharedSecret)
        const altered = flipped(ciphertext, randomInteger(random, ciphertext.length))
        const rejected = same((other) => other.kemDecapsulate(other.kemKeyPair(seed), altered))
        assert.not(equalBytes(rejected, sharedSecret))
      }
    }
  }
})

test('encapsulates reproducibly from a seeded Random, and freshly from the system', () => {
  const { publicKey } = node.kemKeyPair(new Uint8Array(64))
  same((backend) => backend.kemEncapsulate(publicKey, seededRandom(7))!.ciphertext)
  const twice = [1, 2].map(() => hex(node.kemEncapsulate(publicKey, systemRandom)!.sharedSecret))
  assert.is.not(twice[0], twice[1])
})

test('all of crypto/ loads on the reference backend too', async () => {
  const { crypto: other } = await importOnNoble<typeof import('../../crypto/index.ts')>('index.ts')
  assert.is(other.name, 'noble')
})

/** The answer of both, which must be one. */
function same(compute: (backend: CryptoProvider) => Uint8Array, expected = compute(noble)): Uint8Array {
  for (const backend of backends) assert.is(hex(compute(backend)), hex(expected))
  return expected
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const out = bytes.slice()
  out[at]! ^= 1
  return out
}

test.run()
