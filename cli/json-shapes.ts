/**
 * The stable shapes of `--json` where they differ from the client's own: times as ISO 8601 text,
 * names as the contract for scripts has them. Fields are added, never renamed.
 */
import type {
  ClientEvent, Contact, FileStatus, HistoryEntry, HistoryFile, MessageStatus, Unreadable,
} from '../protocol/client/api.ts'

export function iso(timeMs: number): string {
  return new Date(timeMs).toISOString()
}

export function contactShape(contact: Contact): object {
  const { name, address, trust, alarm, state, addedAtMs, lastSeenAtMs } = contact
  const seen = lastSeenAtMs === undefined ? {} : { lastSeenAt: iso(lastSeenAtMs) }
  const why = alarm === undefined ? {} : { alarm }
  return { contact: name, address, trust, ...why, state, addedAt: iso(addedAtMs), ...seen }
}

export function fileShape(file: FileStatus): object {
  const { startedAtMs, expiresAtMs, savedAtMs, ...rest } = file
  const saved = savedAtMs === undefined ? {} : { savedAt: iso(savedAtMs) }
  return { ...rest, startedAt: iso(startedAtMs), expiresAt: iso(expiresAtMs), ...saved }
}

function noteShape({ name, mediaType, size, state }: HistoryFile): object {
  return { name, mediaType, size, state }
}

export function messageShape(entry: HistoryEntry): object {
  const { id, contact, text, sentAtMs, receivedAtMs, cursor, afterGap, unreadable, alarm, file } = entry
  const more = {
    ...afterGap === true ? { afterGap } : {},
    ...unreadable === undefined ? {} : { unreadable },
    ...file === undefined ? {} : { file: noteShape(file) },
    ...alarm === undefined ? {} : { alarm },
  }
  return { id, from: contact, text, sentAt: iso(sentAtMs), receivedAt: iso(receivedAtMs), cursor, ...more }
}

/** A line between messages, for who follows: something about a contact's key. */
export function trustShape(event: Extract<ClientEvent, { type: 'trust' }>): object {
  const { contact, from, to, code, atMs } = event
  return { event: 'trust', contact, from, to, ...code === undefined ? {} : { code }, at: iso(atMs) }
}

/** The same of a message that could not be read, and what became of it. */
export function unreadableShape(unreadable: Unreadable): object {
  const { id, contact, code, state, atMs } = unreadable
  return { event: 'undecryptable', envelope: id, contact, code, state, at: iso(atMs) }
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
