/**
 * Where a stanza for an account of ours goes: RFC 6121 §8.5 as pure functions over the account's
 * resources, tested as the generated table of §8.5.4 (test/bridges/xmpp/host/delivery-rules.test.ts).
 *
 * Where the RFC leaves a choice we take the one after which the sender knows: an error in place of
 * silence for messages of people, silence for headlines and presence, and all non-negative resources
 * in place of one "most available", because people have several devices and look at any of them.
 * A resource whose stream is cut and may still be resumed (XEP-0198) counts like any other.
 */
import type { StanzaCondition } from '../stanza-errors.ts'

export interface Reachable {
  readonly resource: string
  /** Of its last available presence; `undefined`: it sent none, and is connected only. */
  readonly priority: number | undefined
}

export type Delivery<R> =
  | { readonly kind: 'deliver', readonly to: readonly R[] }
  /** To be kept until a resource comes. */
  | { readonly kind: 'offline' }
  | { readonly kind: 'refuse', readonly condition: StanzaCondition }
  | { readonly kind: 'ignore' }

export const messageTypes = ['normal', 'chat', 'groupchat', 'headline', 'error'] as const
export type MessageType = (typeof messageTypes)[number]

/** An absent or unknown type is `normal` (RFC 6121 §5.2.2). */
export function messageType(type: string | undefined): MessageType {
  return messageTypes.find((known) => known === type) ?? 'normal'
}

const ignored = { kind: 'ignore' } as const
const refused = { kind: 'refuse', condition: 'service-unavailable' } as const

/** `resource` empty: addressed to the bare JID. `resources` undefined: there is no such account. */
export function messageDelivery<R extends Reachable>(
  type: MessageType,
  { resource, resources }: { readonly resource: string, readonly resources: readonly R[] | undefined },
): Delivery<R> {
  if (resources === undefined) return type === 'error' || type === 'headline' ? ignored : refused
  const match = resource === '' ? undefined : resources.find((one) => one.resource === resource)
  if (match !== undefined) return { kind: 'deliver', to: [match] }
  if (type === 'error') return ignored
  if (type === 'groupchat') return refused
  const isBare = resource === ''
  if (!isBare && type === 'headline') return ignored
  // RFC 6121 §8.5.3.2.1: a chat goes on with those who are there; another kind was for that one alone.
  if (!isBare && type === 'normal') return refused
  const willing = resources.filter(({ priority }) => priority !== undefined && priority >= 0)
  if (willing.length > 0) return { kind: 'deliver', to: willing }
  return type === 'headline' ? ignored : { kind: 'offline' }
}

/** Presence without a type, or `unavailable`; the other types are not a matter of delivery. */
export function presenceDelivery<R extends Reachable>(
  { resource, resources }: { readonly resource: string, readonly resources: readonly R[] | undefined },
): Delivery<R> {
  const all = resources ?? []
  const to = resource === ''
    ? all.filter(({ priority }) => priority !== undefined)
    : all.filter((one) => one.resource === resource)
  return to.length === 0 ? ignored : { kind: 'deliver', to }
}

/**
 * `serve`: the server answers for the account (§8.5.2.1.3). A request is always answered, a result or
 * error that nobody waits for is dropped.
 */
export function iqDelivery<R extends Reachable>(
  type: 'get' | 'set' | 'result' | 'error',
  { resource, resources }: { readonly resource: string, readonly resources: readonly R[] | undefined },
): Delivery<R> | { readonly kind: 'serve' } {
  const isRequest = type === 'get' || type === 'set'
  if (resources === undefined) return isRequest ? refused : ignored
  if (resource === '') return isRequest ? { kind: 'serve' } : ignored
  const match = resources.find((one) => one.resource === resource)
  if (match !== undefined) return { kind: 'deliver', to: [match] }
  return isRequest ? refused : ignored
}
