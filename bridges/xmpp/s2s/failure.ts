/** Why a stanza does not reach another domain, in the words that its sender is told (RFC 6120 §8.3.3). */
import type { StanzaCondition } from '../stanza-errors.ts'

export interface S2sFailure {
  readonly ok: false
  readonly condition: StanzaCondition
  /** One lower-case sentence for people, without a full stop. */
  readonly text: string
  /** Trying again changes nothing until somebody changes something: bounced at once. */
  readonly isLasting: boolean
  /** Where it is not that of the condition. */
  readonly type?: 'wait'
}
