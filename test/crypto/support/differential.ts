/**
 * One seeded stream of questions put to every backend: the same bytes, the same verdict, the same
 * error for the same misuse. Sizes crowd around block, threshold and buffer boundaries; Ed25519
 * points come with every small-order component; wrong lengths go to every input that has one.
 *
 * A question is a function of a backend; its answer is put into words, so that a difference reads
 * well: `node: aa01…, wasm: undefined`.
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE, numberToBytesLE } from '@noble/curves/utils.js'
import { concat, hex, hexDecode } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { CryptoProvider } from '../../../crypto/provider.ts'
import type { Random } from '../../../crypto/random.ts'
import { randomChoice, randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { backends } from './backends.ts'

type Question = (crypto: CryptoProvider) => Uint8Array | string | boolean | undefined
type Asker = (random: Random) => Question

const { Point } = ed25519
const groupOrder = Point.Fn.ORDER

/** Where blocks, the switch between OpenSSL and wasm, and the scratch memory of wasm begin and end. */
const boundaries = [
  0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 511, 512, 513, 2_047, 2_048, 2_049, 4_095, 4_096, 4_097,
  65_535, 65_536, 131_000, 131_072,
]
const wrongLengths = [0, 1, 16, 31, 33, 64, 65]

/** X25519 public keys of small order and their non-canonical forms (RFC 7748 §6.1 refuses the result). */
export const smallOrderDhKeys = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(hexDecode)

/** All eight points of small order; the first is the identity. */
export const torsionPoints = Array.from({ length: 8 }, (_, i) => {
  const generator = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  return i === 0 ? Point.ZERO : generator.multiplyUnsafe(BigInt(i))
})

/**
 * A signature that holds up to a small-order component: key A + T₁ and commitment R + T₂, made with
 * the secret scalar. Verifiers with a cofactor take all of these; ours takes those in which the two
 * components cancel out.
 */
export function mixedOrderSignature(
  random: Random, torsion: { key: number, commitment: number },
): { publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array } {
  const [a, r] = [scalar(random), scalar(random)]
  const publicKey = Point.BASE.multiply(a).add(torsionPoints[torsion.key]!).toBytes()
  const commitment = Point.BASE.multiply(r).add(torsionPoints[torsion.commitment]!).toBytes()
  const message = random.bytes(1 + randomInteger(random, 40))
  const k = bytesToNumberLE(crypto.sha512(concat(commitment, publicKey, message))) % groupOrder
  const s = numberToBytesLE((r + k * a) % groupOrder, 32)
  return { publicKey, message, signature: concat(commitment, s) }
}

function scalar(random: Random): bigint {
  return bytesToNumberLE(random.bytes(32)) % (groupOrder - 1n) + 1n
}

/** The three backends, and what this process runs. */
export const everybody: Readonly<Record<string, CryptoProvider>> = {
  ...Object.fromEntries(backends.map((backend) => [backend.name, backend])),
  mixed: crypto,
}

/**
 * Puts `count` questions to everyone; throws at the first with two answers.
 * @returns how many of each kind were asked
 */
export function askAll(
  { seed, count, of = everybody }: { seed: string, count: number, of?: typeof everybody },
): Readonly<Record<string, number>> {
  const random = seededRandom(seed)
  const asked: Record<string, number> = {}
  const kinds = Object.entries(askers)
  const weights = kinds.reduce((sum, [, { weight }]) => sum + weight, 0)
  for (let at = 0; at < count; at++) {
    let ticket = randomInteger(random, weights)
    const [kind, { asker }] = kinds.find(([, { weight }]) => (ticket -= weight) < 0)!
    const question = asker(random)
    const answers = Object.entries(of)
      .map(([label, backend]) => ({ label, words: inWords(question, backend) }))
    if (answers.some(({ words }) => words !== answers[0]!.words)) {
      const told = answers.map(({ label, words }) => `${label}: ${words.slice(0, 200)}`).join(', ')
      throw new Error(`${kind}, question ${at} of seed ${seed}: ${told}`)
    }
    asked[kind] = (asked[kind] ?? 0) + 1
  }
  return asked
}

function inWords(question: Question, backend: CryptoProvider): string {
  try {
    const answer = question(backend)
    return answer instanceof Uint8Array ? hex(answer) : String(answer)
  } catch (error) {
    const { code, message } = error as { code?: string, message: string }
    return `throws ${code} ${message}`
  }
}

// ── Input ───────────────────────────────────────────────────────────────────────────────────

function oneIn(random: Random, n: number): boolean {
  return randomInteger(random, n) === 0
}

function sized(random: Random): Uint8Array {
  const boundary = randomChoice(random, boundaries)
  // Long inputs are slow in JavaScript and say little more.
  const length = boundary > 5_000 && !oneIn(random, 10) ? randomInteger(random, 300) : boundary
  // A view into something larger, as everything off a wire is.
  const offset = randomInteger(random, 5)
  return random.bytes(offset + length).subarray(offset)
}

/** `length` bytes, now and then not. */
function meant(random: Random, length: number): Uint8Array {
  const wrong = [...wrongLengths, length - 1, length + 1]
  return random.bytes(oneIn(random, 25) ? randomChoice(random, wrong) : length)
}

function altered(random: Random, bytes: Uint8Array): Uint8Array {
  if (oneIn(random, 4)) return bytes.slice(0, randomInteger(random, bytes.length + 1))
  if (oneIn(random, 4)) return concat(bytes, random.bytes(1))
  const out = bytes.slice()
  if (out.length > 0) out[randomInteger(random, out.length)]! ^= 1 << randomInteger(random, 8)
  return out
}

// ── Questions ───────────────────────────────────────────────────────────────────────────────

const cipher = (nonceBytes: 12 | 24): Asker => (random) => {
  const [key, nonce, plaintext] = [meant(random, 32), meant(random, nonceBytes), sized(random)]
  const ad = oneIn(random, 3) ? undefined : sized(random)
  const input = { key, nonce, ...(ad && { ad }) }
  const [seal, open] = nonceBytes === 12 ? ['seal', 'open'] as const : ['sealX', 'openX'] as const
  if (oneIn(random, 2)) return (crypto) => crypto[seal]({ ...input, plaintext })
  if (key.length !== 32 || nonce.length !== nonceBytes) {
    return (crypto) => crypto[open]({ ...input, ciphertext: plaintext })
  }
  const ciphertext = backends[0]![seal]({ ...input, plaintext })
  const attempt = randomChoice(random, [
    { ...input, ciphertext },
    { ...input, ciphertext: altered(random, ciphertext) },
    { ...input, ciphertext, ad: altered(random, ad ?? new Uint8Array(0)) },
    { ...input, ciphertext, key: altered(random, key) },
    { ...input, ciphertext, nonce: altered(random, nonce) },
  ])
  return (crypto) => crypto[open](attempt)
}

const hashes: Asker = (random) => {
  const data = sized(random)
  const key = random.bytes(randomChoice(random, [0, 1, 31, 32, 33, 63, 64, 65, 200]))
  return randomChoice<Question>(random, [
    (crypto) => crypto.sha256(data), (crypto) => crypto.sha256Hex(data), (crypto) => crypto.sha512(data),
    (crypto) => crypto.hmacSha256(key, data),
  ])
}

const keyDerivation: Asker = (random) => {
  const salt = random.bytes(randomChoice(random, [0, 32, 64, 65]))
  const [secret, info] = [random.bytes(32), sized(random)]
  const length = randomChoice(random, [1, 31, 32, 33, 64, 96, 255, 8_160, 0, 8_161, -1, 1.5])
  return (crypto) => crypto.hkdf({ secret, salt, info, length })
}

const keyAgreement: Asker = (random) => {
  const [secret, remote] = [meant(random, 32), meant(random, 32)]
  if (oneIn(random, 4)) return (crypto) => crypto.dhKeyPair(secret).publicKey
  const publicKey = oneIn(random, 5) ? randomChoice(random, smallOrderDhKeys).slice() : remote
  // The highest bit does not count (RFC 7748 §5).
  if (publicKey.length === 32 && oneIn(random, 5)) publicKey[31]! |= 0x80
  return (crypto) => crypto.dh(crypto.dhKeyPair(secret), publicKey)
}

const signatures: Asker = (random) => {
  const [seed, message] = [meant(random, 32), sized(random).subarray(0, 3_000)]
  if (oneIn(random, 3)) return (crypto) => crypto.signingKeyPair(seed).publicKey
  if (oneIn(random, 2) || seed.length !== 32) {
    return (crypto) => crypto.sign(crypto.signingKeyPair(seed), message)
  }
  const keys = backends[1]!.signingKeyPair(seed)
  const { publicKey } = keys
  const signature = backends[1]!.sign(keys, message)
  const attempt = randomChoice(random, [
    { publicKey, message, signature },
    { publicKey, message, signature: altered(random, signature) },
    { publicKey, message: altered(random, message), signature },
    { publicKey: altered(random, publicKey), message, signature },
    { publicKey, message, signature: concat(signature.subarray(0, 32), plusOrder(signature.subarray(32))) },
  ])
  return (crypto) => crypto.verify(attempt)
}

function plusOrder(s: Uint8Array): Uint8Array {
  return numberToBytesLE(bytesToNumberLE(s) + groupOrder, 32)
}

const oddPoints: Asker = (random) => {
  const attempt = mixedOrderSignature(random, {
    key: randomInteger(random, 8), commitment: randomInteger(random, 8),
  })
  if (oneIn(random, 3)) return (crypto) => crypto.isVerifyKey(attempt.publicKey)
  // Encodings of y in p … 2²⁵⁵ − 1, and anything at all: half of them lie on no curve.
  const nonCanonical = new Uint8Array(32).fill(0xff)
  nonCanonical[0] = 0xed + randomInteger(random, 19)
  nonCanonical[31] = oneIn(random, 2) ? 0x7f : 0xff
  const publicKey = randomChoice(random, [nonCanonical, random.bytes(32), meant(random, 32)])
  if (oneIn(random, 3)) return (crypto) => crypto.isVerifyKey(publicKey)
  if (oneIn(random, 4)) return (crypto) => crypto.verify({ ...attempt, publicKey })
  return (crypto) => crypto.verify(attempt)
}

const encapsulation: Asker = (random) => {
  const seed = meant(random, 64)
  if (seed.length !== 64 || oneIn(random, 4)) return (crypto) => crypto.kemKeyPair(seed).publicKey
  const { publicKey } = backends[1]!.kemKeyPair(seed)
  const coins = random.bytes(32)
  const fixed = { bytes: () => coins.slice() }
  const { ciphertext } = backends[1]!.kemEncapsulate(publicKey, fixed)!
  // Altered in the vector part now and then gives a coefficient above the modulus.
  const key = oneIn(random, 2) ? publicKey : altered(random, publicKey)
  const received = oneIn(random, 2) ? ciphertext : altered(random, ciphertext)
  return randomChoice<Question>(random, [
    (crypto) => {
      const made = crypto.kemEncapsulate(key, fixed)
      return made && concat(made.ciphertext, made.sharedSecret)
    },
    (crypto) => crypto.kemDecapsulate(crypto.kemKeyPair(seed), received),
  ])
}

const passphrases: Asker = (random) => {
  const password = sized(random).subarray(0, 200)
  const salt = random.bytes(randomChoice(random, [7, 8, 16, 32]))
  const lanes = randomChoice(random, [1, 1, 2, 0])
  const memoryKiB = randomChoice(random, [8, 16, 33, 7])
  const length = randomChoice(random, [3, 4, 32, 64, 65])
  const passes = randomInteger(random, 3)
  return (crypto) => crypto.argon2id({ password, salt, memoryKiB, passes, lanes, length })
}

/** How often each kind is asked, of the sum: symmetric calls are cheap and have the most corners. */
const askers: Readonly<Record<string, { readonly weight: number, readonly asker: Asker }>> = {
  'ChaCha20-Poly1305': { weight: 30, asker: cipher(12) },
  'XChaCha20-Poly1305': { weight: 20, asker: cipher(24) },
  'hashes and HMAC': { weight: 15, asker: hashes },
  HKDF: { weight: 5, asker: keyDerivation },
  X25519: { weight: 10, asker: keyAgreement },
  Ed25519: { weight: 8, asker: signatures },
  'Ed25519 points of mixed order': { weight: 6, asker: oddPoints },
  'ML-KEM-768': { weight: 5, asker: encapsulation },
  Argon2id: { weight: 1, asker: passphrases },
}
