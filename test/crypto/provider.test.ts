/**
 * Every backend by itself: its refusals, its errors for wrong lengths, no secrets in anything that
 * prints, key encapsulation between any two; and what happens at load to one that computes wrongly.
 */
import { inspect } from 'node:util'
import sodium from 'libsodium-wrappers'
import * as assert from 'uvu/assert'
import { equalBytes, hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import type { CryptoProvider } from '../../crypto/provider.ts'
import type { OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { heldToAnswers } from '../../crypto/self-test.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { backends, importOnNoble } from './support/backends.ts'
import { hasCode } from './support/devices.ts'
import { smallOrderDhKeys } from './support/differential.ts'

const test = suite('crypto/provider', { timeoutMs: 60_000 })

const [noble, node, wasm] = backends as [CryptoProvider, CryptoProvider, CryptoProvider]

test('runs on the native backend under Node', () => {
  assert.is(crypto.name, 'node')
})

for (const backend of backends) {
  test(`${backend.name}: has one error for every wrong length of ours`, () => {
    const [short, long] = [new Uint8Array(31), new Uint8Array(33)]
    const plaintext = utf8('text')
    const [key, nonce] = [new Uint8Array(32), new Uint8Array(12)]
    const [nonceX, salt] = [new Uint8Array(24), new Uint8Array(16)]
    const dhKeys = backend.dhKeyPair(key)
    const misuses: (() => unknown)[] = [short, long].flatMap((bytes) => [
      () => backend.seal({ key: bytes, nonce: nonce, plaintext }),
      () => backend.open({ key: bytes, nonce: nonce, ciphertext: plaintext }),
      () => backend.seal({ key: key, nonce: bytes, plaintext }),
      () => backend.open({ key: key, nonce: nonceX, ciphertext: plaintext }),
      () => backend.sealX({ key: key, nonce: nonce, plaintext }),
      () => backend.openX({ key: bytes, nonce: nonceX, ciphertext: plaintext }),
      () => backend.dhKeyPair(bytes),
      () => backend.dh(dhKeys, bytes),
      () => backend.signingKeyPair(bytes),
      () => backend.kemKeyPair(bytes),
      () => backend.kemDecapsulate(backend.kemKeyPair(new Uint8Array(64)), bytes),
    ])
    misuses.push(
      () => backend.hkdf({ secret: key, salt: key, info: key, length: 0 }),
      () => backend.hkdf({ secret: key, salt: key, info: key, length: 8_161 }),
      () => backend.hkdf({ secret: key, salt: key, info: new Uint8Array(1_025), length: 32 }),
      () => backend.argon2id({ password: key, salt: new Uint8Array(7), memoryKiB: 64, passes: 1, lanes: 1 }),
      () => backend.argon2id({ password: key, salt: salt, memoryKiB: 7, passes: 1, lanes: 1 }),
      () => backend.dh(backend.signingKeyPair(key), key),
      () => backend.sign(dhKeys, plaintext),
    )
    for (const misuse of misuses) assert.throws(misuse, hasCode('BUG_ASSERTION'))
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

  test(`${backend.name}: seals into the place it is given, and only into one that fits`, () => {
    for (const length of [0, 1, 100, 1_200, 2_049, 65_000]) {
      const plaintext = seededRandom('into').bytes(length)
      const input = { key: new Uint8Array(32).fill(1), nonce: new Uint8Array(12), ad: utf8('ad'), plaintext }
      const around = new Uint8Array(length + 16 + 2)
      const into = around.subarray(1, length + 17)
      assert.is(backend.seal({ ...input, into }), into)
      assert.equal(into, backend.seal(input))
      assert.is(around[0]! + around.at(-1)!, 0)
      const short = (): Uint8Array => backend.seal({ ...input, into: into.subarray(1) })
      assert.throws(short, ({ code }: OpenIMError) => code === 'BUG_ASSERTION')
    }
  })

  test(`${backend.name}: gives no shared secret for keys of small order`, () => {
    const own = backend.dhKeyPair(new Uint8Array(32).fill(9))
    for (const key of smallOrderDhKeys) assert.is(backend.dh(own, key), undefined)
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

test('wasm: leaves no secret in the memory of libsodium', () => {
  const { libsodium } = sodium as unknown as { libsodium: { HEAPU8: Uint8Array } }
  const left = (secret: Uint8Array): boolean => {
    const heap = Buffer.from(libsodium.HEAPU8.buffer)
    return heap.includes(Buffer.from(secret.slice(0, 16))) || heap.includes(Buffer.from(secret.slice(16, 32)))
  }
  const random = seededRandom('heap')
  const [key, nonce, nonceX] = [random.bytes(32), random.bytes(12), random.bytes(24)]
  const [plaintext, long] = [random.bytes(300), random.bytes(200_000)]
  const [own, other] = [wasm.dhKeyPair(key), wasm.dhKeyPair(random.bytes(32))]
  const seed = random.bytes(64)
  const kemKeys = wasm.kemKeyPair(seed)
  const { ciphertext, sharedSecret } = wasm.kemEncapsulate(kemKeys.publicKey, random)!
  const secrets = [
    key, plaintext, long, seed, seed.subarray(32), sharedSecret,
    wasm.hmacSha256(key, plaintext), wasm.dh(own, other.publicKey)!,
    wasm.hkdf({ secret: key, salt: plaintext, info: nonce, length: 64 }),
    wasm.kemDecapsulate(kemKeys, ciphertext),
    wasm.open({ key, nonce, ciphertext: wasm.seal({ key, nonce, plaintext }) })!,
    wasm.openX({ key, nonce: nonceX, ciphertext: wasm.sealX({ key, nonce: nonceX, plaintext: long }) })!,
  ]
  wasm.sign(wasm.signingKeyPair(key), plaintext)
  assert.equal(secrets.map(left), secrets.map(() => false))
  // The wrappers, which we go past, leave the key: so the search does find what is there.
  sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, null, null, nonce, key)
  assert.ok(left(key))
})

test('replaces a primitive that answers wrongly, and that alone, and says so', () => {
  const broken: Record<string, Partial<CryptoProvider>> = {
    'SHA-256': { sha256Hex: () => 'no hex at all' },
    'SHA-512': { sha512: (data) => node.sha256(data) },
    'HMAC-SHA-256': { hmacSha256: (_key, data) => node.sha256(data) },
    'HKDF-SHA-256': { hkdf: ({ length }) => new Uint8Array(length) },
    'ChaCha20-Poly1305': { open: ({ ciphertext }) => ciphertext.subarray(0, -16) },
    'XChaCha20-Poly1305': { sealX: () => { throw new Error('not in this build') } },
    X25519: { dh: (own, remote) => node.dh(own, remote) ?? new Uint8Array(32) },
    Ed25519: { verify: () => true },
    'Ed25519 key check': { isVerifyKey: (key) => key.length === 32 },
    'ML-KEM-768': {
      kemEncapsulate: () => ({ ciphertext: new Uint8Array(1_088), sharedSecret: new Uint8Array(32) }),
    },
    Argon2id: { argon2id: () => new Uint8Array(32) },
  }
  for (const [primitive, change] of Object.entries(broken)) {
    const { crypto: held, fallbacks } = heldToAnswers({ ...node, ...change }, noble)
    assert.is(fallbacks.length, 1, primitive)
    assert.ok(fallbacks[0]!.startsWith(primitive), fallbacks[0])
    assert.match(fallbacks[0]!, /wrong answer on the node backend; noble computes it instead/)
    const methods = Object.keys(change) as (keyof CryptoProvider)[]
    for (const method of methods) assert.is(held[method], noble[method])
    assert.equal(heldToAnswers(held, noble).fallbacks, [], 'and what is left is right')
  }
  // Key pairs belong to one backend, so what uses them goes together.
  const { crypto: held } = heldToAnswers({ ...node, ...broken['X25519'] }, noble)
  assert.is(held.dhKeyPair, noble.dhKeyPair)
  assert.is(held.sign, node.sign)
})

test('runs on nothing when the reference answers wrongly too', () => {
  const change: Partial<CryptoProvider> = { hmacSha256: (_key, data) => noble.sha256(data) }
  const [brokenNode, brokenNoble] = [{ ...node, ...change }, { ...noble, ...change }]
  assert.throws(() => heldToAnswers(brokenNode, brokenNoble), hasCode('CRYPTO_SELF_TEST'))
  assert.throws(() => heldToAnswers(brokenNoble, brokenNoble), /HMAC-SHA-256 .* wrong answer/)
  assert.equal(heldToAnswers(brokenNode, noble).fallbacks.length, 1)
})

test('needs no fallback here', () => {
  for (const backend of backends) assert.equal(heldToAnswers(backend, noble).fallbacks, [])
  assert.equal(crypto.fallbacks, [])
})

test('each backend opens what any other encapsulated, and all reject alike', () => {
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

/** The answer of all, which must be one. */
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
