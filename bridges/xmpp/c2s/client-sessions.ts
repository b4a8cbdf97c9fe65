/**
 * All sessions of clients: who has which resource, and what a client resumes by (XEP-0198). Of two with
 * the same resource, or of the same client, the newer stays (RFC 6120 §7.7.2.2): it is the older one
 * that lost its connection.
 */
import { createHash } from 'node:crypto'
import type { Random } from '../../../crypto/random.ts'
import type { Clock } from '../../../protocol/ports.ts'
import type { LoginAccount } from '../auth/sasl.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { XmlElement } from '../xml/element.ts'
import { ClientSession, smFailed, wholeNumber } from './client-session.ts'
import type { ClientHost } from './host-port.ts'
import type { SessionLink } from './session-link.ts'

export interface ClientSessionsComponents {
  readonly clock: Clock
  readonly random: Random
  readonly host: ClientHost
  readonly onError: (error: unknown) => void
}

export interface WantedBinding {
  readonly account: LoginAccount
  readonly passwordId: string
  /** How the client names itself; then its resource is the same each time. */
  readonly clientId?: string
  /** As the client wants it (RFC 6120 §7.7). */
  readonly resource?: string
  /** What its name begins with (XEP-0386 §3.2). */
  readonly tag?: string
  readonly wantsCarbons?: boolean
}

export interface Bound {
  readonly session: ClientSession
  /** For `<bound/>`. */
  readonly extras: readonly XmlElement[]
}

export class ClientSessions {
  readonly #components: ClientSessionsComponents
  readonly #domain: string
  /** By full JID. */
  readonly #bound = new Map<string, ClientSession>()
  readonly #resumable = new Map<string, ClientSession>()
  /** Of sessions that ended: whose they were, and how much of the client's was handled. */
  readonly #gone = new Map<string, { readonly accountId: string, readonly h: number }>()

  constructor(components: ClientSessionsComponents, { domain }: { domain: string }) {
    this.#components = components
    this.#domain = domain
  }

  get size(): number {
    return this.#bound.size
  }

  /** @throws StanzaError `bad-request` for a resource that cannot be one, and what the host throws */
  async bind(link: SessionLink, wanted: WantedBinding): Promise<Bound> {
    const { account, passwordId, clientId } = wanted
    const jid = this.#addressOf(wanted)
    for (const other of this.#rivals(jid, wanted)) {
      other.close('conflict', 'another connection took its place')
    }
    const { clock, host, onError } = this.#components
    const session = new ClientSession(
      { clock, host, onError, ended: (gone) => this.#forget(gone) },
      link,
      { account, jid, passwordId, clientId },
    )
    this.#bound.set(jid.toString(), session)
    try {
      const extras = await host.bind(session, { wantsCarbons: wanted.wantsCarbons === true })
      return { session, extras }
    } catch (error) {
      if (this.#bound.get(jid.toString()) === session) this.#bound.delete(jid.toString())
      throw error
    }
  }

  /** Counting begins (XEP-0198 §3). The answer. */
  enable(session: ClientSession, request: XmlElement): XmlElement {
    const id = Buffer.from(this.#components.random.bytes(24)).toString('base64url')
    const answer = session.enable(request, id)
    if (session.resumeId === id) this.#resumable.set(id, session)
    return answer
  }

  /**
   * `<resume/>` of somebody who proved to be `account`: the session, or `<failed/>` to be sent. A
   * session of somebody else is answered like one that does not exist.
   */
  async resume(
    link: SessionLink,
    { account, request, announce }: {
      readonly account: LoginAccount
      readonly request: XmlElement
      /** Tells the client, with our count, before stanzas follow. */
      readonly announce: (session: ClientSession, h: number) => void
    },
  ): Promise<ClientSession | XmlElement> {
    const { previd = '' } = request.attrs
    const h = wholeNumber(request.attrs.h)
    if (h === undefined) return smFailed('bad-request')
    const session = this.#resumable.get(previd)
    const isOwn = session?.account.id === account.id
    const isResumed = isOwn && await session.resume(link, h, (ours) => announce(session, ours))
    if (isResumed) return session
    const gone = this.#gone.get(previd)
    return smFailed('item-not-found', gone?.accountId === account.id ? gone.h : undefined)
  }

  /** What was logged in with an app password that is no more. */
  revoke(accountId: string, passwordId?: string): void {
    for (const session of [...this.#bound.values()]) {
      if (session.account.id !== accountId) continue
      if (passwordId !== undefined && session.passwordId !== passwordId) continue
      session.close('not-authorized', 'the app password of this device was revoked')
    }
  }

  /** Settles when the host has what is left of them. */
  async stop(): Promise<void> {
    const sessions = [...this.#bound.values()]
    for (const session of sessions) session.close('system-shutdown')
    await Promise.all(sessions.map((session) => session.left))
  }

  #addressOf({ account, clientId, resource, tag }: WantedBinding): Jid {
    if (resource !== undefined && resource !== '') {
      const isShort = Buffer.byteLength(resource) <= xmppLimits.resourceBytesMax
      const given = isShort ? this.#jid(account, resource) : undefined
      if (given !== undefined) return given
      throw new StanzaError('bad-request', 'the resource cannot be part of an address')
    }
    const own = clientId === undefined
      ? Buffer.from(this.#components.random.bytes(12)).toString('base64url')
      : createHash('sha256').update(`${account.id} ${clientId}`).digest('base64url').slice(0, 16)
    const isTagUsable = tag !== undefined && tag !== '' && tag.length <= xmppLimits.resourceTagCharactersMax
    return isTagUsable && this.#jid(account, `${tag}/${own}`) || new Jid(account.local, this.#domain, own)
  }

  #jid({ local }: LoginAccount, resource: string): Jid | undefined {
    return Jid.parse(`${local}@${this.#domain}/${resource}`)
  }

  #rivals(jid: Jid, { account, clientId }: WantedBinding): ClientSession[] {
    const full = jid.toString()
    return [...this.#bound.values()].filter((other) => other.account.id === account.id
      && (other.jid.toString() === full || clientId !== undefined && other.clientId === clientId))
  }

  #forget(session: ClientSession): void {
    const full = session.jid.toString()
    if (this.#bound.get(full) === session) this.#bound.delete(full)
    const { resumeId, account, h } = session
    if (!this.#resumable.delete(resumeId)) return
    this.#gone.set(resumeId, { accountId: account.id, h })
    if (this.#gone.size <= xmppLimits.endedSessionsRemembered) return
    this.#gone.delete(this.#gone.keys().next().value!)
  }
}
