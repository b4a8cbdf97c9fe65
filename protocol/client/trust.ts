/**
 * How sure we are of a contact's key, as rules without I/O. The key of a contact *is* the contact:
 * under another root key they are somebody else, with a name and a trust of their own. What can
 * change under one root key is its device list, and two lists that contradict each other mean that
 * the root key is in two hands.
 *
 * ```text
 *   invite ◄──unverify── verified
 *     │  ───verify────►     │
 *     └───────alarm─────────┴──► changed ──accept──► invite
 *                                        ──verify──► verified
 * ```
 *
 * A note (`alarm` without `changed`) is about something that may be harmless: another contact's name,
 * a device that went back to an older list. It is shown until the person verifies or accepts.
 *
 * While `changed` nothing that people write leaves for them; what comes from the devices that were
 * pinned before is read and shown with the alarm. The list that contradicts ours is kept: whoever
 * accepts the change (they restored from their words, say) takes that list, because the contact
 * would stay out of reach under the old one.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { VerifiedDeviceList } from '../account.ts'
import { trusts } from './records.ts'
import type { ContactRecord } from './records.ts'

/** Something to know about their key that does not contradict it; an alarm is not overwritten. */
export function noted(contact: ContactRecord, code: string): ContactRecord {
  return isChanged(contact) ? contact : { ...contact, alarm: code }
}

/** The contact with an alarm; `rival` is the list that contradicts the pinned one, if we have it. */
export function alarmed(
  contact: ContactRecord,
  alarm: { readonly code: string, readonly rival?: VerifiedDeviceList | undefined },
): ContactRecord {
  const rivalList = alarm.rival?.bytes.slice() ?? contact.rivalList
  return { ...contact, trust: trusts.changed, alarm: alarm.code, rivalList }
}

/** The person took the change as theirs: by comparing numbers, or on their word. */
export function settled(contact: ContactRecord, trust: 'invite' | 'verified'): ContactRecord {
  const { rivalList, deviceList } = contact
  return {
    ...contact, trust: trusts[trust], alarm: '', rivalList: undefined, deviceList: rivalList ?? deviceList,
  }
}

export function isChanged(contact: ContactRecord | undefined): boolean {
  return contact?.trust === trusts.changed
}

/** For everything that a person sends. @throws TRUST_CHANGED */
export function checkTrust(contact: ContactRecord): void {
  if (!isChanged(contact)) return
  throw new OpenIMError(
    'TRUST_CHANGED',
    `the key of ${contact.name} is in doubt (${contact.alarm}): nothing is sent until you settled it`,
  )
}
