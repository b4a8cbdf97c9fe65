/**
 * The roster of one account (RFC 6121 §2): what is in it, its changes, and their order. In memory
 * while the account is in use; each change is durable before it is told to anybody.
 *
 * ```text
 *   roster/ACCOUNT/HASH     one entry; HASH of its bare JID, for a key is short and a JID is not
 *   roster-version/ACCOUNT  u64, grows with every change that clients see
 * ```
 *
 * An entry of which only a request of a stranger is known (`pendingIn`) is kept here too and never
 * shown to clients (RFC 6121 §2.1.2.5, §3.1.3): `shown` leaves it out.
 */
import { utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import { bool, decode, encode, optional, struct, text, u64, vector } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { KvOperation, KvStore } from '../../../protocol/ports.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { isBlank, noSubscription, subscriptionName } from './subscription-states.ts'
import type { SubscriptionState } from './subscription-states.ts'

export interface RosterEntry extends SubscriptionState {
  /** Bare. */
  readonly jid: string
  readonly name: string | undefined
  readonly groups: readonly string[]
  /** Our user put it in, or has asked for a subscription: clients see it. */
  readonly isListed: boolean
  /** The stanza of the waiting request, as text, for the next login. */
  readonly request: string | undefined
}

interface EntryRecord extends Omit<RosterEntry, 'groups'> {
  readonly groups: string[]
}

const jidBytesMax = 3_071
const nameBytesMax = xmppLimits.rosterNameCharactersMax * 4
/** Of a subscription request that waits. */
const requestBytesMax = 8 * 1024

const entryCodec = struct<EntryRecord>({
  jid: text(jidBytesMax),
  name: optional(text(nameBytesMax)),
  groups: vector(text(nameBytesMax), xmppLimits.rosterGroupsMax),
  isListed: bool,
  to: bool,
  from: bool,
  ask: bool,
  pendingIn: bool,
  approved: bool,
  request: optional(text(requestBytesMax)),
})
const versionCodec = struct<{ readonly version: number }>({ version: u64 })

export class Roster {
  readonly #kv: KvStore
  readonly #account: string
  readonly #entries = new Map<string, RosterEntry>()
  #version = 0
  /** Changes, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(kv: KvStore, account: string) {
    this.#kv = kv
    this.#account = account
  }

  static async open(kv: KvStore, account: string): Promise<Roster> {
    const roster = new Roster(kv, account)
    for await (const { value } of kvEntries(kv, `roster/${account}/`)) {
      const entry = decode(entryCodec, value)
      roster.#entries.set(entry.jid, entry)
    }
    const version = await kv.get(roster.#versionKey)
    if (version !== undefined) roster.#version = decode(versionCodec, version.value).version
    return roster
  }

  /** Of what clients see; opaque to them. */
  get version(): string {
    return String(this.#version)
  }

  get(jid: Jid): RosterEntry | undefined {
    return this.#entries.get(jid.bare)
  }

  state(jid: Jid): SubscriptionState {
    return this.#entries.get(jid.bare) ?? noSubscription
  }

  /** What clients see. */
  listed(): RosterEntry[] {
    return [...this.#entries.values()].filter(({ isListed }) => isListed)
  }

  all(): IterableIterator<RosterEntry> {
    return this.#entries.values()
  }

  /** Bare JIDs that see our user's presence. */
  subscribers(): string[] {
    return [...this.#entries.values()].filter(({ from }) => from).map(({ jid }) => jid)
  }

  /** Bare JIDs whose presence our user sees. */
  subscriptions(): string[] {
    return [...this.#entries.values()].filter(({ to }) => to).map(({ jid }) => jid)
  }

  /**
   * Asks `change` for the entry's next value (`undefined`: none) and writes it. Settles with both
   * values once it is durable.
   * @throws StanzaError `resource-constraint` when the roster is full, and what `change` throws
   */
  change(
    jid: Jid,
    change: (before: RosterEntry) => RosterEntry | undefined,
  ): Promise<{ readonly before: RosterEntry, readonly after: RosterEntry | undefined }> {
    const turn = this.#turn.then(() => this.#change(jid.bare, change))
    this.#turn = turn.catch(() => {})
    return turn
  }

  async #change(
    jid: string,
    change: (before: RosterEntry) => RosterEntry | undefined,
  ): Promise<{ before: RosterEntry, after: RosterEntry | undefined }> {
    const known = this.#entries.get(jid)
    const before = known ?? blankEntry(jid)
    const next = change(before)
    const after = next === undefined || (!next.isListed && isBlank(next)) ? undefined : next
    if (after === known || (after === undefined && known === undefined)) return { before, after }
    if (known === undefined) this.#assertRoom(after!)
    const version = this.#version + (before.isListed || after?.isListed === true ? 1 : 0)
    await this.#kv.write([
      this.#operation(jid, after),
      { type: 'put', key: this.#versionKey, value: encode(versionCodec, { version }) },
    ])
    this.#version = version
    if (after === undefined) this.#entries.delete(jid)
    else this.#entries.set(jid, after)
    return { before, after }
  }

  #assertRoom(entry: RosterEntry): void {
    const alike = [...this.#entries.values()].filter(({ isListed }) => isListed === entry.isListed).length
    const most = entry.isListed ? xmppLimits.rosterItemsMax : xmppLimits.pendingSubscriptionsMax
    if (alike < most) return
    throw new StanzaError('resource-constraint', `there are ${most} entries already; remove some first`)
  }

  #operation(jid: string, entry: RosterEntry | undefined): KvOperation {
    const hash = crypto.sha256Hex(utf8(jid)).slice(0, 32)
    const key = `roster/${this.#account}/${hash}`
    if (entry === undefined) return { type: 'delete', key }
    return { type: 'put', key, value: encode(entryCodec, { ...entry, groups: [...entry.groups] }) }
  }

  get #versionKey(): string {
    return `roster-version/${this.#account}`
  }
}

function blankEntry(jid: string): RosterEntry {
  return { ...noSubscription, jid, name: undefined, groups: [], isListed: false, request: undefined }
}

/** What a client asks for in a roster set (RFC 6121 §2.1.5): one item, checked. */
export interface RosterItem {
  readonly jid: Jid
  readonly name: string | undefined
  readonly groups: readonly string[]
  readonly isRemoval: boolean
}

/** @throws StanzaError as RFC 6121 §2.3.3 and §2.5.3 say */
export function parseRosterSet(query: XmlElement): RosterItem {
  const items = query.elements('item')
  const [item] = items
  if (item === undefined || items.length !== 1) {
    throw new StanzaError('bad-request', `a roster set has exactly one item, this one has ${items.length}`)
  }
  if (item.attrs.jid === undefined) throw new StanzaError('bad-request', 'the roster item has no jid')
  const jid = Jid.parse(item.attrs.jid)
  if (jid === undefined) throw new StanzaError('jid-malformed', 'the jid of the roster item is malformed')
  const groups = item.elements('group').map((group) => group.text)
  if (new Set(groups).size !== groups.length) throw new StanzaError('bad-request', 'a group appears twice')
  if (groups.includes('')) throw new StanzaError('not-acceptable', 'a group has no name')
  if (groups.length > xmppLimits.rosterGroupsMax) {
    throw new StanzaError('not-acceptable', `an entry has at most ${xmppLimits.rosterGroupsMax} groups`)
  }
  const name = item.attrs.name === '' ? undefined : item.attrs.name
  if ([...groups, name ?? ''].some((one) => one.length > xmppLimits.rosterNameCharactersMax)) {
    const most = xmppLimits.rosterNameCharactersMax
    throw new StanzaError('not-acceptable', `a name has at most ${most} characters`)
  }
  return { jid: jid.toBare(), name, groups, isRemoval: item.attrs.subscription === 'remove' }
}

/** As clients see it in results and pushes. */
export function rosterItem(entry: RosterEntry): XmlElement {
  const { jid, name, groups, ask, approved } = entry
  return el(ns.roster, 'item', {
    jid,
    name,
    subscription: subscriptionName(entry),
    ask: ask ? 'subscribe' : undefined,
    approved: approved ? 'true' : undefined,
  }, ...groups.map((group) => el(ns.roster, 'group', {}, group)))
}
