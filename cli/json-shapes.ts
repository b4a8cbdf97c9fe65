/**
 * The stable shapes of `--json` where they differ from the client's own: times as ISO 8601 text,
 * names as the contract for scripts has them. Fields are added, never renamed.
 */
import type { Contact, HistoryEntry, MessageStatus } from '../protocol/client/api.ts'

export function iso(timeMs: number): string {
  return new Date(timeMs).toISOString()
}

export function contactShape(contact: Contact): object {
  const { name, address, trust, state, addedAtMs, lastSeenAtMs } = contact
  const seen = lastSeenAtMs === undefined ? {} : { lastSeenAt: iso(lastSeenAtMs) }
  return { contact: name, address, trust, state, addedAt: iso(addedAtMs), ...seen }
}

export function messageShape(entry: HistoryEntry): object {
  const { id, contact, text, sentAtMs, receivedAtMs, cursor, afterGap } = entry
  const gap = afterGap === true ? { afterGap } : {}
  return { id, from: contact, text, sentAt: iso(sentAtMs), receivedAt: iso(receivedAtMs), cursor, ...gap }
}

/** How long it took to reach the state it has; `waitedMs` while it has none to speak of. */
export function stateMs(status: MessageStatus, waitedMs: number): number {
  const { state, sentAtMs, storedAtMs, deliveredAtMs, readAtMs } = status
  const since = { stored: storedAtMs, delivered: deliveredAtMs, read: readAtMs }
  const reachedAtMs = state === 'queued' || state === 'failed' ? undefined : since[state]
  return reachedAtMs === undefined ? waitedMs : Math.max(0, reachedAtMs - sentAtMs)
}

export function statusShape(status: MessageStatus, waitedMs: number): object {
  const { id, contact, state, stored, route, level, code } = status
  const why = code === undefined ? {} : { code }
  return { id, to: contact, state, stored, route, ms: Math.round(stateMs(status, waitedMs)), level, ...why }
}
