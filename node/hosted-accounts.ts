/**
 * Accounts that this node hosts besides its owner's: for people whom the owner gave an address, and
 * for services of the node that speak for themselves. Each is an ordinary Client SDK over the loopback
 * connector (hosted-account.ts) with a corner of the store and keys of its own; contacts cannot tell
 * it from an account at home elsewhere.
 *
 * ```text
 *   hosted-account/NAME     id, kind, shown name, entropy, when          (sealed; shared in a household)
 *   hosted/ID/…             its records: account, sessions, history …
 * ```
 *
 * Its primary device is this node, so the owner of the node could read what it receives, as with every
 * server that people log in at; docs/xmpp.md says so to them.
 */
import { crypto } from '../crypto/index.ts'
import { hex } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import type { Random } from '../crypto/random.ts'
import { rootSeed } from '../protocol/account.ts'
import { formatAddress } from '../protocol/address.ts'
import type { Client } from '../protocol/client/client.ts'
import { decode, encode, fixed, oneOf, struct, text, u64 } from '../protocol/codec/struct.ts'
import { kvEntries } from '../protocol/kv.ts'
import { limits } from '../protocol/limits.ts'
import type { Clock, KvOperation, KvStore } from '../protocol/ports.ts'
import type { HostedAccount, HostedKind, HostedOptions } from './bridge-host.ts'
import { HostedSeat } from './hosted-seat.ts'
import type { Household } from './household/household.ts'
import type { NodeStore } from './node-store.ts'
import type { Log } from './ports.ts'

const kinds = ['person', 'service'] as const satisfies readonly HostedKind[]
const nameForm = /^[a-z0-9][a-z0-9._-]{0,63}$/
const prefix = 'hosted-account/'
const erasedAtOnce = 500
/** No account has this name. */
const makingTurn = ''

interface HostedRecord {
  readonly id: string
  readonly kind: number
  readonly shownAs: string
  readonly entropy: Uint8Array
  readonly createdAtMs: number
}
const recordCodec = struct<HostedRecord>({
  id: text(32), kind: oneOf([0, 1], 'kind of hosted account'), shownAs: text(limits.nameBytesMax),
  entropy: fixed(32), createdAtMs: u64,
})

export interface HostedAccountsComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly nodeStore: NodeStore
  readonly household: Household | undefined
  /** Reads the account, or makes it; the client is not started (hosted-account.ts). */
  readonly openClient: (kv: KvStore, account: { name: string, entropy: Uint8Array }) => Promise<Client>
  /** Its devices may not log in any more. */
  readonly deregister: (address: string) => Promise<void>
}

interface Hosted extends HostedAccount {
  readonly id: string
  /** Alone on its database: the client itself. */
  readonly client: Client | undefined
  readonly seat: HostedSeat | undefined
}

export class HostedAccounts {
  readonly #components: HostedAccountsComponents
  readonly #open = new Map<string, Hosted>()
  /** Openings and removals of one name follow each other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  #isStopped = false

  constructor(components: HostedAccountsComponents) {
    this.#components = components
  }

  /**
   * Makes the account when there is none, and starts it.
   * @throws HOSTED_NAME, HOSTED_LIMIT, STORE_*, HOUSEHOLD_ELSEWHERE
   */
  open(name: string, options: HostedOptions): Promise<Client> {
    return this.#inTurn(name, async () => {
      const known = this.#open.get(name)
      if (known !== undefined) return clientOf(known)
      if (this.#isStopped) throw new OpenIMError('CLIENT_STOPPED', 'the node is stopping')
      const hosted = await this.#begin(name, await this.#record(name, options))
      this.#open.set(name, hosted)
      return clientOf(hosted)
    })
  }

  /** `undefined`: not open, or hosted by another process of the household. */
  client(name: string): Client | undefined {
    const { client, seat } = this.#open.get(name) ?? {}
    return client ?? (seat?.isHere === true ? seat.client : undefined)
  }

  /** All that were ever made and not removed. */
  async list(): Promise<HostedAccount[]> {
    const found: HostedAccount[] = []
    for await (const { key, value } of kvEntries(this.#kv, prefix)) {
      found.push(describe(key.slice(prefix.length), decode(recordCodec, value)))
    }
    return found
  }

  /** For good: with its keys, contacts and history. Idempotent. @throws HOUSEHOLD_ELSEWHERE */
  remove(name: string): Promise<void> {
    return this.#inTurn(name, async () => {
      const entry = await this.#kv.get(prefix + name)
      if (entry === undefined) return
      const record = decode(recordCodec, entry.value)
      await this.#assertHere(name, record)
      await this.#end(this.#open.get(name))
      this.#open.delete(name)
      const { address } = describe(name, record)
      await this.#components.deregister(address)
      // Its records first: while the account is named here, an erasure that broke off can be repeated.
      await erase(this.#components.nodeStore.hosted(record.id))
      await this.#kv.write([{ type: 'delete', key: prefix + name }])
    })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#turns.values())
    await Promise.all([...this.#open.values()].map((hosted) => this.#end(hosted)))
    this.#open.clear()
  }

  get #kv(): KvStore {
    return this.#components.nodeStore.store.kv
  }

  /** Another process of the household that has its client at work would write its records again. */
  async #assertHere(name: string, record: HostedRecord): Promise<void> {
    if (this.#components.household === undefined) return
    const known = this.#open.get(name) ?? await this.#begin(name, record)
    this.#open.set(name, known)
    clientOf(known)
  }

  async #record(name: string, { kind, shownAs = name }: HostedOptions): Promise<HostedRecord> {
    if (!nameForm.test(name)) {
      throw new OpenIMError('HOSTED_NAME', `"${name}" cannot name a hosted account; take a-z, 0-9 and dots`)
    }
    const key = prefix + name
    const known = await this.#kv.get(key)
    if (known !== undefined) return decode(recordCodec, known.value)
    // One after the other, so that they are counted.
    return await this.#inTurn(makingTurn, () => this.#make(key, { kind, shownAs }))
  }

  async #make(key: string, { kind, shownAs }: Required<HostedOptions>): Promise<HostedRecord> {
    if ((await this.list()).length >= limits.hostedAccountsMax) {
      const message = `a node hosts at most ${limits.hostedAccountsMax} accounts besides its owner's`
      throw new OpenIMError('HOSTED_LIMIT', message)
    }
    const { random, clock } = this.#components
    const record: HostedRecord = {
      id: hex(random.bytes(8)), kind: kinds.indexOf(kind), shownAs, entropy: random.bytes(32),
      createdAtMs: clock.now(),
    }
    const isFirst = await this.#kv.write([
      { type: 'check', key, version: 0 }, { type: 'put', key, value: encode(recordCodec, record) },
    ])
    return isFirst ? record : decode(recordCodec, (await this.#kv.get(key))!.value)
  }

  async #begin(name: string, record: HostedRecord): Promise<Hosted> {
    const { id, shownAs, entropy } = record
    const { nodeStore, household, openClient, ...system } = this.#components
    const described = { ...describe(name, record), id }
    const openHere = (kv: KvStore): Promise<Client> => openClient(kv, { name: shownAs, entropy })
    if (household === undefined) {
      const client = await openHere(nodeStore.hosted(id))
      await client.start()
      return { ...described, client, seat: undefined }
    }
    const corner = (fence: (kv: KvStore) => KvStore): KvStore => nodeStore.hosted(id, fence)
    const seat = new HostedSeat(
      { ...system, household, corner, open: openHere }, { address: described.address },
    )
    await seat.begun()
    return { ...described, client: undefined, seat }
  }

  async #end(hosted: Hosted | undefined): Promise<void> {
    await hosted?.client?.stop()
    await hosted?.seat?.stop()
  }

  #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(work)
    const settled = turn.then(() => {}, () => {})
    this.#turns.set(name, settled)
    void settled.then(() => { if (this.#turns.get(name) === settled) this.#turns.delete(name) })
    return turn
  }
}

function clientOf({ client, seat }: Hosted): Client {
  return client ?? seat!.client
}

function describe(name: string, { kind, shownAs, entropy, createdAtMs }: HostedRecord): HostedAccount {
  const address = formatAddress(crypto.signingKeyPair(rootSeed(entropy)).publicKey)
  return { name, kind: kinds[kind]!, shownAs, address, createdAtMs }
}

async function erase(kv: KvStore): Promise<void> {
  let going: KvOperation[] = []
  for await (const { key } of kvEntries(kv, '')) {
    going.push({ type: 'delete', key })
    if (going.length < erasedAtOnce) continue
    await kv.write(going)
    going = []
  }
  if (going.length > 0) await kv.write(going)
}
