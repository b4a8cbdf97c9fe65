import type { Result } from './errors.ts'
import type { Random } from './random.ts'
/** Argon2id 64 MiB; about 0.2 s on node, 1 s in a browser. `plaintext` ≤ 4,096 bytes. */
export declare function sealVault(input: { passphrase: Uint8Array, plaintext: Uint8Array, random: Random }): Uint8Array
/** Refuses VAULT_PASSPHRASE (wrong, or altered) or VAULT_FORMAT. */
export declare function openVault(input: { passphrase: Uint8Array, vault: Uint8Array }): Result<Uint8Array>
export declare function rekeyVault(input: { vault: Uint8Array, passphrase: Uint8Array, newPassphrase: Uint8Array, random: Random }): Result<Uint8Array>
/** nonce[24] ‖ XChaCha20-Poly1305; `ad` names the place of the record (table, key, version). */
export declare function sealValue(input: { key: Uint8Array, plaintext: Uint8Array, ad: Uint8Array, random: Random }): Uint8Array
/** `undefined` when it does not open with this key at this place. */
export declare function openValue(input: { key: Uint8Array, sealed: Uint8Array, ad: Uint8Array }): Uint8Array | undefined
