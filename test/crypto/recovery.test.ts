/** The recovery phrase: BIP-39's vectors for 24 words, and forgiving reading. */
import * as assert from 'uvu/assert'
import { equalBytes, hexDecode } from '../../crypto/bytes.ts'
import {
  accountRendezvousSeed, accountRootSeed, recoveryEntropy, recoveryPhrase,
} from '../../crypto/recovery.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { outcome, value } from './support/devices.ts'

const test = suite('crypto/recovery')

/** From BIP-39's test vectors (trezor/python-mnemonic, vectors.json). */
const vectors: readonly (readonly [entropy: string, phrase: string])[] = [
  ['00'.repeat(32), `${'abandon '.repeat(23)}art`],
  ['7f'.repeat(32), `${'legal winner thank year wave sausage worth useful '.repeat(2)}`
    + 'legal winner thank year wave sausage worth title'],
  ['80'.repeat(32), `${'letter advice cage absurd amount doctor acoustic avoid '.repeat(2)}`
    + 'letter advice cage absurd amount doctor acoustic bless'],
  ['ff'.repeat(32), `${'zoo '.repeat(23)}vote`],
]

test('turns entropy into the words of BIP-39 and back', () => {
  for (const [entropy, phrase] of vectors) {
    assert.is(recoveryPhrase(hexDecode(entropy)), phrase)
    assert.equal(value(recoveryEntropy(phrase)), hexDecode(entropy))
  }
  const random = seededRandom('recovery')
  for (let i = 0; i < 20; i++) {
    const entropy = random.bytes(32)
    assert.equal(value(recoveryEntropy(recoveryPhrase(entropy))), entropy)
  }
})

test('reads a phrase whatever its case and white space', () => {
  const [entropy, phrase] = vectors[1]!
  const typed = `\n  ${phrase.toUpperCase().replaceAll(' ', ' \t\n')}  `
  assert.equal(value(recoveryEntropy(typed)), hexDecode(entropy))
})

test('refuses a wrong count, an unknown word and swapped words, and never repeats a word', () => {
  const phrase = recoveryPhrase(seededRandom('secret phrase').bytes(32))
  const words = phrase.split(' ')
  const refusals = [
    recoveryEntropy(''),
    recoveryEntropy(words.slice(0, 23).join(' ')),
    recoveryEntropy(`${phrase} zoo`),
    recoveryEntropy([...words.slice(0, 5), 'openim', ...words.slice(6)].join(' ')),
    recoveryEntropy([words[1], words[0], ...words.slice(2)].join(' ')),
  ]
  for (const refusal of refusals) {
    assert.is(outcome(refusal), 'RECOVERY_PHRASE')
    const detail = refusal.ok ? '' : refusal.detail!
    assert.not.ok(words.some((word) => word.length > 4 && detail.includes(word)), detail)
  }
  assert.match(refusals[3]!.ok ? '' : refusals[3]!.detail!, /word 6 /)
})

test('derives the root key from the entropy, and another from every other entropy', () => {
  const [one, other] = [accountRootSeed(new Uint8Array(32)), accountRootSeed(new Uint8Array(32).fill(1))]
  assert.is(one.length, 32)
  assert.not(equalBytes(one, other))
  assert.not(equalBytes(one, new Uint8Array(32)))
})

test('derives rendezvous seeds from the entropy, each generation its own', () => {
  const entropy = new Uint8Array(32).fill(3)
  const seeds = [0, 1, 2].map((generation) => accountRendezvousSeed(entropy, generation))
  assert.equal(seeds.map((seed) => seed.length), [15, 15, 15])
  assert.is(new Set(seeds.map(String)).size, 3)
  assert.equal(accountRendezvousSeed(entropy, 1), seeds[1])
  assert.not.equal(accountRendezvousSeed(new Uint8Array(32), 1), seeds[1])
})

test.run()
