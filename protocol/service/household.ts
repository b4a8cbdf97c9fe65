/**
 * `householdHint` (11): a process tells the others of its household what to look at now. All of
 * them share one database, so a hint carries nothing but a name; one that is lost costs time only.
 *
 * ```text
 *   request:  hints<V> { u8 kind, subject<V> }      kind 0 everything   subject empty
 *                                                        1 mail         box id, as hex
 *                                                        2 changed      name of a shared record
 *                                                        3 session      device that logged in, as hex
 *   reply:    empty
 * ```
 *
 * Only members of the same household are heard: the link proves who calls, and the shared database
 * says who is a member.
 */
import { oneOf, struct, text, vector } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export const hintKinds = { everything: 0, mail: 1, changed: 2, session: 3 } as const
export type HintKind = (typeof hintKinds)[keyof typeof hintKinds]

export interface HouseholdHint {
  readonly kind: HintKind
  readonly subject: string
}

export interface HintsRequest {
  readonly hints: HouseholdHint[]
}
export const hintsRequestCodec = struct<HintsRequest>({
  hints: vector(
    struct<HouseholdHint>({
      kind: oneOf(Object.values(hintKinds), 'hint kind'),
      subject: text(limits.kvKeyBytesMax),
    }),
    limits.householdHintsMax,
  ),
})
