/**
 * From an account's openIM history to its XMPP side: what contacts wrote, what other devices of the
 * account wrote, and what became of messages. The place in the history is written in one batch with
 * the archive entry of each message, so that a crash neither loses nor doubles one.
 *
 * ```text
 *   oim-cursor/ACCOUNT      how far the history is known to the XMPP side
 *   entry in  ──► message from ADDRESS@oim.… ──► archive, offline mark, devices
 *   entry out ──► written by one of our XMPP devices? nothing : archive, carbon to all devices
 * ```
 */
import { decode, encode, struct, u64 } from '../../../protocol/codec/struct.ts'
import type {
  ClientApi, ClientEvent, Contact, HistoryEntry, MessageStatus,
} from '../../../protocol/client/api.ts'
import type { KvOperation } from '../../../protocol/ports.ts'
import { Along } from '../along.ts'
import type { Account } from '../host/account.ts'
import { delayOf } from '../host/messages.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { ContactComponent, OpenImLinks } from './contact-component.ts'
import { historyId } from './history-ids.ts'
import { markersNs, receiptsNs } from './names.ts'

const cursorCodec = struct<{ readonly cursor: number }>({ cursor: u64 })
const pageSize = 200
/** Older than this when it comes to the XMPP side: it says when it was written. */
const delayAfterMs = 10_000
/** Petnames change and are in doubt rarely; the roster says which are openIM's, and where encryption ends. */
const rosterGroup = 'openIM'

export interface HistoryFeedParts {
  readonly host: XmppHost
  readonly links: OpenImLinks
  readonly component: ContactComponent
}

export class HistoryFeed {
  readonly #parts: HistoryFeedParts
  readonly #account: Account
  readonly #client: ClientApi
  #unsubscribe: (() => void) | undefined
  #isStopped = false
  #isDue = false
  #running: Promise<void> | undefined

  constructor(parts: HistoryFeedParts, { account, client }: { account: Account, client: ClientApi }) {
    this.#parts = parts
    this.#account = account
    this.#client = client
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#client.on((event) => this.#event(event))
    for (const contact of await this.#client.contacts()) await this.#list(contact)
    this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#unsubscribe?.()
    await this.#running
  }

  #event(event: ClientEvent): void {
    const { failed } = this.#parts.host.context
    if (event.type === 'message' || event.type === 'file') this.#run()
    if (event.type === 'status') {
      if (event.status.state === 'queued') this.#run()
      else this.#tell(event.status).catch(failed('what became of a message was not told'))
    }
    if (event.type === 'contact') {
      this.#list(event.contact).catch(failed('a contact was not put into the roster'))
    }
  }

  #run(): void {
    this.#isDue = true
    this.#running ??= this.#catchUp()
      .catch(this.#parts.host.context.failed('the history could not be passed on to XMPP'))
      .finally(() => {
        this.#running = undefined
        if (this.#isDue && !this.#isStopped) this.#run()
      })
  }

  async #catchUp(): Promise<void> {
    while (this.#isDue && !this.#isStopped) {
      this.#isDue = false
      const isMore = await this.#parts.links.inTurn(this.#account, () => this.#page())
      if (isMore) this.#isDue = true
    }
  }

  async #page(): Promise<boolean> {
    const { kv } = this.#parts.host.context
    const key = `oim-cursor/${this.#account.id}`
    const kept = await kv.get(key)
    const after = kept === undefined ? 0 : decode(cursorCodec, kept.value).cursor
    const entries = await this.#client.history({ after, limit: pageSize })
    const contacts = new Map((await this.#client.contacts()).map((contact) => [contact.name, contact]))
    for (const entry of entries) {
      if (this.#isStopped) return false
      const step: KvOperation = { type: 'put', key, value: encode(cursorCodec, { cursor: entry.cursor }) }
      const contact = contacts.get(entry.contact)
      if (contact === undefined || !await this.#pass(entry, contact, step)) await kv.write([step])
    }
    return entries.length === pageSize
  }

  /** Whether it was written down with `step`. */
  async #pass(entry: HistoryEntry, contact: Contact, step: KvOperation): Promise<boolean> {
    const { host, links, component } = this.#parts
    const peer = component.jidOf(contact)
    const { jid } = this.#account
    if (entry.direction === 'out') {
      if (await links.sentIds.find(this.#account.id, entry.id) !== undefined) return false
      const attrs = { from: jid.bare, to: peer.bare, type: 'chat', id: historyId(entry) }
      await host.messages.sentElsewhere(this.#account, this.#message(entry, attrs), [step])
      return true
    }
    const message = this.#message(
      entry, { from: peer.bare, to: jid.bare, type: 'chat', id: historyId(entry) },
    )
    const along = new Along(host.context.kv, [step])
    try {
      await host.messages.toAccount(this.#account, jid, message, along)
      return along.isWritten
    } catch (error) {
      // Blocked by the account, or its mailbox is full: it stays in the openIM history.
      if (error instanceof StanzaError) return false
      throw error
    }
  }

  #message(entry: HistoryEntry, attrs: Readonly<Record<string, string>>): XmlElement {
    const { clock, domain } = this.#parts.host.context
    const isLate = clock.now() - entry.sentAtMs > delayAfterMs
    return el(ns.client, 'message', attrs,
      el(ns.client, 'body', {}, bodyOf(entry)),
      el(markersNs, 'markable'),
      el(ns.hints, 'store'),
      isLate ? delayOf(`oim.${domain}`, entry.sentAtMs) : undefined)
  }

  /** A state of a message that one of our XMPP devices wrote. */
  async #tell(status: MessageStatus): Promise<void> {
    const { host, links, component } = this.#parts
    const sent = await links.sentIds.find(this.#account.id, status.id)
    if (sent === undefined || sent.stanzaId === '') return
    const contact = await this.#client.contact(status.contact)
    const from = component.jidOf(contact).bare
    const attrs = { from, to: this.#account.jid.bare, type: 'chat', id: `${status.id}-${status.state}` }
    const { stanzaId: id } = sent
    if (status.state === 'failed') {
      const error = new StanzaError(
        'recipient-unavailable', `not delivered: ${status.code ?? 'no reason known'}`,
      )
      const bounce = { from, to: sent.from, type: 'error', id }
      await host.context.route(el(ns.client, 'message', bounce, error.toElement()))
    }
    if (status.state === 'delivered' && sent.wantsReceipt) {
      await host.context.route(
        el(ns.client, 'message', attrs, el(receiptsNs, 'received', { id }), el(ns.hints, 'store')),
      )
    }
    if (status.state === 'read' && sent.wantsMarker) {
      await host.context.route(
        el(ns.client, 'message', attrs, el(markersNs, 'displayed', { id }), el(ns.hints, 'store')),
      )
    }
  }

  /** Contacts are in the roster by themselves, both ways, under their petname. */
  async #list(contact: Contact): Promise<void> {
    const { host, component } = this.#parts
    const jid = component.jidOf(contact)
    const known = this.#account.roster.get(jid)
    if (known?.isListed === true && known.name === contact.name && known.to) return
    const { before, after } = await this.#account.roster.change(jid, (entry) => ({
      ...entry,
      name: contact.name,
      groups: entry.isListed ? entry.groups : [rosterGroup],
      isListed: true, to: true, from: true, ask: false, pendingIn: false, approved: false,
    }))
    host.presence.pushChange(this.#account, before, after)
  }
}

/** For people whose client knows only text. */
function bodyOf({ text, file, unreadable, afterGap, alarm }: HistoryEntry): string {
  const notes = [
    ...afterGap === true ? ['(a message before this one never came)'] : [],
    ...alarm === undefined ? [] : [`(the key of this contact is in doubt: ${alarm})`],
  ]
  if (unreadable !== undefined) {
    return [...notes, `(a message that could not be read: ${unreadable})`].join(' ')
  }
  if (file !== undefined) {
    return [...notes, `(a file: ${file.name}, ${file.size} bytes; openim files shows it)`].join(' ')
  }
  return [...notes, text].join(' ')
}
