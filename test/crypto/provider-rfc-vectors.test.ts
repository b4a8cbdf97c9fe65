/**
 * Every backend against the vectors of the documents that define the primitives. They are short
 * and stand here, so that they run in every clone; the large public sets are in
 * provider-vectors.test.ts.
 */
import * as assert from 'uvu/assert'
import { shake128 } from '@noble/hashes/sha3.js'
import { concat, hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import { crypto as mixed } from '../../crypto/index.ts'
import type { CryptoProvider } from '../../crypto/provider.ts'
import { suite } from '../helpers/harness.ts'
import { backends } from './support/backends.ts'

const test = suite('crypto/provider RFC vectors', { timeoutMs: 60_000 })

/** A run of one byte. */
const run = (byte: number, length: number): Uint8Array => new Uint8Array(length).fill(byte)
const counting = (from: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => from + i)

const sunscreen = utf8('Ladies and Gentlemen of the class of \'99: If I could offer you only one tip for the '
  + 'future, sunscreen would be it.')

/** RFC 4231 §4.2 to §4.8. */
const hmacVectors: readonly { key: Uint8Array, data: Uint8Array, tag: string }[] = [
  {
    key: run(0x0b, 20), data: utf8('Hi There'),
    tag: 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
  },
  {
    key: utf8('Jefe'), data: utf8('what do ya want for nothing?'),
    tag: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  },
  {
    key: run(0xaa, 20), data: run(0xdd, 50),
    tag: '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
  },
  {
    key: counting(1, 25), data: run(0xcd, 50),
    tag: '82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b',
  },
  // Truncated to 128 bits in the RFC.
  { key: run(0x0c, 20), data: utf8('Test With Truncation'), tag: 'a3b6167473100ee06e0c796c2955552b' },
  {
    key: run(0xaa, 131), data: utf8('Test Using Larger Than Block-Size Key - Hash Key First'),
    tag: '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  },
  {
    key: run(0xaa, 131),
    data: utf8('This is a test using a larger than block-size key and a larger than block-size data. '
      + 'The key needs to be hashed before being used by the HMAC algorithm.'),
    tag: '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2',
  },
]

/** RFC 5869 A.1 to A.3. */
const hkdfVectors = [
  {
    secret: run(0x0b, 22), salt: counting(0, 13), info: counting(0xf0, 10),
    okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    secret: counting(0, 80), salt: counting(0x60, 80), info: counting(0xb0, 80),
    okm: 'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09'
      + 'da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87',
  },
  {
    secret: run(0x0b, 22), salt: run(0, 0), info: run(0, 0),
    okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
]

/** RFC 8032 §7.1, TEST 1, 2, 3 and SHA(abc). */
const signatureVectors = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature: 'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155'
      + '5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature: '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da'
      + '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  {
    seed: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    message: 'af82',
    signature: '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac'
      + '18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
  {
    seed: '833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42',
    publicKey: 'ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf',
    message: 'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a'
      + '2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    signature: 'dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589'
      + '09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704',
  },
]

const labelled: readonly (readonly [string, CryptoProvider])[] = [
  ...backends.map((backend) => [backend.name, backend] as const), ['mixed', mixed],
]

for (const [label, crypto] of labelled) {
  test(`${label}: SHA-256 and SHA-512 (FIPS 180-4)`, () => {
    const nothing = hex(crypto.sha256(utf8('')))
    assert.is(nothing, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    const abc = crypto.sha256Hex(utf8('abc'))
    assert.is(abc, 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    assert.is(
      hex(crypto.sha256(utf8('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq'))),
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    )
    assert.is(hex(crypto.sha512(utf8('abc'))), signatureVectors[3]!.message)
  })

  test(`${label}: HMAC-SHA-256 (RFC 4231)`, () => {
    for (const { key, data, tag } of hmacVectors) {
      assert.is(hex(crypto.hmacSha256(key, data)).slice(0, tag.length), tag)
    }
  })

  test(`${label}: HKDF-SHA-256 (RFC 5869)`, () => {
    for (const { secret, salt, info, okm } of hkdfVectors) {
      assert.is(hex(crypto.hkdf({ secret, salt, info, length: okm.length / 2 })), okm)
    }
  })

  test(`${label}: ChaCha20-Poly1305 (RFC 8439 §2.8.2)`, () => {
    const input = {
      key: counting(0x80, 32),
      nonce: hexDecode('070000004041424344454647'),
      ad: hexDecode('50515253c0c1c2c3c4c5c6c7'),
    }
    const ciphertext = crypto.seal({ ...input, plaintext: sunscreen })
    assert.is(hex(ciphertext), 'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6'
      + '3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36'
      + '92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc'
      + '3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691')
    assert.equal(crypto.open({ ...input, ciphertext }), sunscreen)
  })

  test(`${label}: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 A.3.1)`, () => {
    const input = {
      key: counting(0x80, 32), nonce: counting(0x40, 24), ad: hexDecode('50515253c0c1c2c3c4c5c6c7'),
    }
    const ciphertext = crypto.sealX({ ...input, plaintext: sunscreen })
    assert.is(hex(ciphertext), 'bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb'
      + '731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452'
      + '2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9'
      + '21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49')
    assert.equal(crypto.openX({ ...input, ciphertext }), sunscreen)
  })

  test(`${label}: X25519 (RFC 7748 §5.2 and §6.1)`, () => {
    const dh = (secret: string, publicKey: string): string =>
      hex(crypto.dh(crypto.dhKeyPair(hexDecode(secret)), hexDecode(publicKey))!)
    assert.is(
      dh('a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
        'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c'),
      'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
    )
    // Its u has the highest bit set, which does not count.
    assert.is(
      dh('4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
        'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493'),
      '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
    )
    let [k, u] = [hexDecode(`09${'00'.repeat(31)}`), hexDecode(`09${'00'.repeat(31)}`)]
    for (let i = 0; i < 1_000; i++) {
      const next = crypto.dh(crypto.dhKeyPair(k), u)!
      u = k
      k = next
      if (i === 0) assert.is(hex(k), '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079')
    }
    assert.is(hex(k), '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51')
    const alice = '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'
    const bob = '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'
    const publicKey = (secret: string): string => hex(crypto.dhKeyPair(hexDecode(secret)).publicKey)
    assert.is(publicKey(alice), '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a')
    assert.is(publicKey(bob), 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f')
    assert.is(dh(alice, publicKey(bob)), '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742')
    assert.is(dh(bob, publicKey(alice)), dh(alice, publicKey(bob)))
  })

  test(`${label}: Ed25519 (RFC 8032 §7.1)`, () => {
    for (const { seed, publicKey, message, signature } of signatureVectors) {
      const keys = crypto.signingKeyPair(hexDecode(seed))
      assert.is(hex(keys.publicKey), publicKey)
      assert.is(hex(crypto.sign(keys, hexDecode(message))), signature)
      const signed = {
        publicKey: keys.publicKey, message: hexDecode(message), signature: hexDecode(signature),
      }
      assert.ok(crypto.verify(signed))
      assert.not(crypto.verify({ ...signed, message: concat(signed.message, run(0, 1)) }))
    }
  })

  test(`${label}: ML-KEM-768 (FIPS 203), 100 accumulated runs`, () => {
    // C2SP/CCTV, ML-KEM/README.md, "Accumulated pq-crystals vectors": SHAKE128 gives the input, and
    // of all output only a hash is compared, which is why so many fit in here.
    const [input, output] = [shake128.create({}), shake128.create({})]
    for (let i = 0; i < 100; i++) {
      const keys = crypto.kemKeyPair(input.xof(64))
      const message = input.xof(32)
      const coins = { bytes: () => message.slice() }
      const { ciphertext, sharedSecret } = crypto.kemEncapsulate(keys.publicKey, coins)!
      output.update(keys.publicKey).update(ciphertext).update(sharedSecret)
      assert.equal(crypto.kemDecapsulate(keys, ciphertext), sharedSecret)
      output.update(crypto.kemDecapsulate(keys, input.xof(1_088)))
    }
    assert.is(hex(output.xof(32)), '1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415')
  })

  test(`${label}: Argon2id (phc-winner-argon2, src/test.c, version 0x13)`, () => {
    const [password, salt] = [utf8('password'), utf8('somesalt')]
    const derive = (memoryKiB: number, lanes: number): string =>
      hex(crypto.argon2id({ password, salt, memoryKiB, passes: 2, lanes }))
    assert.is(derive(256, 1), '9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe')
    assert.is(derive(256, 2), '6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037')
  })
}

test.run()
