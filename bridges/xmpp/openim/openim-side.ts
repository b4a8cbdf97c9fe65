/**
 * The openIM side of the bridge: whose account is whose, the contacts' component, and the feed of each
 * account's history. Every address of the domain has an account on openIM, hosted by this node: the
 * owner's is the node's own, and the name before the @ is the node's; the others' are made with their
 * addresses and removed with them (node/hosted-accounts.ts, by the id of the XMPP account).
 *
 * ```text
 *   account made, removed ──► count ──► hosted.open, hosted.remove ──┐
 *   each look: has the client come or gone (household)? ◄────────────┘ ──► HistoryFeed
 * ```
 */
import { errorCode } from '../../../crypto/errors.ts'
import type { BridgeHost, HostedAccount } from '../../../node/bridge-host.ts'
import type { ClientApi } from '../../../protocol/client/api.ts'
import { limits } from '../../../protocol/limits.ts'
import { Repeater } from '../../../protocol/timers.ts'
import type { Account } from '../host/account.ts'
import type { AccountRecord } from '../host/accounts.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { ContactComponent } from './contact-component.ts'
import type { OpenImLinks } from './contact-component.ts'
import { HistoryFeed } from './history-feed.ts'
import { SentIds } from './sent-ids.ts'

interface Side {
  readonly account: Account
  feed: { readonly client: ClientApi, readonly feed: HistoryFeed } | undefined
}

export class OpenImSide {
  readonly component: ContactComponent
  readonly #host: XmppHost
  readonly #node: BridgeHost
  readonly #links: OpenImLinks
  readonly #turns = new WeakMap<Account, Promise<unknown>>()
  /** By the id of the XMPP account. */
  readonly #sides = new Map<string, Side>()
  #owner: Account | undefined
  /** Accounts were made or removed. */
  #isCountDue = true
  #follow: Repeater | undefined

  constructor({ host, node }: { host: XmppHost, node: BridgeHost }) {
    this.#host = host
    this.#node = node
    const { kv, clock } = node
    this.#links = {
      sentIds: new SentIds({ kv, clock }),
      client: (account) => this.client(account),
      inTurn: (account, work) => this.#inTurn(account, work),
    }
    this.component = new ContactComponent(host, this.#links, { domain: `oim.${host.context.domain}` })
  }

  /** The owner's address. @throws XMPP_LOCALPART */
  async prepare(): Promise<void> {
    const local = localpartOf(this.#node.owner.name)
    const record = await this.#host.accounts.create(local)
    this.#owner = await this.#host.accounts.pin(new Jid(record.local, this.#host.context.domain))
    this.#sides.set(record.id, { account: this.#owner!, feed: undefined })
  }

  get ownerAddress(): string {
    return this.#owner!.jid.bare
  }

  /** openIM addresses by the id of the XMPP account. */
  async addresses(): Promise<ReadonlyMap<string, string>> {
    const others = [...await this.#persons()].map(([id, { address }]) => [id, address] as const)
    return new Map([[this.#owner!.id, this.#node.owner.address], ...others])
  }

  /** Follows the hosted accounts, which in a household come and go. */
  async start(): Promise<void> {
    const { clock, random } = this.#node
    await this.#look()
    this.#follow = new Repeater({ clock, random }, () => this.#look(), {
      everyMs: xmppLimits.hostedLookMs,
      onError: this.#host.context.failed('the hosted accounts could not be followed'),
    })
    this.#follow.start()
    this.#host.accounts.listen(() => {
      this.#isCountDue = true
      this.#follow?.soon()
    })
  }

  async stop(): Promise<void> {
    await this.#follow?.stop()
    await Promise.all([...this.#sides.values()].map((side) => this.#unfeed(side)))
  }

  async #look(): Promise<void> {
    if (this.#isCountDue) {
      this.#isCountDue = false
      await this.#count().catch((error: unknown) => {
        this.#isCountDue = true
        throw error
      })
    }
    for (const side of this.#sides.values()) await this.#attend(side)
  }

  async #attend(side: Side): Promise<void> {
    const { account, feed: known } = side
    const client = this.client(account)
    if (client === known?.client) return
    await this.#unfeed(side)
    if (client === undefined) return
    const parts = { host: this.#host, links: this.#links, component: this.component }
    const feed = new HistoryFeed(parts, { account, client })
    side.feed = { client, feed }
    await feed.start()
  }

  async #unfeed(side: Side): Promise<void> {
    const { feed } = side
    side.feed = undefined
    await feed?.feed.stop()
  }

  /** Accounts on openIM are those of our addresses, whatever broke off before. */
  async #count(): Promise<void> {
    const records = await this.#host.accounts.list()
    const ids = new Set(records.map(({ id }) => id))
    for (const [id, side] of this.#sides) {
      if (ids.has(id)) continue
      await this.#unfeed(side)
      this.#sides.delete(id)
    }
    for (const id of (await this.#persons()).keys()) {
      if (ids.has(id)) continue
      try {
        await this.#node.hosted.remove(id)
        await this.#host.accounts.erase(id)
      } catch (error) {
        // Tried again until its seat comes here.
        if (errorCode(error) !== 'HOUSEHOLD_ELSEWHERE') throw error
        this.#isCountDue = true
      }
    }
    const missing = records.filter(({ id }) => !this.#sides.has(id))
    missing.sort((a, b) => a.createdAtMs - b.createdAtMs)
    const waiting = missing.values()
    const begin = async (): Promise<void> => {
      for (const record of waiting) if (!await this.#begin(record)) return
    }
    await Promise.all(Array.from({ length: xmppLimits.hostedBegunAtOnce }, begin))
  }

  /** Whether there may be room for more. */
  async #begin({ id, local }: AccountRecord): Promise<boolean> {
    try {
      await this.#node.hosted.open(id, { kind: 'person', shownAs: shownAs(local) })
    } catch (error) {
      const code = errorCode(error)
      if (code === 'HOSTED_LIMIT') {
        this.#node.log.warn({ code, account: local }, 'this address has no account on openIM')
        return false
      }
      // Another process of the household hosts it at the moment; it may come here.
      if (code !== 'HOUSEHOLD_ELSEWHERE') throw error
    }
    const account = await this.#host.accounts.pin(new Jid(local, this.#host.context.domain))
    if (account?.id === id) this.#sides.set(id, { account, feed: undefined })
    return true
  }

  /** `undefined`: it has none, or another process of the household hosts it. */
  client(account: Account): ClientApi | undefined {
    return account === this.#owner ? this.#node.client() : this.#node.hosted.client(account.id)
  }

  /** By the id of the XMPP account. */
  async #persons(): Promise<Map<string, HostedAccount>> {
    const hosted = await this.#node.hosted.list()
    return new Map(hosted.filter(({ kind }) => kind === 'person').map((one) => [one.name, one]))
  }

  #inTurn<T>(account: Account, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(account) ?? Promise.resolve()).then(work)
    this.#turns.set(account, turn.catch(() => {}))
    return turn
  }
}

/** The node's name as it can stand before an @: `Anna's home` is `annas-home`. */
export function localpartOf(name: string): string {
  const plain = name.normalize('NFKC').toLowerCase().replace(/[\s_]+/g, '-').replace(/[^\p{L}\p{N}.-]/gu, '')
  const local = plain.replace(/^[.-]+|[.-]+$/g, '').slice(0, xmppLimits.localpartCharactersMax)
  return local === '' ? 'me' : local
}

/** What stands before the @, as far as it fits. */
function shownAs(local: string): string {
  const characters = [...local]
  while (Buffer.byteLength(characters.join('')) > limits.nameBytesMax) characters.pop()
  return characters.join('')
}
