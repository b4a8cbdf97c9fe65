/**
 * What of a room outlives its occupants: configuration, affiliations, subject, the secret behind
 * occupant ids. One record in the store for each room.
 *
 * ```text
 *   muc/HASH      JSON; HASH = 32 hex digits of SHA-256 of the local part
 *   mam/room-ID/  its archive (archive/archive.ts); ID is drawn for each room anew, so a room that is
 *                 destroyed and made again does not show what was said in the first one
 * ```
 */
import { hex, hexDecode } from '../../../crypto/bytes.ts'

export const affiliations = ['outcast', 'none', 'member', 'admin', 'owner'] as const
export type Affiliation = (typeof affiliations)[number]

/** Higher may change lower. */
export function rank(affiliation: Affiliation): number {
  return affiliations.indexOf(affiliation)
}

export const privateMessagePolicies = ['anyone', 'participants', 'moderators', 'none'] as const
export const whoisPolicies = ['moderators', 'anyone'] as const

export interface RoomConfig {
  readonly name: string
  readonly description: string
  readonly language: string
  /** Else it ends with its last occupant. */
  readonly isPersistent: boolean
  /** Listed in service discovery. */
  readonly isPublic: boolean
  readonly isModerated: boolean
  readonly isMembersOnly: boolean
  /** Empty: none. */
  readonly password: string
  /** Who sees real addresses: `moderators` is a semi-anonymous room. */
  readonly whois: (typeof whoisPolicies)[number]
  /** Participants too, not moderators alone. */
  readonly maySubject: boolean
  /** Occupants too, not admins alone. */
  readonly mayInvite: boolean
  readonly privateMessages: (typeof privateMessagePolicies)[number]
  readonly occupantsMax: number
  /** Messages shown to who joins. */
  readonly historyMax: number
  readonly isArchiving: boolean
}

export interface RoomSubject {
  readonly text: string
  /** Who set it: occupant JID. */
  readonly by: string
  readonly atMs: number
}

export interface RoomRecord {
  /** 16 hex digits, of the archive. */
  readonly id: string
  readonly local: string
  /** Bare JID. */
  readonly creator: string
  /** Of occupant ids (XEP-0421). */
  readonly secret: Uint8Array
  config: RoomConfig
  /** By bare JID or domain; `none` is not in it. */
  readonly affiliations: Map<string, Affiliation>
  subject: RoomSubject | undefined
  /** Made and not yet configured: nobody else comes in (§10.1.1). */
  isLocked: boolean
}

export function encodeRecord(record: RoomRecord): string {
  const { secret, affiliations: given } = record
  return JSON.stringify({ ...record, secret: hex(secret), affiliations: [...given] })
}

/** `undefined`: damaged. */
export function decodeRecord(text: string, defaults: RoomConfig): RoomRecord | undefined {
  try {
    const read = JSON.parse(text)
    return {
      ...read,
      config: { ...defaults, ...read.config },
      secret: hexDecode(read.secret),
      affiliations: new Map(read.affiliations),
    }
  } catch {
    return undefined
  }
}
