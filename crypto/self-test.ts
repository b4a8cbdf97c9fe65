/**
 * Known answers that a backend must give before it is used: one per primitive, from the RFC that
 * defines it. Thorough vectors are the tests' business; this guards a broken library or build.
 */
import { equalBytes, hexDecode, utf8 } from './bytes.ts'
import { OpenIMError } from './errors.ts'
import type { CryptoProvider } from './provider.ts'

const nothing = new Uint8Array(0)
const counting = (from: number, length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => from + i)

interface KnownAnswer {
  readonly name: string
  readonly expected: string
  compute(crypto: CryptoProvider): Uint8Array
}

const knownAnswers: readonly KnownAnswer[] = [
  {
    name: 'SHA-256 (FIPS 180-4, "abc")',
    expected: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    compute: (crypto) => crypto.sha256(utf8('abc')),
  },
  {
    name: 'HMAC-SHA-256 (RFC 4231 §4.3)',
    expected: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    compute: (crypto) => crypto.hmacSha256(utf8('Jefe'), utf8('what do ya want for nothing?')),
  },
  {
    name: 'HKDF-SHA-256 (RFC 5869 A.1)',
    expected: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    compute: (crypto) => crypto.hkdf({
      secret: new Uint8Array(22).fill(0x0b), salt: counting(0, 13), info: counting(0xf0, 10), length: 42,
    }),
  },
  {
    // The tag of RFC 8439 §2.8.2; the whole text is in the tests.
    name: 'ChaCha20-Poly1305 (RFC 8439 §2.8.2)',
    expected: '1ae10b594f09e26a7e902ecbd0600691',
    compute: (crypto) => crypto.seal({
      key: counting(0x80, 32),
      nonce: hexDecode('070000004041424344454647'),
      plaintext: utf8(
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        + 'sunscreen would be it.',
      ),
      ad: hexDecode('50515253c0c1c2c3c4c5c6c7'),
    }).subarray(-16),
  },
  {
    name: 'X25519 (RFC 7748 §6.1)',
    expected: '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
    compute: (crypto) => crypto.dh(
      crypto.dhKeyPair(hexDecode('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a')),
      hexDecode('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f'),
    ) ?? nothing,
  },
  {
    name: 'Ed25519 (RFC 8032 §7.1, TEST 2)',
    expected: '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da'
      + '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
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
    // What FIPS 203 §6.3 gives for a ciphertext that nobody encapsulated, SHAKE256(z ‖ c):
    // it exercises key generation, decryption and re-encryption without randomness.
    name: 'ML-KEM-768 (implicit rejection of zeros under the seed 0, 1, … 63)',
    expected: 'c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16',
    compute: (crypto) => crypto.kemDecapsulate(crypto.kemKeyPair(counting(0, 64)), new Uint8Array(1_088)),
  },
]

/** @throws CRYPTO_SELF_TEST naming the primitive */
export function selfTest(crypto: CryptoProvider): void {
  for (const { name, expected, compute } of knownAnswers) {
    if (!equalBytes(compute(crypto), hexDecode(expected))) {
      throw new OpenIMError('CRYPTO_SELF_TEST', `${name} gives a wrong answer on the ${crypto.name} backend`)
    }
  }
}
