/**
 * Subscription states of one roster entry and what each presence of type subscribe, subscribed,
 * unsubscribe or unsubscribed makes of it: RFC 6121 §3 and its Appendix A as one table of rules. Pure.
 *
 * ```text
 *   to        we see the contact's presence
 *   from      the contact sees ours
 *   ask       our request to see theirs waits for their answer     ("pending out")
 *   pendingIn their request to see ours waits for our answer       (such an entry alone is in no roster)
 *   approved  we said yes before they asked                        (§3.4)
 * ```
 */

export interface SubscriptionState {
  readonly to: boolean
  readonly from: boolean
  readonly ask: boolean
  readonly pendingIn: boolean
  readonly approved: boolean
}

export const noSubscription: SubscriptionState = {
  to: false, from: false, ask: false, pendingIn: false, approved: false,
}

export type SubscriptionType = 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed'

export function isSubscriptionType(type: string | undefined): type is SubscriptionType {
  return type === 'subscribe' || type === 'subscribed' || type === 'unsubscribe' || type === 'unsubscribed'
}

export interface SubscriptionStep {
  readonly next: SubscriptionState
  /** The stanza goes on: to the contact (outbound), or to our user's resources (inbound). */
  readonly passes: boolean
  /** We answer in our user's name, at once (inbound only). */
  readonly reply?: 'subscribed'
  /** The contact begins, or ceases, to see our user's presence: send it now. */
  readonly presence?: 'available' | 'unavailable'
}

/** Our user sent it (RFC 6121 §3.1.2, §3.2.2, §3.3.2, §3.1.5; Appendix A.2). */
export function outbound(state: SubscriptionState, type: SubscriptionType): SubscriptionStep {
  switch (type) {
    case 'subscribe':
      // Passed on again even when it is pending or granted: the other server may have lost it.
      return { next: { ...state, ask: !state.to }, passes: true }
    case 'unsubscribe':
      return { next: { ...state, to: false, ask: false }, passes: true }
    case 'subscribed':
      if (state.pendingIn) {
        return {
          next: { ...state, from: true, pendingIn: false, approved: false },
          passes: true,
          presence: 'available',
        }
      }
      // Granted before it was asked for; a contact that already has it is told nothing.
      return { next: state.from ? state : { ...state, approved: true }, passes: false }
    case 'unsubscribed':
      return {
        next: { ...state, from: false, pendingIn: false, approved: false },
        passes: state.from || state.pendingIn,
        ...state.from ? { presence: 'unavailable' as const } : {},
      }
  }
}

/** The contact sent it (RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3; Appendix A.3). */
export function inbound(state: SubscriptionState, type: SubscriptionType): SubscriptionStep {
  switch (type) {
    case 'subscribe':
      if (state.from) return { next: state, passes: false, reply: 'subscribed' }
      if (state.approved) {
        const next = { ...state, from: true, approved: false, pendingIn: false }
        return { next, passes: false, reply: 'subscribed', presence: 'available' }
      }
      return { next: { ...state, pendingIn: true }, passes: !state.pendingIn }
    case 'unsubscribe':
      return {
        next: { ...state, from: false, pendingIn: false, approved: false },
        passes: state.from || state.pendingIn,
        ...state.from ? { presence: 'unavailable' as const } : {},
      }
    case 'subscribed':
      if (!state.ask) return { next: state, passes: false }
      return { next: { ...state, to: true, ask: false }, passes: true }
    case 'unsubscribed':
      return { next: { ...state, to: false, ask: false }, passes: state.to || state.ask }
  }
}

/** The value of the `subscription` attribute. */
export function subscriptionName({ to, from }: SubscriptionState): 'none' | 'to' | 'from' | 'both' {
  if (to && from) return 'both'
  if (to) return 'to'
  return from ? 'from' : 'none'
}

/** Nothing is left that must be remembered of an entry that our user never put in the roster. */
export function isBlank(state: SubscriptionState): boolean {
  return !state.to && !state.from && !state.ask && !state.pendingIn && !state.approved
}
