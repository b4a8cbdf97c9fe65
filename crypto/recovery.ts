/**
 * The recovery phrase: the 32 bytes from which an account comes back, as 24 words that a person
 * can write down (BIP-39, English list; the checksum catches a wrong or swapped word).
 *
 * Only the words are BIP-39's. Keys come from the entropy itself through HKDF with a label each,
 * not through BIP-39's PBKDF2 seed nor BIP-32 paths: no wallet can be opened with this phrase, and
 * nobody should use a wallet's phrase here. The root key comes from it, and the rendezvous seeds,
 * so that the words alone lead to what the account last published. Devices and prekeys never do.
 */
import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { concat } from './bytes.ts'
import { assert } from './errors.ts'
import type { Result } from './errors.ts'
import { u32Bytes } from './fields.ts'
import { crypto } from './index.ts'
import { labels } from './labels.ts'

const entropyBytes = 32
const wordCount = 24
const words: ReadonlySet<string> = new Set(wordlist)

/** 24 lower-case words, one space between. @param entropy 32 bytes */
export function recoveryPhrase(entropy: Uint8Array): string {
  assert(entropy.length === entropyBytes, `recovery entropy has 32 bytes, got ${entropy.length}`)
  return entropyToMnemonic(entropy, wordlist)
}

/**
 * The entropy behind a phrase as a person types it: case and white space do not matter. Refuses
 * RECOVERY_PHRASE; `detail` names the first unknown word by its place, never the words.
 */
export function recoveryEntropy(phrase: string): Result<Uint8Array> {
  const typed = phrase.normalize('NFKD').toLowerCase().split(/\s+/u).filter((word) => word !== '')
  if (typed.length !== wordCount) return refused(`${typed.length} words, a phrase has ${wordCount}`)
  const unknown = typed.findIndex((word) => !words.has(word))
  if (unknown >= 0) return refused(`word ${unknown + 1} is not in the list of words`)
  try {
    return { ok: true, value: mnemonicToEntropy(typed.join(' '), wordlist) }
  } catch {
    return refused('the words do not belong together: one is wrong or two are swapped')
  }
}

/** Ed25519 seed of the account's root key. */
export function accountRootSeed(entropy: Uint8Array): Uint8Array {
  assert(entropy.length === entropyBytes, `recovery entropy has 32 bytes, got ${entropy.length}`)
  const salt = new Uint8Array(0)
  return crypto.hkdf({ secret: entropy, salt, info: labels.recoveryAccountRoot, length: 32 })
}

/**
 * 15 bytes that lead whoever has them to the account's location record.
 * @param generation how often it was replaced; who knows one cannot tell the next
 */
export function accountRendezvousSeed(entropy: Uint8Array, generation: number): Uint8Array {
  assert(entropy.length === entropyBytes, `recovery entropy has 32 bytes, got ${entropy.length}`)
  const info = concat(labels.recoveryRendezvous, u32Bytes(generation))
  return crypto.hkdf({ secret: entropy, salt: new Uint8Array(0), info, length: 15 })
}

function refused(detail: string): Result<never> {
  return { ok: false, code: 'RECOVERY_PHRASE', detail }
}
