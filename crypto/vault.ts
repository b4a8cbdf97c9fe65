/**
 * Secrets at rest. A vault keeps some bytes behind a passphrase; sealed values are records that a
 * data key protects, each bound to its place.
 *
 * ```text
 *   vault
 *     u8     version = 1
 *     u32    memoryKiB, u8 passes, u8 lanes        Argon2id (RFC 9106)
 *     opaque salt[16]
 *     opaque keyNonce[24]
 *     opaque sealedKey[48]    data key, under Argon2id(passphrase, salt);
 *                             AD: "openim vault key v1" ‖ everything from version to salt
 *     opaque bodyNonce[24]
 *     opaque sealedBody       plaintext, under the data key; AD: "openim vault body v1"
 *   sealed value
 *     opaque nonce[24] ‖ sealed    AD: the caller's, the place of the record
 * ```
 *
 * All sealing is XChaCha20-Poly1305, whose nonces may be random. The random data key in between
 * lets the passphrase change without a new body. A wrong passphrase and an altered vault are one
 * refusal after the same work: nothing tells an attacker which part of a forged vault was right.
 * What a header asks for is bounded before anything is done for it.
 */
import { concat, wipe } from './bytes.ts'
import { assert } from './errors.ts'
import type { Result } from './errors.ts'
import { FieldReader, u32Bytes, u8Bytes } from './fields.ts'
import { crypto } from './index.ts'
import { labels } from './labels.ts'
import type { Random } from './random.ts'

const version = 1
const keyBytes = 32
const saltBytes = 16
const nonceBytes = 24
const tagBytes = 16
/** version, memory, passes, lanes, salt */
const headerBytes = 1 + 4 + 1 + 1 + saltBytes
const bodyOffset = headerBytes + nonceBytes + keyBytes + tagBytes

interface Cost {
  readonly memoryKiB: number
  readonly passes: number
  readonly lanes: number
}

/** RFC 9106 §4, second recommendation, with one lane: about 0.2 s on Node, 1 s in a browser. */
const cost: Cost = { memoryKiB: 64 * 1024, passes: 3, lanes: 1 }
/** What a vault from elsewhere may ask of us before its passphrase is known to be right. */
const costMax: Cost = { memoryKiB: 1024 * 1024, passes: 16, lanes: 8 }
/** Memory × passes, which is what takes the time: some 20 times our own cost, seconds not minutes. */
const workKiBMax = 4 * 1024 * 1024

/** @param input.passphrase UTF-8 bytes, as typed; they stay the caller's, to wipe */
export function sealVault(input: {
  passphrase: Uint8Array
  plaintext: Uint8Array
  random: Random
}): Uint8Array {
  const { passphrase, plaintext, random } = input
  const dataKey = random.bytes(keyBytes)
  const body = sealValue({ key: dataKey, plaintext, ad: labels.vaultBody, random })
  const vault = concat(wrapKey({ passphrase, dataKey, random }), body)
  wipe(dataKey)
  return vault
}

/** The plaintext. Refuses VAULT_PASSPHRASE (wrong, or the vault was altered) or VAULT_FORMAT. */
export function openVault(input: { passphrase: Uint8Array, vault: Uint8Array }): Result<Uint8Array> {
  const unwrapped = unwrapKey(input)
  if (!unwrapped.ok && unwrapped.code !== 'VAULT_PASSPHRASE') return unwrapped
  // With a wrong passphrase a key that cannot fit is tried: the time does not tell how far it came.
  const dataKey = unwrapped.ok ? unwrapped.value : new Uint8Array(keyBytes)
  const sealed = input.vault.subarray(bodyOffset)
  const plaintext = openValue({ key: dataKey, sealed, ad: labels.vaultBody })
  wipe(dataKey)
  return unwrapped.ok && plaintext !== undefined ? { ok: true, value: plaintext } : wrongPassphrase()
}

/**
 * The same vault under a new passphrase and salt. Old copies still open with the old passphrase, and
 * give the data key of the new one: when it was stolen, seal anew instead. Refuses as `openVault`.
 */
export function rekeyVault(input: {
  vault: Uint8Array
  passphrase: Uint8Array
  newPassphrase: Uint8Array
  random: Random
}): Result<Uint8Array> {
  const { vault, newPassphrase, random } = input
  const unwrapped = unwrapKey(input)
  if (!unwrapped.ok) return unwrapped
  const dataKey = unwrapped.value
  const rekeyed = concat(wrapKey({ passphrase: newPassphrase, dataKey, random }), vault.subarray(bodyOffset))
  wipe(dataKey)
  return { ok: true, value: rekeyed }
}

/** @param input.ad names the place of the record (table, key, version), so that two cannot be swapped */
export function sealValue(input: {
  key: Uint8Array
  plaintext: Uint8Array
  ad: Uint8Array
  random: Random
}): Uint8Array {
  const { key, plaintext, ad, random } = input
  const nonce = random.bytes(nonceBytes)
  return concat(nonce, crypto.sealX({ key, nonce, plaintext, ad }))
}

/** `undefined` when it was not sealed with this key for this place, or was altered. */
export function openValue(input: {
  key: Uint8Array
  sealed: Uint8Array
  ad: Uint8Array
}): Uint8Array | undefined {
  const { key, sealed, ad } = input
  if (sealed.length < nonceBytes + tagBytes) return undefined
  const nonce = sealed.subarray(0, nonceBytes)
  return crypto.openX({ key, nonce, ciphertext: sealed.subarray(nonceBytes), ad })
}

function wrapKey(input: { passphrase: Uint8Array, dataKey: Uint8Array, random: Random }): Uint8Array {
  const { passphrase, dataKey, random } = input
  const salt = random.bytes(saltBytes)
  const { memoryKiB, passes, lanes } = cost
  const header = concat(u8Bytes(version), u32Bytes(memoryKiB), u8Bytes(passes), u8Bytes(lanes), salt)
  const key = crypto.argon2id({ password: passphrase, salt, ...cost })
  const wrapped = sealValue({ key, plaintext: dataKey, ad: concat(labels.vaultKey, header), random })
  wipe(key)
  return concat(header, wrapped)
}

function unwrapKey(input: { passphrase: Uint8Array, vault: Uint8Array }): Result<Uint8Array> {
  const { passphrase, vault } = input
  const reader = new FieldReader(vault.subarray(0, headerBytes))
  const found = reader.u8()
  const asked: Cost = { memoryKiB: reader.u32(), passes: reader.u8(), lanes: reader.u8() }
  const salt = reader.bytes(saltBytes)
  if (!reader.complete || vault.length < bodyOffset + nonceBytes + tagBytes) {
    return { ok: false, code: 'VAULT_FORMAT', detail: `${vault.length} bytes are too few for a vault` }
  }
  if (found !== version || !affordable(asked)) {
    const detail = `a vault of version ${found} that asks for ${asked.memoryKiB} KiB, ${asked.passes} passes`
    return { ok: false, code: 'VAULT_FORMAT', detail }
  }
  const key = crypto.argon2id({ password: passphrase, salt, ...asked })
  const ad = concat(labels.vaultKey, vault.subarray(0, headerBytes))
  const dataKey = openValue({ key, sealed: vault.subarray(headerBytes, bodyOffset), ad })
  wipe(key)
  if (dataKey === undefined) return wrongPassphrase()
  assert(dataKey.length === keyBytes, 'a wrapped key of another length')
  return { ok: true, value: dataKey }
}

/** RFC 9106 §3.1: at least one pass and lane, and 8 KiB a lane. */
function affordable({ memoryKiB, passes, lanes }: Cost): boolean {
  return passes >= 1 && passes <= costMax.passes && lanes >= 1 && lanes <= costMax.lanes
    && memoryKiB >= 8 * lanes && memoryKiB <= costMax.memoryKiB && memoryKiB * passes <= workKiBMax
}

function wrongPassphrase(): Result<never> {
  return { ok: false, code: 'VAULT_PASSPHRASE', detail: 'the passphrase does not open the vault' }
}
