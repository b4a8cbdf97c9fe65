/**
 * Mail that cannot be taken yet: for an inbox that a sibling has not told us of, or of a device that
 * no list names so far. It stays unacknowledged, so the node has it too and offers it again in the
 * next session; here it only waits for what is missing, in a bounded number.
 */
import type { CheckedEnvelope } from '../envelope.ts'
import type { BoxId, EnvelopeId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { ContactId } from './records.ts'

/** A box that is to become known, or a contact whose device list is. */
export type StrayKey = BoxId | ContactId

export class Strays {
  readonly #mail = new Map<StrayKey, Map<EnvelopeId, CheckedEnvelope>>()
  #size = 0

  /** False when there is no room. */
  keep(key: StrayKey, envelope: CheckedEnvelope): boolean {
    const mail = this.#mail.get(key) ?? new Map<EnvelopeId, CheckedEnvelope>()
    if (mail.has(envelope.id)) return true
    if (this.#size >= limits.strayMailMax) return false
    this.#mail.set(key, mail.set(envelope.id, envelope))
    this.#size++
    return true
  }

  /** What waited for this, in the order it came. */
  take(key: StrayKey): CheckedEnvelope[] {
    const mail = [...this.#mail.get(key)?.values() ?? []]
    this.#mail.delete(key)
    this.#size -= mail.length
    return mail
  }

  keys(): StrayKey[] {
    return [...this.#mail.keys()]
  }

  /** The node offers everything again. */
  clear(): void {
    this.#mail.clear()
    this.#size = 0
  }
}
