/**
 * Stanza errors (RFC 6120 §8.3): what a handler throws to refuse, and what is sent back for it.
 */
import { el } from './xml/element.ts'
import type { XmlElement } from './xml/element.ts'
import { ns } from './xml/names.ts'

export type ErrorType = 'auth' | 'cancel' | 'continue' | 'modify' | 'wait'

/** Each condition with the type that RFC 6120 §8.3.3 gives it. */
export const stanzaConditions = {
  'bad-request': 'modify',
  'conflict': 'cancel',
  'feature-not-implemented': 'cancel',
  'forbidden': 'auth',
  'gone': 'cancel',
  'internal-server-error': 'cancel',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'not-authorized': 'auth',
  'policy-violation': 'modify',
  'recipient-unavailable': 'wait',
  'redirect': 'modify',
  'registration-required': 'auth',
  'remote-server-not-found': 'cancel',
  'remote-server-timeout': 'wait',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
  'subscription-required': 'auth',
  'undefined-condition': 'modify',
  'unexpected-request': 'wait',
} as const satisfies Record<string, ErrorType>

export type StanzaCondition = keyof typeof stanzaConditions

export interface StanzaErrorOptions {
  /** For people: one lower-case sentence. */
  readonly text?: string
  readonly type?: ErrorType
  /** An application-specific condition (RFC 6120 §8.3.4). */
  readonly extra?: XmlElement
}

/** Refuses a stanza: whoever called the handler answers with `toError`. */
export class StanzaError extends Error {
  override readonly name = 'StanzaError'
  readonly condition: StanzaCondition
  readonly options: StanzaErrorOptions

  constructor(condition: StanzaCondition, options: StanzaErrorOptions | string = {}) {
    const given = typeof options === 'string' ? { text: options } : options
    super(given.text ?? condition)
    this.condition = condition
    this.options = given
  }

  toElement(): XmlElement {
    const { text, type, extra } = this.options
    return el(ns.client, 'error', { type: type ?? stanzaConditions[this.condition] },
      el(ns.stanzaErrors, this.condition),
      text === undefined ? undefined : el(ns.stanzaErrors, 'text', { 'xml:lang': 'en' }, text),
      extra,
    )
  }
}

/**
 * The answer of type `error` to a stanza, addressed back. Without what it contained (RFC 6120 §8.3.1
 * leaves that to us): a bounce is never larger than its cause.
 */
export function toError(stanza: XmlElement, error: StanzaError): XmlElement {
  const { from, to, id } = stanza.attrs
  return el(ns.client, stanza.name, { type: 'error', from: to, to: from, id }, error.toElement())
}

/** Whether an error may be answered with: never to an error, nor to a result (RFC 6120 §8.3.1, §8.2.3). */
export function mayBounce(stanza: XmlElement): boolean {
  const { type } = stanza.attrs
  return type !== 'error' && !(stanza.name === 'iq' && type === 'result')
}

/** To a client that writes to an address it has blocked (XEP-0191 §3.3). */
export function blockedByUs(): StanzaError {
  const extra = el('urn:xmpp:blocking:errors', 'blocked')
  return new StanzaError('not-acceptable', { text: 'you have blocked this address', extra })
}
