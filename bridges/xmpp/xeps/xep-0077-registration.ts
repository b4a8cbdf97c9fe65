/**
 * In-Band Registration (XEP-0077 2.4), by invite only. A stranger shows an invite's token on the
 * stream (XEP-0445 0.2.0) and then chooses name and password; who is logged in changes the app
 * password of that login, or removes the account.
 *
 * ```text
 *   <preauth token/> ─► query get ─► query set (name, password) ─► account, invite used up
 * ```
 *
 * Open registration is not offered: servers that have it are abused and blocked, and `iq-register`
 * among the stream features is how they are found.
 */
import type { LoginAccount } from '../auth/sasl.ts'
import type { Credentials } from '../auth/credentials.ts'
import { preparePassword } from '../auth/passwords.ts'
import type { RegistrationHook } from '../c2s/host-port.ts'
import { ownerOf } from '../host/owner.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { IqRequest } from '../ports.ts'
import { StanzaError, toError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { Invites } from './xep-0401-invites.ts'

const registerNs = 'jabber:iq:register'
const preauthNs = 'urn:xmpp:pars:0'
/** Name of the app password that a registration makes. */
const firstPasswordName = 'first client'

export interface RegistrationParts {
  readonly host: XmppHost
  readonly invites: Invites
  readonly credentials: () => Credentials
  /** Bare. */
  readonly owner: () => string
}

export class Registration implements RegistrationHook {
  readonly #parts: RegistrationParts
  /** Tokens that were shown, by the stream they were shown on. */
  readonly #tokens = new WeakMap<object, string>()
  /** One after the other, so that a name is given once. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(parts: RegistrationParts) {
    this.#parts = parts
  }

  features(): readonly XmlElement[] {
    return [el('urn:xmpp:invite', 'register'), el('urn:xmpp:ibr-token:0', 'register')]
  }

  async receive(element: XmlElement, stream: object): Promise<XmlElement | undefined> {
    const [payload] = element.elements()
    if (!element.is('iq', ns.client) || payload === undefined) return undefined
    const { type, id } = element.attrs
    if (!payload.is('preauth', preauthNs) && !payload.is('query', registerNs)) return undefined
    try {
      const answer = await this.#answer(stream, type, payload)
      return el(ns.client, 'iq', { type: 'result', id, from: this.#parts.host.context.domain }, answer)
    } catch (error) {
      if (error instanceof StanzaError) return toError(element, error)
      throw error
    }
  }

  async #answer(
    stream: object, type: string | undefined, payload: XmlElement,
  ): Promise<XmlElement | undefined> {
    const { invites } = this.#parts
    if (payload.is('preauth', preauthNs)) {
      const { token = '' } = payload.attrs
      if (type !== 'set' || await invites.find(token) === undefined) throw overdue()
      this.#tokens.set(stream, token)
      return undefined
    }
    const token = this.#tokens.get(stream)
    if (token === undefined) throw new StanzaError('not-allowed', 'an address is made by invite only')
    const local = (await invites.find(token))?.local
    if (type === 'get') {
      return el(registerNs, 'query', {},
        el(registerNs, 'instructions', {}, 'choose what stands before the @, and a password'),
        el(registerNs, 'username', {}, local), el(registerNs, 'password'))
    }
    if (type !== 'set') throw new StanzaError('bad-request')
    const turn = this.#turn.then(() => this.#register(token, payload))
    this.#turn = turn.catch(() => {})
    await turn
    this.#tokens.delete(stream)
    return undefined
  }

  async #register(token: string, query: XmlElement): Promise<void> {
    const { host, invites, credentials } = this.#parts
    const name = query.childText('username') ?? ''
    const password = passwordOf(query)
    const jid = Jid.parseStrict(`${name}@${host.context.domain}`)
    if (jid === undefined || jid.local === '' || jid.local.length > xmppLimits.localpartCharactersMax) {
      throw new StanzaError('not-acceptable', 'this cannot stand before the @ of an address')
    }
    const invite = await invites.find(token)
    if (invite === undefined) throw overdue()
    if (invite.local !== undefined && invite.local !== jid.local) {
      throw new StanzaError('not-acceptable', `this invite is for ${invite.local}`)
    }
    if (await host.accounts.record(jid.local) !== undefined) {
      throw new StanzaError('conflict', 'somebody has this address already')
    }
    if (!await invites.use(token)) throw overdue()
    const { id, local } = await host.accounts.create(jid.local)
    await credentials().set({ id, local }, { name: firstPasswordName, password })
  }
}

export function serveRegistration(parts: RegistrationParts): RegistrationHook {
  const { iq } = parts.host.context
  iq.addFeatures('server', registerNs)
  for (const target of ['server', 'account'] as const) {
    iq.add({
      target, ns: registerNs, name: 'query',
      handle: (request) => target === 'server' || request.from.bare === request.to.bare
        ? changeOwn(parts, request)
        : Promise.reject(new StanzaError('forbidden', 'this is for the account itself alone')),
    })
  }
  return new Registration(parts)
}

/** By somebody who is logged in (XEP-0077 §3.2, §3.3). */
async function changeOwn(
  { host, credentials, owner }: RegistrationParts, { type, from, payload, stanza }: IqRequest,
): Promise<XmlElement | undefined> {
  const { account, resource } = await ownerOf(host, { from, to: from.toBare() })
  const login: LoginAccount = { id: account.id, local: account.jid.local }
  if (type === 'get') {
    return el(registerNs, 'query', {},
      el(registerNs, 'registered'), el(registerNs, 'username', {}, login.local), el(registerNs, 'password'))
  }
  if (payload.child('remove') === undefined) {
    if (payload.childText('username') !== login.local) {
      throw new StanzaError('not-allowed', 'a password is changed by its own account')
    }
    const password = passwordOf(payload)
    const { passwordId } = resource?.session ?? {}
    if (passwordId === undefined) throw new StanzaError('unexpected-request', 'log in by a password first')
    await credentials().change(login, { passwordId, password })
    return undefined
  }
  if (payload.elements().length > 1) throw new StanzaError('bad-request', 'remove stands alone')
  if (account.jid.bare === owner()) {
    throw new StanzaError('not-allowed', 'the address of the node\'s owner stays')
  }
  for (const { jid } of account.roster.listed()) await host.presence.remove(account, Jid.parse(jid)!)
  // Its sessions end with its passwords: the answer goes first.
  resource?.session.send(el(ns.client, 'iq', { type: 'result', id: stanza.attrs.id, to: from.toString() }))
  await host.accounts.remove(login.local)
  for (const { name } of await credentials().list(login.id)) await credentials().revoke(login.id, name)
  await host.accounts.erase(login.id)
  return undefined
}

function passwordOf(query: XmlElement): string {
  const password = query.childText('password') ?? ''
  const least = xmppLimits.chosenPasswordCharactersMin
  if (preparePassword(password) !== undefined && [...password].length >= least) return password
  throw new StanzaError('not-acceptable', `a password has at least ${least} characters, no control ones`)
}

function overdue(): StanzaError {
  return new StanzaError('item-not-found', 'this invite is used up, too old, or was never made')
}
