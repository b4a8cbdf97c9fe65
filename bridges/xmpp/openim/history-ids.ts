/**
 * Ids of stanzas that were made from the openIM history: `CURSOR-MESSAGEID`, so that a client that
 * says it displayed one tells how far its person has read.
 */
import type { HistoryEntry } from '../../../protocol/client/api.ts'

export function historyId({ cursor, id }: Pick<HistoryEntry, 'cursor' | 'id'>): string {
  return `${cursor}-${id}`
}

export function parseHistoryId(text: string): { readonly cursor: number } | undefined {
  const match = /^(\d{1,15})-[0-9a-zA-Z_-]{1,64}$/.exec(text)
  return match === null ? undefined : { cursor: Number(match[1]) }
}
