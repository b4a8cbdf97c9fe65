/**
 * The openIM side of the bridge: whose account is whose, the contacts' component, and the feed of each
 * account's history. The owner's account is hosted by the node; the name before the @ is the node's.
 */
import type { BridgeHost } from '../../../node/bridge-host.ts'
import type { ClientApi } from '../../../protocol/client/api.ts'
import { Repeater } from '../../../protocol/timers.ts'
import type { Account } from '../host/account.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { ContactComponent } from './contact-component.ts'
import type { OpenImLinks } from './contact-component.ts'
import { HistoryFeed } from './history-feed.ts'
import { SentIds } from './sent-ids.ts'

export class OpenImSide {
  readonly component: ContactComponent
  readonly #host: XmppHost
  readonly #node: BridgeHost
  readonly #links: OpenImLinks
  readonly #turns = new WeakMap<Account, Promise<unknown>>()
  #owner: Account | undefined
  #feed: { readonly client: ClientApi, readonly feed: HistoryFeed } | undefined
  #follow: Repeater | undefined

  constructor({ host, node }: { host: XmppHost, node: BridgeHost }) {
    this.#host = host
    this.#node = node
    const { kv, clock } = node
    this.#links = {
      sentIds: new SentIds({ kv, clock }),
      client: (account) => account === this.#owner ? node.client() : undefined,
      inTurn: (account, work) => this.#inTurn(account, work),
    }
    this.component = new ContactComponent(host, this.#links, { domain: `oim.${host.context.domain}` })
  }

  /** The owner's address. @throws XMPP_LOCALPART */
  async prepare(): Promise<void> {
    const local = localpartOf(this.#node.owner.name)
    const record = await this.#host.accounts.create(local)
    this.#owner = await this.#host.accounts.pin(new Jid(record.local, this.#host.context.domain))
  }

  get ownerAddress(): string {
    return this.#owner!.jid.bare
  }

  /** Follows the hosted account, which in a household comes and goes. */
  async start(): Promise<void> {
    const { clock, random } = this.#node
    await this.#look()
    this.#follow = new Repeater({ clock, random }, () => this.#look(), {
      everyMs: xmppLimits.hostedLookMs,
      onError: this.#host.context.failed('the hosted account could not be followed'),
    })
    this.#follow.start()
  }

  async stop(): Promise<void> {
    await this.#follow?.stop()
    await this.#feed?.feed.stop()
    this.#feed = undefined
  }

  async #look(): Promise<void> {
    const client = this.#node.client()
    if (client === this.#feed?.client) return
    await this.#feed?.feed.stop()
    this.#feed = undefined
    if (client === undefined || this.#owner === undefined) return
    const parts = { host: this.#host, links: this.#links, component: this.component }
    const feed = new HistoryFeed(parts, { account: this.#owner, client })
    this.#feed = { client, feed }
    await feed.start()
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
