/**
 * A small host behind the clients' side of the XMPP server: hands messages between accounts, keeps
 * what nobody took, and answers pings. Real enough for two clients to talk; rosters and presence are
 * not its business.
 */
import type { LoginAccount } from '../../bridges/xmpp/auth/sasl.ts'
import type { BindRequest, ClientHost, HostedSession } from '../../bridges/xmpp/c2s/host-port.ts'
import { Jid } from '../../bridges/xmpp/jid.ts'
import { StanzaError, toError } from '../../bridges/xmpp/stanza-errors.ts'
import { el } from '../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../bridges/xmpp/xml/element.ts'
import { ns } from '../../bridges/xmpp/xml/names.ts'

export class SmallHost implements ClientHost {
  readonly #accounts = new Map<string, LoginAccount>()
  readonly sessions = new Set<HostedSession>()
  /** Messages that reached no client for certain, by local part. */
  readonly waiting = new Map<string, XmlElement[]>()
  /** Messages that a client has for certain. */
  arrived = 0
  readonly ended: HostedSession[] = []
  readonly bound: BindRequest[] = []
  /** Held back until it settles: a store that takes its time. */
  delay: Promise<void> | undefined
  refusal: StanzaError | undefined

  constructor(locals: readonly string[]) {
    for (const [i, local] of locals.entries()) {
      this.#accounts.set(local, { id: `${i}`.padStart(16, '0'), local })
    }
  }

  known(local: string): LoginAccount {
    return this.#accounts.get(local)!
  }

  async account(local: string): Promise<LoginAccount | undefined> {
    return this.#accounts.get(local)
  }

  async bind(session: HostedSession, request: BindRequest): Promise<readonly XmlElement[]> {
    if (this.refusal !== undefined) throw this.refusal
    this.sessions.add(session)
    this.bound.push(request)
    const left = this.waiting.get(session.account.local) ?? []
    this.waiting.delete(session.account.local)
    for (const stanza of left) session.send(stanza, () => { this.arrived++ })
    return []
  }

  async receive(session: HostedSession, stanza: XmlElement): Promise<void> {
    await this.delay
    if (stanza.name === 'message') this.#deliver(stanza)
    else if (stanza.name === 'iq') session.send(this.#answer(stanza))
  }

  async unbound(session: HostedSession): Promise<void> {
    this.sessions.delete(session)
    this.ended.push(session)
  }

  async undelivered(_session: HostedSession, stanzas: readonly XmlElement[]): Promise<void> {
    for (const stanza of stanzas) if (stanza.name === 'message') this.#deliver(stanza)
  }

  #deliver(stanza: XmlElement): void {
    const { local, resource } = Jid.parse(stanza.attrs.to ?? '') ?? new Jid('', '')
    const all = [...this.sessions].filter(({ account }) => account.local === local)
    const named = all.filter(({ jid }) => jid.resource === resource)
    const targets = named.length > 0 ? named : all
    if (targets.length === 0) this.waiting.set(local, [...this.waiting.get(local) ?? [], stanza])
    for (const target of targets) target.send(stanza, () => { this.arrived++ })
  }

  #answer(iq: XmlElement): XmlElement {
    const { id, from } = iq.attrs
    if (iq.child('ping', 'urn:xmpp:ping') !== undefined) return el(
      ns.client, 'iq', { type: 'result', id, to: from },
    )
    return toError(iq, new StanzaError('service-unavailable'))
  }
}
