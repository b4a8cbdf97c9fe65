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

/** @param ms from asking to send until this state */
export function statusShape(status: MessageStatus, ms: number): object {
  const { id, contact, state, stored, route, level, code } = status
  const why = code === undefined ? {} : { code }
  return { id, to: contact, state, stored, route, ms: Math.round(ms), level, ...why }
}
