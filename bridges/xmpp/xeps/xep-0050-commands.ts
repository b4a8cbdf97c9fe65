/**
 * Ad-Hoc Commands (XEP-0050 1.3.0) of the server: one round of a form at most. What a command does
 * stands in the file of its XEP; here are sessions, forms, and who sees which command.
 *
 * ```text
 *   execute ──► no form: run ──────────────────────────────► completed
 *          └──► form, session ──► complete with the form ──► completed
 *                            └──► cancel, or the time is up ► canceled, bad-sessionid
 * ```
 */
import { hex } from '../../../crypto/bytes.ts'
import { OpenIMError } from '../../../crypto/errors.ts'
import type { Account } from '../host/account.ts'
import type { Resource } from '../host/resource.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { xmppLimits } from '../limits.ts'
import type { IqRequest } from '../ports.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { StanzaCondition } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export const commandsNs = 'http://jabber.org/protocol/commands'

export interface CommandField {
  readonly name: string
  readonly type: 'text-single' | 'text-multi' | 'jid-single' | 'jid-multi'
  readonly label: string
  readonly isRequired?: boolean
}

/** What a form says: values by field. */
export type FormValues = ReadonlyMap<string, readonly string[]>

export interface CommandResultField {
  readonly name: string
  readonly label: string
  readonly values: readonly string[]
}

export interface CommandOutcome {
  readonly note?: string
  readonly fields?: readonly CommandResultField[]
}

export interface Command {
  readonly node: string
  readonly title: string
  /** `FORM_TYPE` of its forms. */
  readonly formType: string
  /** What it asks for; empty: nothing, it runs at once. */
  readonly fields: readonly CommandField[]
  /** Others neither see nor run it. */
  isFor(account: Account): boolean
  /** @throws StanzaError, XMPP_* */
  run(account: Account, values: FormValues, resource: Resource): Promise<CommandOutcome>
}

interface CommandSession {
  /** Full JID of the client that began it. */
  readonly owner: string
  readonly node: string
  readonly untilMs: number
}

export class Commands {
  readonly #host: XmppHost
  readonly #commands = new Map<string, Command>()
  /** The oldest first. */
  readonly #sessions = new Map<string, CommandSession>()

  constructor(host: XmppHost) {
    this.#host = host
  }

  add(...commands: readonly Command[]): void {
    for (const command of commands) this.#commands.set(command.node, command)
  }

  /** Those that somebody may run; of other domains nobody may. */
  async of({ from }: IqRequest): Promise<Command[]> {
    const account = await this.#host.context.account(from)
    return account === undefined ? [] : [...this.#commands.values()].filter((one) => one.isFor(account))
  }

  /** @throws StanzaError */
  async handle(request: IqRequest): Promise<XmlElement> {
    const { node = '', action = 'execute', sessionid } = request.payload.attrs
    const account = await this.#host.context.account(request.from)
    const command = this.#commands.get(node)
    if (command === undefined) throw new StanzaError('item-not-found', 'there is no such command')
    const resource = account?.resource(request.from.resource)
    if (account === undefined || resource === undefined || !command.isFor(account)) {
      throw new StanzaError('forbidden', 'this command is not for you')
    }
    const owner = request.from.toString()
    if (sessionid !== undefined) this.#endSession(sessionid, { owner, node })
    const answer = (status: string, id: string, ...inside: readonly XmlElement[]): XmlElement =>
      el(commandsNs, 'command', { node, status, sessionid: id }, ...inside)
    if (action === 'cancel' && sessionid !== undefined) return answer('canceled', sessionid)
    if (action !== 'execute' && action !== 'complete' && action !== 'next') {
      throw commandError('bad-request', action === 'prev' ? 'bad-action' : 'malformed-action')
    }
    if (sessionid === undefined && action !== 'execute') throw commandError('bad-request', 'bad-sessionid')
    const id = sessionid ?? hex(this.#host.context.random.bytes(16))
    if (sessionid === undefined && command.fields.length > 0) {
      this.#begin(id, { owner, node })
      const actions = el(commandsNs, 'actions', { execute: 'complete' }, el(commandsNs, 'complete'))
      return answer('executing', id, actions, formOf(command))
    }
    const values = sessionid === undefined ? new Map() : readForm(request.payload, command)
    const outcome = await command.run(account, values, resource).catch(refused)
    return answer('completed', id, ...resultOf(command, outcome))
  }

  #begin(id: string, session: Omit<CommandSession, 'untilMs'>): void {
    const now = this.#host.context.clock.now()
    for (const [known, { untilMs }] of this.#sessions) {
      if (untilMs > now && this.#sessions.size < xmppLimits.commandSessionsMax) break
      this.#sessions.delete(known)
    }
    this.#sessions.set(id, { ...session, untilMs: now + xmppLimits.commandSessionMs })
  }

  /** Each step ends it: a form that is refused is asked for anew. */
  #endSession(id: string, { owner, node }: Pick<CommandSession, 'owner' | 'node'>): void {
    const session = this.#sessions.get(id)
    if (session?.owner !== owner || session.node !== node) throw commandError('bad-request', 'bad-sessionid')
    this.#sessions.delete(id)
    if (session.untilMs > this.#host.context.clock.now()) return
    throw commandError('not-allowed', 'session-expired')
  }
}

export function serveCommands(host: XmppHost): Commands {
  const commands = new Commands(host)
  const { iq } = host.context
  iq.addFeatures('server', commandsNs)
  iq.add({
    target: 'server', ns: commandsNs, name: 'command', type: 'set',
    handle: (request) => commands.handle(request),
  })
  return commands
}

/** What discovery says of one command (XEP-0050 §3.1). */
export function commandInfo({ node, title }: Command): XmlElement {
  return el(ns.discoInfo, 'query', { node },
    el(ns.discoInfo, 'identity', { category: 'automation', type: 'command-node', name: title }),
    el(ns.discoInfo, 'feature', { var: commandsNs }),
    el(ns.discoInfo, 'feature', { var: ns.dataForm }))
}

export function commandItem({ node, title }: Command, jid: string): XmlElement {
  return el(ns.discoItems, 'item', { jid, node, name: title })
}

function formOf({ title, formType, fields }: Command): XmlElement {
  return el(ns.dataForm, 'x', { type: 'form' },
    el(ns.dataForm, 'title', {}, title),
    hiddenType(formType),
    ...fields.map(({ name, type, label, isRequired = false }) => el(
      ns.dataForm, 'field', { var: name, type, label },
      isRequired ? el(ns.dataForm, 'required') : undefined,
    )))
}

function readForm(payload: XmlElement, { fields }: Command): FormValues {
  const form = payload.child('x', ns.dataForm)
  if (form === undefined || form.attrs.type !== 'submit') throw commandError('bad-request', 'bad-payload')
  const values = new Map<string, readonly string[]>()
  for (const { name, isRequired = false, label } of fields) {
    const field = form.elements('field').find(({ attrs }) => attrs.var === name)
    const given = (field?.elements('value') ?? []).map(({ text }) => text).filter((text) => text !== '')
    if (given.length === 0 && isRequired) throw new StanzaError('not-acceptable', `${label}: is missing`)
    if (given.length > xmppLimits.commandValuesMax) {
      throw new StanzaError('not-acceptable', `${label}: at most ${xmppLimits.commandValuesMax} values`)
    }
    values.set(name, given)
  }
  return values
}

function resultOf({ formType }: Command, { note, fields = [] }: CommandOutcome): XmlElement[] {
  const shown = fields.map(({ name, label, values }) => el(
    ns.dataForm, 'field', { var: name, label, type: values.length > 1 ? 'text-multi' : 'text-single' },
    ...values.map((value) => el(ns.dataForm, 'value', {}, value)),
  ))
  return [
    ...note === undefined ? [] : [el(commandsNs, 'note', { type: 'info' }, note)],
    ...shown.length === 0 ? [] : [el(ns.dataForm, 'x', { type: 'result' }, hiddenType(formType), ...shown)],
  ]
}

function hiddenType(formType: string): XmlElement {
  const value = el(ns.dataForm, 'value', {}, formType)
  return el(ns.dataForm, 'field', { var: 'FORM_TYPE', type: 'hidden' }, value)
}

/** What a person did wrong is told to that person. */
function refused(error: unknown): never {
  if (!(error instanceof OpenIMError) || !error.code.startsWith('XMPP_')) throw error
  throw new StanzaError('not-acceptable', error.message)
}

function commandError(condition: StanzaCondition, extra: string): StanzaError {
  return new StanzaError(condition, { text: extra.replace('-', ' '), extra: el(commandsNs, extra) })
}
