/**
 * Safety numbers of contacts and what the person makes of them, and beside them how well the
 * sessions with a contact keep secrets from who steals keys later (docs/threats.md). Numbers are
 * made of root keys, so one stays when devices, names or inboxes change, and is the same after a backup.
 *
 * One side costs 5,200 hashes (7 ms here, 18 in a browser), so sides are kept while the client runs.
 */
import { equalBytes, utf8 } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { compareScannable, fingerprint, safetyDigits, scannableNumber } from '../../crypto/safety-number.ts'
import { formatAddress } from '../address.ts'
import { limits } from '../limits.ts'
import { formatSafetyCode, parseSafetyCode } from '../safety-code.ts'
import type { SafetyNumber, SessionSecrecy } from './api.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import { contactRootKey, trusts } from './records.ts'
import type { ContactId, ContactRecord } from './records.ts'
import { isChanged, settled } from './trust.ts'
import type { Turn, Turns } from './turns.ts'

export interface VerificationParts {
  readonly book: ContactBook
  readonly turns: Turns
  /** Texts that waited for the person's word may go. */
  readonly onNeed: (turn: Turn) => void
}

const groupDigits = 5

export class Verification {
  readonly #context: Context
  readonly #parts: VerificationParts
  readonly #sides = new Map<ContactId, Uint8Array>()
  #own: Uint8Array | undefined

  constructor(context: Context, parts: VerificationParts) {
    this.#context = context
    this.#parts = parts
  }

  async number(id: ContactId): Promise<SafetyNumber> {
    const sides = this.#sidesWith(id)
    const digits = safetyDigits(sides.own, sides.their)
    return {
      digits: digits.match(new RegExp(`\\d{${groupDigits}}`, 'g'))!,
      code: formatSafetyCode(scannableNumber(sides)),
      sessions: await this.#secrecy(id),
    }
  }

  #secrecy(id: ContactId): Promise<SessionSecrecy[]> {
    return this.#parts.turns.run(id, (turn) => turn.readySessions.map(({ device, session }) => ({
      device, weakForwardSecrecy: session.weakForwardSecrecy, pqAgeSteps: session.pqAgeSteps,
    })))
  }

  /** @throws SAFETY_NUMBER_FORMAT, SAFETY_NUMBER_VERSION, SAFETY_NUMBER_MISMATCH, CONTACT_UNKNOWN */
  async verify(id: ContactId, compared: string): Promise<ContactRecord> {
    const parsed = parseSafetyCode(compared)
    if (!parsed.ok) throw new OpenIMError(parsed.code, parsed.detail ?? 'that is no safety number')
    const sides = this.#sidesWith(id)
    const code = parsed.value
    const found = 'scanned' in code
      ? compareScannable({ ...sides, scanned: code.scanned })
      : equalBytes(utf8(code.digits), utf8(safetyDigits(sides.own, sides.their))) ? 'match' : 'mismatch'
    if (found === 'match') return await this.mark(id)
    if (found === 'mismatch') throw mismatch(this.#parts.book.nameOf(id))
    throw new OpenIMError(
      'SAFETY_NUMBER_VERSION',
      'the code was made by another version of openIM: compare the digits after an update',
    )
  }

  /** The person says that the numbers are the same. @throws CONTACT_UNKNOWN */
  mark(id: ContactId): Promise<ContactRecord> {
    return this.#change(id, (contact) =>
      contact.trust === trusts.verified && contact.alarm === '' ? contact : settled(contact, 'verified'))
  }

  /** Takes `verified` back; an alarm stays. @throws CONTACT_UNKNOWN */
  unverify(id: ContactId): Promise<ContactRecord> {
    return this.#change(id, (contact) =>
      contact.trust === trusts.verified ? { ...contact, trust: trusts.invite } : contact)
  }

  /** Goes on after an alarm, with the devices that were shown last. @throws CONTACT_UNKNOWN */
  accept(id: ContactId): Promise<ContactRecord> {
    return this.#change(id, (contact) => {
      if (isChanged(contact)) return settled(contact, 'invite')
      return contact.alarm === '' ? contact : { ...contact, alarm: '' }
    })
  }

  #change(id: ContactId, change: (contact: ContactRecord) => ContactRecord): Promise<ContactRecord> {
    return this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined) {
        throw new OpenIMError('CONTACT_UNKNOWN', 'the contact was removed meanwhile')
      }
      const after = change(turn.contact)
      if (after !== turn.contact) this.#parts.onNeed(turn)
      turn.contact = after
      return after
    })
  }

  #sidesWith(id: ContactId): { own: Uint8Array, their: Uint8Array } {
    this.#own ??= sideOf(this.#context.account.rootKey)
    const their = this.#sides.get(id) ?? sideOf(contactRootKey(id))
    if (this.#sides.size >= limits.cachedThreadsMax) this.#sides.clear()
    this.#sides.set(id, their)
    return { own: this.#own, their }
  }
}

function sideOf(rootKey: Uint8Array): Uint8Array {
  return fingerprint({ rootKey, stableId: utf8(formatAddress(rootKey)) })
}

function mismatch(name: string): OpenIMError {
  return new OpenIMError(
    'SAFETY_NUMBER_MISMATCH',
    `the numbers differ: what is called ${name} here is not the account they have`,
  )
}
