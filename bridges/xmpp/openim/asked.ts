/** What XMPP clients are told of a refusal of the Client SDK. */
import { OpenIMError } from '../../../crypto/errors.ts'
import { errorTable } from '../../../protocol/errors.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { StanzaCondition } from '../stanza-errors.ts'

const conditions: Readonly<Record<string, StanzaCondition>> = {
  CONTACT_UNKNOWN: 'item-not-found',
  CONTACT_EXISTS: 'conflict',
  CONTACT_NAME_TAKEN: 'conflict',
  TEXT_TOO_LONG: 'policy-violation',
  OUTBOX_FULL: 'resource-constraint',
  TRUST_CHANGED: 'not-allowed',
  STORE_FULL: 'resource-constraint',
  HOUSEHOLD_ELSEWHERE: 'recipient-unavailable',
}

/** A refusal of the Client SDK as a stanza error that says why; faults of ours stay what they are. */
export async function asked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof OpenIMError)) throw error
    const blame = errorTable[error.code]?.blame
    const isTheirs = blame === 'user' || blame === 'peer'
    const known = conditions[error.code] ?? (isTheirs ? 'not-acceptable' : undefined)
    if (known === undefined) throw error
    throw new StanzaError(known, error.message)
  }
}
