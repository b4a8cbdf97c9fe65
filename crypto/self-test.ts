/**
 * Known answers that a primitive must give before it is used: one each, from the document that
 * defines it. Thorough vectors are the tests' business; this guards a broken library or build,
 * which must not produce ciphertexts that nobody can open, or that everybody can.
 *
 * A backend loses only the primitive that fails: the reference computes it instead, and `openim
 * doctor` says so. Where the reference fails too there is nothing left to trust, and nothing runs.
 */
import { equalBytes, hexDecode, utf8 } from './bytes.ts'
import { OpenIMError } from './errors.ts'
import type { CryptoProvider } from './provider.ts'
import { systemRandom } from './random.ts'

const nothing = new Uint8Array(0)
const counting = (from: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => from + i)

type Method = keyof Omit<CryptoProvider, 'name'>

interface KnownAnswer {
  readonly name: string
  /** What belongs together: key pairs of one backend mean nothing to another. */
  readonly methods: readonly Method[]
  /** 5 to 20 ms in JavaScript: not asked of a backend that has it from the reference. */
  readonly slow?: true
  readonly expected: string
  compute(crypto: CryptoProvider): Uint8Array
}

const knownAnswers: readonly KnownAnswer[] = [
  {
    name: 'SHA-256 (FIPS 180-4, "abc")',
    expected: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    methods: ['sha256', 'sha256Hex'],
    compute(crypto) {
      const hash = crypto.sha256(utf8('abc'))
      return equalBytes(hash, hexDecode(crypto.sha256Hex(utf8('abc')))) ? hash : nothing
    },
  },
  {
    name: 'SHA-512 (FIPS 180-4, "abc")',
    methods: ['sha512'],
    expected: 'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a'
      + '2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    compute: (crypto) => crypto.sha512(utf8('abc')),
  },
  {
    name: 'HMAC-SHA-256 (RFC 4231 §4.3)',
    expected: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    methods: ['hmacSha256'],
    compute: (crypto) => crypto.hmacSha256(utf8('Jefe'), utf8('what do ya want for nothing?')),
  },
  {
    name: 'HKDF-SHA-256 (RFC 5869 A.1)',
    expected: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    methods: ['hkdf'],
    compute: (crypto) => crypto.hkdf({
      secret: new Uint8Array(22).fill(0x0b), salt: counting(0, 13), info: counting(0xf0, 10), length: 42,
    }),
  },
  {
    // The tag of RFC 8439 §2.8.2; the whole text is in the tests.
    name: 'ChaCha20-Poly1305 (RFC 8439 §2.8.2)',
    expected: '1ae10b594f09e26a7e902ecbd0600691',
    methods: ['seal', 'open'],
    compute: (crypto) => sealedTag(crypto.seal, crypto.open, hexDecode('070000004041424344454647')),
  },
  {
    name: 'XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 A.3.1)',
    expected: 'c0875924c1c7987947deafd8780acf49',
    methods: ['sealX', 'openX'],
    compute: (crypto) => sealedTag(crypto.sealX, crypto.openX, counting(0x40, 24)),
  },
  {
    name: 'X25519 (RFC 7748 §6.1)',
    expected: '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
    methods: ['dhKeyPair', 'dh'],
    compute(crypto) {
      const alice = hexDecode('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a')
      const bob = hexDecode('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f')
      const own = crypto.dhKeyPair(alice)
      const refusesZero = crypto.dh(own, new Uint8Array(32)) === undefined
      return (refusesZero && crypto.dh(own, bob)) || nothing
    },
  },
  {
    name: 'Ed25519 (RFC 8032 §7.1, TEST 2)',
    expected: '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da'
      + '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    methods: ['signingKeyPair', 'sign', 'verify'],
    compute(crypto) {
      const seed = hexDecode('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb')
      const keys = crypto.signingKeyPair(seed)
      const message = hexDecode('72')
      const signature = crypto.sign(keys, message)
      const { publicKey } = keys
      const accepts = crypto.verify({ publicKey, message, signature })
      const acceptsOther = crypto.verify({ publicKey, message: hexDecode('73'), signature })
      return accepts && !acceptsOther ? signature : nothing
    },
  },
  {
    // The base point, and the same with a component of order 8 and of order 2.
    name: 'Ed25519 key check',
    slow: true,
    expected: '010000',
    methods: ['isVerifyKey'],
    compute: (crypto) => Uint8Array.from([
      '5866666666666666666666666666666666666666666666666666666666666666',
      '98519eadf35b995233b51b5cd23e9cc5a28b639b5a4af0ec903cb960d81b7819',
      '9599999999999999999999999999999999999999999999999999999999999999',
    ], (key) => Number(crypto.isVerifyKey(hexDecode(key)))),
  },
  {
    // What FIPS 203 §6.3 gives for a ciphertext that nobody encapsulated, SHAKE256(z ‖ c):
    // it exercises key generation, decryption and re-encryption without randomness.
    name: 'ML-KEM-768 (implicit rejection of zeros under the seed 0, 1, … 63)',
    expected: 'c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16',
    methods: ['kemKeyPair', 'kemEncapsulate', 'kemDecapsulate'],
    compute(crypto) {
      const keys = crypto.kemKeyPair(counting(0, 64))
      const encapsulated = crypto.kemEncapsulate(keys.publicKey, systemRandom)
      if (encapsulated === undefined) return nothing
      const { ciphertext, sharedSecret } = encapsulated
      if (!equalBytes(crypto.kemDecapsulate(keys, ciphertext), sharedSecret)) return nothing
      return crypto.kemDecapsulate(keys, new Uint8Array(1_088))
    },
  },
  {
    name: 'Argon2id (phc-winner-argon2, 256 KiB)',
    slow: true,
    expected: '9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe',
    methods: ['argon2id'],
    compute: (crypto) => crypto.argon2id({
      password: utf8('password'), salt: utf8('somesalt'), memoryKiB: 256, passes: 2, lanes: 1,
    }),
  },
]

/** Seals the text of RFC 8439 §2.8.2 and of the XChaCha20 draft; nothing unless it opens again. */
function sealedTag(
  seal: CryptoProvider['seal'], open: CryptoProvider['open'], nonce: Uint8Array,
): Uint8Array {
  const input = { key: counting(0x80, 32), nonce, ad: hexDecode('50515253c0c1c2c3c4c5c6c7') }
  const plaintext = utf8(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    + 'sunscreen would be it.',
  )
  const ciphertext = seal({ ...input, plaintext })
  const opened = open({ ...input, ciphertext })
  if (opened === undefined || !equalBytes(opened, plaintext)) return nothing
  ciphertext[0]! ^= 1
  return open({ ...input, ciphertext }) === undefined ? ciphertext.subarray(-16) : nothing
}

/** Names of those among `methods` that answer wrongly, or throw. */
export function wrongAnswers(crypto: CryptoProvider, methods: readonly Method[]): string[] {
  return knownAnswers
    .filter((answer) => answer.methods.some((method) => methods.includes(method)))
    .filter((answer) => !answersRightly(crypto, answer))
    .map(({ name }) => name)
}

/**
 * `backend`, with the reference in the place of each primitive that answers wrongly.
 * @throws CRYPTO_SELF_TEST naming the first primitive that the reference computes wrongly too
 */
export function heldToAnswers(
  backend: CryptoProvider,
  reference: CryptoProvider,
): { readonly crypto: CryptoProvider, readonly fallbacks: readonly string[] } {
  const crypto = { ...backend }
  const fallbacks: string[] = []
  for (const answer of knownAnswers) {
    const borrowed = answer.methods.every((method) => backend[method] === reference[method])
    if ((answer.slow && borrowed) || answersRightly(backend, answer)) continue
    if (!answersRightly(reference, answer)) {
      const what = `${answer.name} gives a wrong answer on the ${backend.name} backend`
      throw new OpenIMError('CRYPTO_SELF_TEST', `${what} and on the reference: do not use openIM here`)
    }
    for (const method of answer.methods) Object.assign(crypto, { [method]: reference[method] })
    fallbacks.push(fallbackText({ primitive: answer.name, backend, instead: reference }))
  }
  return { crypto, fallbacks }
}

/** One line for people. */
export function fallbackText(
  input: { primitive: string, backend: CryptoProvider, instead: CryptoProvider },
): string {
  const { primitive, backend, instead } = input
  const what = `${primitive} gives a wrong answer on the ${backend.name} backend`
  return `${what}; ${instead.name} computes it instead`
}

function answersRightly(crypto: CryptoProvider, { expected, compute }: KnownAnswer): boolean {
  try {
    return equalBytes(compute(crypto), hexDecode(expected))
  } catch {
    return false
  }
}
