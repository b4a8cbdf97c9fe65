/**
 * App passwords: what ordinary XMPP clients log in with. An account has several, one for each device
 * (`phone`, `laptop`), made here and shown once. Kept are SCRAM keys alone.
 *
 * ```text
 *   login-secret             32 bytes: salts, so that an account that does not exist has one, too
 *   password/ACCOUNT         salt, iterations, and of each password: id, name, keys for both hashes
 *   password-used/ACCOUNT/ID when it was used last, to the hour
 * ```
 *
 * The count of iterations protects nothing here that the 100 bits of a password do not: it is what
 * clients expect. They pay for it once and keep the result; a login costs the server some HMACs.
 */
import { createHmac } from 'node:crypto'
import { equalBytes, hex, utf8 } from '../../../crypto/bytes.ts'
import { OpenIMError } from '../../../crypto/errors.ts'
import type { Random } from '../../../crypto/random.ts'
import { decode, encode, fixed, struct, text, u32, u64, vector } from '../../../protocol/codec/struct.ts'
import { changeEntry } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { newPassword, preparePassword } from './passwords.ts'
import type { LoginAccount } from './sasl.ts'
import { scramKeys } from './scram.ts'
import type { ScramHash, ScramKeys, ScramSalt } from './scram.ts'

const iterationsOfOurs = 10_000
const saltBytes = 16
const usedEveryMs = 3_600_000

/** As people see it. */
export interface AppPassword {
  readonly name: string
  readonly createdAtMs: number
  /** To the hour; `undefined`: never. */
  readonly lastUsedAtMs: number | undefined
}

interface StoredPassword {
  /** 16 hex digits. */
  readonly id: string
  readonly name: string
  /** Id of the password whose login made this one, and with which it ends; empty: the operator did. */
  readonly by: string
  readonly createdAtMs: number
  readonly storedKey1: Uint8Array
  readonly serverKey1: Uint8Array
  readonly storedKey256: Uint8Array
  readonly serverKey256: Uint8Array
}

interface PasswordRecord extends ScramSalt {
  readonly passwords: readonly StoredPassword[]
}

const storedCodec = struct<StoredPassword>({
  id: text(16), name: text(256), by: text(16), createdAtMs: u64,
  storedKey1: fixed(20), serverKey1: fixed(20), storedKey256: fixed(32), serverKey256: fixed(32),
})
const recordCodec = struct<{ salt: Uint8Array, iterations: number, passwords: StoredPassword[] }>({
  salt: fixed(saltBytes), iterations: u32, passwords: vector(storedCodec, xmppLimits.appPasswordsMax),
})
const usedCodec = struct<{ atMs: number }>({ atMs: u64 })

/** What a proof is tried against. */
export interface Candidate {
  readonly passwordId: string
  readonly keys: ScramKeys
}

export interface CredentialsComponents {
  /** The bridge's corner of the node's store, sealed. */
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  /** A last use could not be written down; nothing depends on it. */
  readonly onError: (error: unknown) => void
}

export type RevocationListener = (accountId: string, passwordId: string) => void

export class Credentials {
  readonly #components: CredentialsComponents
  readonly #listeners: RevocationListener[] = []
  #secret: Promise<Uint8Array> | undefined

  constructor(components: CredentialsComponents) {
    this.#components = components
  }

  /** Called after a password is gone: what was made with it shall end. */
  onRevoked(listener: RevocationListener): void {
    this.#listeners.push(listener)
  }

  /**
   * Makes a password and gives it: the one time that it is seen.
   * @throws XMPP_PASSWORD_NAME when the name is none or taken, XMPP_PASSWORD_TOO_MANY
   */
  async add(account: LoginAccount, name: string, by = ''): Promise<string> {
    const plain = newPassword(this.#components.random)
    await this.set(account, { name, password: plain, by })
    return plain
  }

  /**
   * The same for a password that exists already, as when an account moves here.
   * @throws also XMPP_PASSWORD_TEXT
   */
  async set(
    account: LoginAccount,
    { name, password, by = '' }: {
      readonly name: string, readonly password: string, readonly by?: string
    },
  ): Promise<void> {
    const prepared = prepareOrThrow(password)
    assertName(name)
    const salt = await this.#saltFor(account)
    const { random, clock, kv } = this.#components
    const stored: StoredPassword = {
      id: hex(random.bytes(8)), name, by, createdAtMs: clock.now(), ...await keysFor(prepared, salt),
    }
    await changeEntry(kv, keyOf(account.id), (value) => {
      const passwords = value === undefined ? [] : decode(recordCodec, value).passwords
      assertRoom(passwords, name)
      if (by !== '' && !passwords.some(({ id }) => id === by)) {
        throw new OpenIMError('XMPP_PASSWORD_UNKNOWN', 'the password of this login is revoked')
      }
      const { salt: bytes, iterations } = salt
      return encode(recordCodec, { salt: bytes, iterations, passwords: [...passwords, stored] })
    })
  }

  /**
   * Puts another password in the place of one, under its name. What was logged in by the old one stays
   * logged in. @throws XMPP_PASSWORD_TEXT, XMPP_PASSWORD_UNKNOWN
   */
  async change(
    account: LoginAccount,
    { passwordId, password }: { readonly passwordId: string, readonly password: string },
  ): Promise<void> {
    const keys = await keysFor(prepareOrThrow(password), await this.#saltFor(account))
    await changeEntry(this.#components.kv, keyOf(account.id), (value) => {
      const record = value === undefined ? undefined : decode(recordCodec, value)
      if (record?.passwords.some(({ id }) => id === passwordId) !== true) {
        throw new OpenIMError('XMPP_PASSWORD_UNKNOWN', 'the password is revoked already')
      }
      const passwords = record.passwords.map((one) => one.id === passwordId ? { ...one, ...keys } : one)
      return encode(recordCodec, { ...record, passwords })
    })
  }

  /** In the order they were made. */
  async list(accountId: string): Promise<AppPassword[]> {
    const record = await this.#record(accountId)
    return Promise.all((record?.passwords ?? []).map(async ({ id, name, createdAtMs }) => {
      const used = await this.#components.kv.get(usedKeyOf(accountId, id))
      const lastUsedAtMs = used === undefined ? undefined : decode(usedCodec, used.value).atMs
      return { name, createdAtMs, lastUsedAtMs }
    }))
  }

  /**
   * Takes one away, and with it what was logged in by it, and passwords that were made by such a login.
   * False: there is none of that name.
   */
  async revoke(accountId: string, name: string): Promise<boolean> {
    const { kv } = this.#components
    let gone: readonly StoredPassword[] = []
    await changeEntry(kv, keyOf(accountId), (value) => {
      const record = value === undefined ? undefined : decode(recordCodec, value)
      gone = record === undefined ? [] : withDescendants(record.passwords, name)
      if (record === undefined || gone.length === 0) return undefined
      // The record stays when it is empty: so does its salt.
      const passwords = record.passwords.filter((one) => !gone.includes(one))
      return encode(recordCodec, { ...record, passwords })
    })
    if (gone.length === 0) return false
    await kv.write(gone.map(({ id }) => ({ type: 'delete', key: usedKeyOf(accountId, id) })))
    for (const { id } of gone) for (const listener of this.#listeners) listener(accountId, id)
    return true
  }

  // ── Logging in ────────────────────────────────────────────────────────────────────────────

  /**
   * Salt and candidates for a login. For a name that nobody has: the salt it would have, and a
   * candidate that nothing matches, so that a stranger learns no names.
   */
  async forLogin(
    hash: ScramHash,
    { local, account }: { readonly local: string, readonly account: LoginAccount | undefined },
  ): Promise<ScramSalt & { readonly candidates: readonly Candidate[] }> {
    const secret = await this.#loginSecret()
    const record = account === undefined ? undefined : await this.#record(account.id)
    const none = { passwordId: '', keys: keysOfNobody(secret, hash) }
    const candidates = (record?.passwords ?? [])
      .map((one) => ({ passwordId: one.id, keys: keysOf(one, hash) }))
    const { salt, iterations } = record ?? { salt: await this.#saltOf(local), iterations: iterationsOfOurs }
    return { salt, iterations, candidates: [...candidates, none] }
  }

  /** A password sent in the clear (PLAIN). The id of the one it is, if it is one. */
  async check(
    { local, account }: { readonly local: string, readonly account: LoginAccount | undefined },
    password: string,
  ): Promise<string | undefined> {
    const { candidates, ...salt } = await this.forLogin('SHA-256', { local, account })
    const { storedKey } = await scramKeys('SHA-256', preparePassword(password) ?? '', salt)
    const found = candidates.filter(({ keys }) => equalBytes(keys.storedKey, storedKey))
    return found[0]?.passwordId
  }

  /** Whether a password is still there: what stands in for it asks. */
  async exists(accountId: string, passwordId: string): Promise<boolean> {
    const record = await this.#record(accountId)
    return record?.passwords.some(({ id }) => id === passwordId) ?? false
  }

  noteUse(accountId: string, passwordId: string): void {
    const { kv, clock, onError } = this.#components
    const key = usedKeyOf(accountId, passwordId)
    const note = async (): Promise<void> => {
      const known = await kv.get(key)
      const atMs = clock.now()
      if (known !== undefined && atMs - decode(usedCodec, known.value).atMs < usedEveryMs) return
      await kv.write([{ type: 'put', key, value: encode(usedCodec, { atMs }) }])
    }
    note().catch(onError)
  }

  async #record(accountId: string): Promise<PasswordRecord | undefined> {
    const entry = await this.#components.kv.get(keyOf(accountId))
    return entry === undefined ? undefined : decode(recordCodec, entry.value)
  }

  async #saltFor({ id, local }: LoginAccount): Promise<ScramSalt> {
    return await this.#record(id) ?? { salt: await this.#saltOf(local), iterations: iterationsOfOurs }
  }

  async #saltOf(local: string): Promise<Uint8Array> {
    return derive(await this.#loginSecret(), `salt ${local}`).subarray(0, saltBytes)
  }

  #loginSecret(): Promise<Uint8Array> {
    this.#secret ??= this.#openSecret().catch((error: unknown) => {
      this.#secret = undefined
      throw error
    })
    return this.#secret
  }

  async #openSecret(): Promise<Uint8Array> {
    const { kv, random } = this.#components
    const key = 'login-secret'
    await changeEntry(kv, key, (value) => value === undefined ? random.bytes(32) : undefined)
    return (await kv.get(key))!.value
  }
}

function keyOf(accountId: string): string {
  return `password/${accountId}`
}

function usedKeyOf(accountId: string, passwordId: string): string {
  return `password-used/${accountId}/${passwordId}`
}

function keysOf(stored: StoredPassword, hash: ScramHash): ScramKeys {
  return hash === 'SHA-1'
    ? { storedKey: stored.storedKey1, serverKey: stored.serverKey1 }
    : { storedKey: stored.storedKey256, serverKey: stored.serverKey256 }
}

/** Nobody can have the preimage of a derived value. */
function keysOfNobody(secret: Uint8Array, hash: ScramHash): ScramKeys {
  const length = hash === 'SHA-1' ? 20 : 32
  return {
    storedKey: derive(secret, 'stored key of nobody').subarray(0, length),
    serverKey: derive(secret, 'server key of nobody').subarray(0, length),
  }
}

function derive(secret: Uint8Array, label: string): Uint8Array {
  return createHmac('sha256', secret).update(utf8(label)).digest()
}

/** The one of this name, and those that came of it. */
function withDescendants(passwords: readonly StoredPassword[], name: string): StoredPassword[] {
  const found = passwords.filter((one) => one.name === name)
  // It grows while it is walked.
  for (const { id } of found) found.push(...passwords.filter(({ by }) => by === id))
  return found
}

type PasswordKeys = Omit<StoredPassword, 'id' | 'name' | 'by' | 'createdAtMs'>

async function keysFor(prepared: string, salt: ScramSalt): Promise<PasswordKeys> {
  const [sha1, sha256] = await Promise.all([
    scramKeys('SHA-1', prepared, salt), scramKeys('SHA-256', prepared, salt),
  ])
  return {
    storedKey1: sha1.storedKey, serverKey1: sha1.serverKey,
    storedKey256: sha256.storedKey, serverKey256: sha256.serverKey,
  }
}

function prepareOrThrow(password: string): string {
  const prepared = preparePassword(password)
  if (prepared !== undefined) return prepared
  throw new OpenIMError('XMPP_PASSWORD_TEXT', 'a password is not empty and holds no control characters')
}

function assertName(name: string): void {
  if (name.trim() === name && name !== '' && [...name].length <= xmppLimits.appPasswordNameCharactersMax
    && !/[\p{Cc}\p{Cs}]/u.test(name)) return
  const most = xmppLimits.appPasswordNameCharactersMax
  const message = `an app password has a name of 1 to ${most} characters: where it is used, such as phone`
  throw new OpenIMError('XMPP_PASSWORD_NAME', message)
}

function assertRoom(passwords: readonly StoredPassword[], name: string): void {
  if (passwords.some((one) => one.name === name)) {
    const message = `there is an app password "${name}" already; revoke it first, or take another name`
    throw new OpenIMError('XMPP_PASSWORD_NAME', message)
  }
  const most = xmppLimits.appPasswordsMax
  if (passwords.length < most) return
  throw new OpenIMError('XMPP_PASSWORD_TOO_MANY', `this account has ${most} app passwords; revoke one first`)
}
