/**
 * Blocking Command (XEP-0191 1.3): people, domains or single resources that an account does not want
 * to hear of or be seen by. Kept per account, told to all its clients that asked for the list.
 *
 * ```text
 *   blocked/ACCOUNT     JIDs, sorted
 * ```
 */
import { hex } from '../../../crypto/bytes.ts'
import { decode, encode, struct, text, vector } from '../../../protocol/codec/struct.ts'
import { changeEntry } from '../../../protocol/kv.ts'
import type { Account } from '../host/account.ts'
import { ownerOf } from '../host/owner.ts'
import type { HostHooks, XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { parseReport, reportingNs } from './xep-0377-reports.ts'
import type { Reports } from './xep-0377-reports.ts'

const blockingNs = 'urn:xmpp:blocking'
const listCodec = struct<{ readonly jids: string[] }>({ jids: vector(text(3_071), xmppLimits.blockedMax) })
const nobody: ReadonlySet<string> = new Set()

export class Blocking {
  readonly #host: XmppHost
  readonly #lists = new Map<string, ReadonlySet<string>>()

  constructor(host: XmppHost) {
    this.#host = host
  }

  /** Before anything is delivered to an account: its list has to be known. */
  async load(account: Account): Promise<void> {
    if (this.#lists.has(account.id)) return
    const entry = await this.#host.context.kv.get(keyOf(account))
    if (this.#lists.has(account.id)) return
    this.#lists.set(account.id, entry === undefined ? nobody : new Set(decode(listCodec, entry.value).jids))
  }

  /** XEP-0191 §2: a full JID, a bare one, a domain with resource, or a domain. */
  isBlocked(account: Account, { bare, domain, resource, local }: Jid): boolean {
    const list = this.#lists.get(account.id) ?? nobody
    if (list.size === 0 || bare === account.jid.bare) return false
    return list.has(bare) || list.has(domain)
      || (
        resource !== '' && (
          list.has(`${bare}/${resource}`) || (local === '' ? false : list.has(`${domain}/${resource}`))
        )
      )
  }

  list(account: Account): ReadonlySet<string> {
    return this.#lists.get(account.id) ?? nobody
  }

  async change(
    account: Account,
    change: { readonly add?: readonly Jid[], readonly remove?: readonly Jid[] | 'all' },
  ): Promise<void> {
    const { add = [], remove = [] } = change
    let list = new Set<string>()
    await changeEntry(this.#host.context.kv, keyOf(account), (value) => {
      list = new Set(remove === 'all' || value === undefined ? [] : decode(listCodec, value).jids)
      for (const jid of remove === 'all' ? [] : remove) list.delete(jid.toString())
      for (const jid of add) list.add(jid.toString())
      if (list.size > xmppLimits.blockedMax) {
        throw new StanzaError(
          'resource-constraint', `at most ${xmppLimits.blockedMax} addresses can be blocked`,
        )
      }
      return encode(listCodec, { jids: [...list].sort() })
    })
    this.#lists.set(account.id, list)
  }
}

export function serveBlocking(
  host: XmppHost, reports: Reports,
): { readonly blocking: Blocking, readonly hooks: HostHooks } {
  const { iq } = host.context
  const blocking = new Blocking(host)
  iq.addFeatures('server', blockingNs, reportingNs)
  iq.add({
    target: 'account', ns: blockingNs, name: 'blocklist', type: 'get',
    async handle(request) {
      const { account, resource } = await ownerOf(host, request)
      if (resource !== undefined) resource.wantsBlockList = true
      const items = [...blocking.list(account)].map((jid) => el(blockingNs, 'item', { jid }))
      return el(blockingNs, 'blocklist', {}, ...items)
    },
  })
  for (const name of ['block', 'unblock'] as const) {
    iq.add({
      target: 'account', ns: blockingNs, name, type: 'set',
      async handle(request) {
        const { account } = await ownerOf(host, request)
        const jids = itemsOf(request.payload)
        const told = name === 'block' ? request.payload.elements('item').map(parseReport) : []
        if (name === 'block' && jids.length === 0) throw new StanzaError('bad-request', 'nobody is named')
        if (name === 'block') await block(host, blocking, { account, jids })
        else await unblock(host, blocking, { account, jids })
        for (const [i, report] of told.entries()) {
          if (report !== undefined) await reports.add(account.jid, jids[i]!, report)
        }
        push(
          host,
          account,
          el(blockingNs, name, {}, ...jids.map((jid) => el(blockingNs, 'item', { jid: jid.toString() }))),
        )
        return undefined
      },
    })
  }
  const hooks: HostHooks = {
    loading: (account) => blocking.load(account),
    isBlocked: (account, jid) => blocking.isBlocked(account, jid),
    available() {},
    seen() {},
  }
  return { blocking, hooks }
}

/** Contacts that are blocked see the account go (XEP-0191 §3.3). */
async function block(
  host: XmppHost,
  blocking: Blocking,
  { account, jids }: { readonly account: Account, readonly jids: readonly Jid[] },
): Promise<void> {
  if (jids.some((jid) => jid.bare === account.jid.bare)) {
    throw new StanzaError('not-allowed', 'nobody blocks themselves')
  }
  const before = account.roster.subscribers().map((jid) => Jid.parse(jid)!)
  const wereSeen = before.filter((jid) => !blocking.isBlocked(account, jid))
  await blocking.change(account, { add: jids })
  showTo(
    host,
    account,
    { contacts: wereSeen.filter((jid) => blocking.isBlocked(account, jid)), isGone: true },
  )
}

async function unblock(
  host: XmppHost,
  blocking: Blocking,
  { account, jids }: { readonly account: Account, readonly jids: readonly Jid[] },
): Promise<void> {
  const before = account.roster.subscribers().map((jid) => Jid.parse(jid)!)
  const wereBlocked = before.filter((jid) => blocking.isBlocked(account, jid))
  await blocking.change(account, { remove: jids.length === 0 ? 'all' : jids })
  showTo(
    host,
    account,
    { contacts: wereBlocked.filter((jid) => !blocking.isBlocked(account, jid)), isGone: false },
  )
}

function showTo(
  { context }: XmppHost,
  account: Account,
  { contacts, isGone }: { readonly contacts: readonly Jid[], readonly isGone: boolean },
): void {
  for (const { presence, jid } of account.available()) {
    for (const contact of contacts) {
      void context.route(isGone
        ? el(ns.client, 'presence', { from: jid.toString(), to: contact.bare, type: 'unavailable' })
        : presence!.withAttrs({ to: contact.bare }))
    }
  }
}

function push({ context }: XmppHost, account: Account, payload: XmlElement): void {
  for (const { session, wantsBlockList } of account.resources) {
    if (!wantsBlockList) continue
    const id = `push-${hex(context.random.bytes(8))}`
    session.send(el(ns.client, 'iq', { type: 'set', id, to: session.jid.toString() }, payload))
  }
}

function itemsOf(payload: XmlElement): Jid[] {
  return payload.elements('item').map(({ attrs }) => {
    const jid = attrs.jid === undefined ? undefined : Jid.parse(attrs.jid)
    if (jid === undefined) throw new StanzaError('jid-malformed', 'an address of the block list is malformed')
    return jid
  })
}

function keyOf({ id }: Account): string {
  return `blocked/${id}`
}
