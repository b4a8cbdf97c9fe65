/**
 * States of outgoing texts: how they may change, and how the app sees them.
 */
import { routes } from '../frame/receipt.ts'
import type { MessageId } from '../ids.ts'
import type { MessageState, MessageStatus, RouteName } from './api.ts'
import { states } from './records.ts'
import type { MessageRecord, State } from './records.ts'

const stateNames: readonly MessageState[] = ['queued', 'stored', 'delivered', 'read', 'failed']
const routeNames = Object.fromEntries(
  Object.entries(routes).map(([name, code]) => [code, name]),
) as Record<number, RouteName>

/**
 * The record after `state` was proven: a state never goes back, except that proof of delivery
 * overrules `failed`.
 */
export function advance(record: MessageRecord, state: State, nowMs: number): MessageRecord {
  const isDelivery = state === states.delivered || state === states.read
  const isNews = record.state === states.failed ? isDelivery : state > record.state
  if (!isNews || (state === states.failed && record.state >= states.delivered)) return record
  if (state === states.failed) return { ...record, state }
  return {
    ...record,
    state,
    code: '',
    storedAtMs: state === states.stored && record.storedAtMs === 0 ? nowMs : record.storedAtMs,
    deliveredAtMs: state >= states.delivered && record.deliveredAtMs === 0 ? nowMs : record.deliveredAtMs,
    readAtMs: state === states.read ? nowMs : record.readAtMs,
  }
}

export function statusFace(id: MessageId, record: MessageRecord, contact: string): MessageStatus {
  const { have, want, level, sentAtMs, storedAtMs, deliveredAtMs, readAtMs, code } = record
  return {
    id,
    contact,
    state: stateNames[record.state]!,
    stored: { have, want },
    route: routeNames[record.route]!,
    level,
    sentAtMs,
    ...storedAtMs === 0 ? {} : { storedAtMs },
    ...deliveredAtMs === 0 ? {} : { deliveredAtMs },
    ...readAtMs === 0 ? {} : { readAtMs },
    ...code === '' ? {} : { code },
  }
}

/** `state` or further; `failed` is the end of every wait. */
export function isAtLeast(status: MessageStatus, state: MessageState): boolean {
  if (status.state === 'failed') return true
  return state !== 'failed' && stateNames.indexOf(status.state) >= stateNames.indexOf(state)
}
