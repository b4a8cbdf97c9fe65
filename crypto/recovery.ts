import type { Result } from './errors.ts'
/** 32 bytes of entropy as 24 English words (BIP-39), one space between. */
export declare function recoveryPhrase(entropy: Uint8Array): string
/** Forgiving about case and white space. Refuses RECOVERY_PHRASE (count, unknown word, checksum). */
export declare function recoveryEntropy(phrase: string): Result<Uint8Array>
