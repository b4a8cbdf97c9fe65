/**
 * Who has an address at our domain, and those accounts that are in use.
 *
 * ```text
 *   account/LOCAL      id, when it was made; LOCAL percent-encoded
 * ```
 */
import type { Random } from '../../../crypto/random.ts'
import { hex } from '../../../crypto/bytes.ts'
import { OpenIMError } from '../../../crypto/errors.ts'
import { decode, encode, struct, text, u64 } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvOperation, KvStore } from '../../../protocol/ports.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { Account } from './account.ts'
import { Roster } from './roster.ts'

export interface AccountRecord {
  /** 16 hex digits. */
  readonly id: string
  readonly local: string
  readonly createdAtMs: number
}
const recordCodec = struct<AccountRecord>({ id: text(16), local: text(256), createdAtMs: u64 })

/** First parts of the keys under which something of an account stands; its id follows. */
const accountData = [
  'roster', 'roster-version', 'private', 'vcard', 'blocked', 'pep', 'offline', 'mam', 'mam-with',
  'password', 'password-used', 'oim-cursor', 'oim-sent', 'push',
] as const

export interface AccountsComponents {
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  /** Reads what must be known of an account before anything reaches it. */
  readonly prepare: (account: Account) => Promise<void>
}

export class Accounts {
  readonly #components: AccountsComponents
  readonly #domain: string
  /** Loaded ones, the least recently used first. */
  readonly #loaded = new Map<string, Account>()
  readonly #pinned = new Set<string>()
  readonly #loading = new Map<string, Promise<Account | undefined>>()
  #listener: () => void = () => {}

  constructor(components: AccountsComponents, { domain }: { domain: string }) {
    this.#components = components
    this.#domain = domain
  }

  /** Told after an address came or went. Set once. */
  listen(listener: () => void): void {
    this.#listener = listener
  }

  /** Idempotent. @throws XMPP_LOCALPART when the name cannot be the local part of an address */
  async create(local: string): Promise<AccountRecord> {
    const jid = Jid.parseStrict(`${local}@${this.#domain}`)
    if (jid === undefined || jid.local === '' || jid.local.length > xmppLimits.localpartCharactersMax) {
      const message = `"${local}" cannot stand before the @ of an address; take letters, digits, dots`
      throw new OpenIMError('XMPP_LOCALPART', message, { details: { local } })
    }
    const { kv, clock, random } = this.#components
    const known = await this.record(jid.local)
    if (known !== undefined) return known
    const record = { id: hex(random.bytes(8)), local: jid.local, createdAtMs: clock.now() }
    const key = keyOf(jid.local)
    const isFirst = await kv.write([
      { type: 'check', key, version: 0 }, { type: 'put', key, value: encode(recordCodec, record) },
    ])
    if (isFirst) this.#listener()
    return isFirst ? record : (await this.record(jid.local))!
  }

  async record(local: string): Promise<AccountRecord | undefined> {
    const entry = await this.#components.kv.get(keyOf(local))
    return entry === undefined ? undefined : decode(recordCodec, entry.value)
  }

  async list(): Promise<AccountRecord[]> {
    const records: AccountRecord[] = []
    for await (const { value } of kvEntries(this.#components.kv, 'account/')) {
      records.push(decode(recordCodec, value))
    }
    return records
  }

  /** Its address is nobody's any more. What it kept stays until it is erased. */
  async remove(local: string): Promise<void> {
    await this.#components.kv.write([{ type: 'delete', key: keyOf(local) }])
    this.#loaded.delete(local)
    this.#pinned.delete(local)
    this.#listener()
  }

  /** Deletes everything that an account kept. */
  async erase(id: string): Promise<void> {
    const { kv } = this.#components
    for (const kind of accountData) {
      let going: KvOperation[] = []
      for await (const { key } of kvEntries(kv, `${kind}/${id}`)) {
        going.push({ type: 'delete', key })
        if (going.length < xmppLimits.erasedAtOnce) continue
        await kv.write(going)
        going = []
      }
      if (going.length > 0) await kv.write(going)
    }
  }

  loaded(jid: Jid): Account | undefined {
    return this.#loaded.get(jid.local)
  }

  inUse(): IterableIterator<Account> {
    return this.#loaded.values()
  }

  /** Loads it and keeps it in memory. */
  async pin(jid: Jid): Promise<Account | undefined> {
    this.#pinned.add(jid.local)
    return await this.get(jid)
  }

  get(jid: Jid): Promise<Account | undefined> {
    const { local } = jid
    const loaded = this.#loaded.get(local)
    if (loaded !== undefined) return Promise.resolve(loaded)
    const known = this.#loading.get(local)
    if (known !== undefined) return known
    const loading = this.#load(local).finally(() => this.#loading.delete(local))
    this.#loading.set(local, loading)
    return loading
  }

  async #load(local: string): Promise<Account | undefined> {
    const record = local === '' ? undefined : await this.record(local)
    if (record === undefined) return undefined
    const roster = await Roster.open(this.#components.kv, record.id)
    const account = new Account({ id: record.id, jid: new Jid(local, this.#domain), roster })
    await this.#components.prepare(account)
    this.#makeRoom()
    this.#loaded.set(local, account)
    return account
  }

  /** One that nobody uses goes. */
  #makeRoom(): void {
    if (this.#loaded.size < xmppLimits.accountsLoadedMax) return
    for (const [local, account] of this.#loaded) {
      if (account.size > 0 || this.#pinned.has(local)) continue
      this.#loaded.delete(local)
      return
    }
  }
}

function keyOf(local: string): string {
  return `account/${encodeURIComponent(local)}`
}
