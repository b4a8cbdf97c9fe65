/**
 * The contact book: every contact's profile, in memory and in the store, found by id, petname,
 * address or inbox. Changes go through a batch and become visible here when they are durable.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { formatAddress, parseAddress } from '../address.ts'
import { decode } from '../codec/struct.ts'
import type { BoxId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { KvStore } from '../ports.ts'
import type { Contact, Trust } from './api.ts'
import type { Batch } from './batch.ts'
import { keys } from './keys.ts'
import { foldName, normaliseName, shortAddress, uniqueName } from './names.ts'
import { contactCodec, contactId, contactRootKey, contactStates } from './records.ts'
import type { ContactId, ContactRecord } from './records.ts'

const trustNames: readonly [Trust, Trust, Trust] = ['invite', 'verified', 'changed']

export class ContactBook {
  readonly #byId = new Map<ContactId, ContactRecord>()
  readonly #byName = new Map<string, ContactId>()
  readonly #byBox = new Map<BoxId, ContactId>()
  /** Names promised to changes that are being written, folded. */
  readonly #reserved = new Map<ContactId, string>()

  async load(kv: KvStore): Promise<void> {
    for (const entry of await kv.list({ prefix: keys.contacts })) {
      this.take(decode(contactCodec, entry.value))
    }
  }

  get size(): number {
    return this.#byId.size
  }

  all(): ContactRecord[] {
    return [...this.#byId.values()]
  }

  get(id: ContactId): ContactRecord | undefined {
    return this.#byId.get(id)
  }

  ofBox(box: BoxId): ContactId | undefined {
    return this.#byBox.get(box)
  }

  /** By petname or address. @throws CONTACT_UNKNOWN */
  find(nameOrAddress: string): ContactRecord {
    const address = parseAddress(nameOrAddress)
    const id = address.ok ? contactId(address.value) : this.#byName.get(foldName(nameOrAddress.trim()))
    const contact = id === undefined ? undefined : this.#byId.get(id)
    if (contact === undefined) {
      throw new OpenIMError(
        'CONTACT_UNKNOWN',
        `nobody here is called ${JSON.stringify(nameOrAddress.slice(0, 80))}: add them with an invite`,
      )
    }
    return contact
  }

  /** What people see of an id, also when the contact is gone. */
  nameOf(id: ContactId): string {
    return this.#byId.get(id)?.name ?? formatAddress(contactRootKey(id))
  }

  /**
   * A name that somebody typed for `id`, kept free until the change is written or `release`d.
   * @throws CONTACT_NAME, CONTACT_NAME_TAKEN
   */
  claimName(raw: string, id: ContactId): string {
    const name = normaliseName(raw)
    if (name === undefined) {
      throw new OpenIMError(
        'CONTACT_NAME',
        'a name needs visible characters and must not look like an address: choose another',
      )
    }
    if (this.#isTaken(name, id)) {
      throw new OpenIMError(
        'CONTACT_NAME_TAKEN',
        `somebody here is called ${name} already: choose another name`,
      )
    }
    this.#reserved.set(id, foldName(name))
    return name
  }

  /** A free name made of what they call themselves, or of their address. */
  offerName(theirs: string, id: ContactId): string {
    const base = normaliseName(theirs) ?? shortAddress(formatAddress(contactRootKey(id)))
    const name = uniqueName(base, (candidate) => this.#isTaken(candidate, id))
    this.#reserved.set(id, foldName(name))
    return name
  }

  /** The name was not written after all. */
  release(id: ContactId): void {
    this.#reserved.delete(id)
  }

  /** Into the batch; `take` it when that is durable. @throws CONTACT_TOO_MANY for one above the limit */
  write(batch: Batch, contact: ContactRecord): void {
    if (!this.#byId.has(contact.id) && this.#byId.size >= limits.contactsMax) {
      throw new OpenIMError(
        'CONTACT_TOO_MANY',
        `there are ${this.#byId.size} contacts, the limit is ${limits.contactsMax}: remove some`,
      )
    }
    batch.put(keys.contact(contact.id), contactCodec, contact)
  }

  /** What was written is what is known from now on. */
  take(contact: ContactRecord): void {
    this.#unlist(contact.id)
    this.#byId.set(contact.id, contact)
    this.#byName.set(foldName(contact.name), contact.id)
    this.#byBox.set(contact.box.id, contact.id)
    this.release(contact.id)
  }

  drop(id: ContactId): void {
    this.#unlist(id)
    this.#byId.delete(id)
  }

  /** As the app sees it. */
  face(contact: ContactRecord, lastSeenAtMs = 0): Contact {
    const face: Contact = {
      name: contact.name,
      address: formatAddress(contactRootKey(contact.id)),
      trust: trustNames[contact.trust],
      state: contact.state === contactStates.active ? 'active' : 'requested',
      addedAtMs: contact.addedAtMs,
    }
    return lastSeenAtMs === 0 ? face : { ...face, lastSeenAtMs }
  }

  #isTaken(name: string, by: ContactId): boolean {
    const folded = foldName(name)
    const holder = this.#byName.get(folded)
    if (holder !== undefined && holder !== by) return true
    return [...this.#reserved].some(([id, name]) => id !== by && name === folded)
  }

  #unlist(id: ContactId): void {
    const known = this.#byId.get(id)
    if (known === undefined) return
    this.#byName.delete(foldName(known.name))
    this.#byBox.delete(known.box.id)
  }
}
