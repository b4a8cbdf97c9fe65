/**
 * The contact book: every contact's profile, in memory and in the store, found by id, petname,
 * address or inbox. Changes go through a batch and become visible here when they are durable.
 *
 * Petnames are unique as people see them. Two devices of ours may give one name to two contacts;
 * then the smaller root key keeps it and the others are shown with a number, on every device alike.
 * The self contact (our own devices) is in the book for its inbox, but is nobody's contact.
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
  /** By the folded name they were given; nearly always one. */
  readonly #byName = new Map<string, Set<ContactId>>()
  readonly #byBox = new Map<BoxId, ContactId>()
  /** Names promised to changes that are being written, folded. */
  readonly #reserved = new Map<ContactId, string>()
  readonly #self: ContactId
  readonly #onTrust: (contact: ContactRecord, from: Trust) => void

  /**
   * @param self our own account
   * @param onTrust hears of every durable change of trust and alarm, wherever it came from
   */
  constructor(self: ContactId, onTrust: (contact: ContactRecord, from: Trust) => void) {
    this.#self = self
    this.#onTrust = onTrust
  }

  /** Whether another contact is called what these call themselves. */
  isNamesake(theirs: string, id: ContactId): boolean {
    const name = normaliseName(theirs)
    const holder = name === undefined ? undefined : this.#named(foldName(name))
    return holder !== undefined && holder !== id
  }

  async load(kv: KvStore): Promise<void> {
    for (const entry of await kv.list({ prefix: keys.contacts })) {
      this.take(decode(contactCodec, entry.value))
    }
  }

  /** People; without ourselves. */
  get size(): number {
    return this.#byId.size - (this.#byId.has(this.#self) ? 1 : 0)
  }

  /** With the self contact, if there is one. */
  all(): ContactRecord[] {
    return [...this.#byId.values()]
  }

  people(): ContactRecord[] {
    return this.all().filter(({ id }) => id !== this.#self)
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
    const id = address.ok ? contactId(address.value) : this.#named(foldName(nameOrAddress.trim()))
    const contact = id === undefined ? undefined : this.#byId.get(id)
    if (contact === undefined || contact.id === this.#self) {
      throw new OpenIMError(
        'CONTACT_UNKNOWN',
        `nobody here is called ${JSON.stringify(nameOrAddress.slice(0, 80))}: add them with an invite`,
      )
    }
    return contact
  }

  /** What people see of an id, also when the contact is gone. */
  nameOf(id: ContactId): string {
    const contact = this.#byId.get(id)
    return contact === undefined ? formatAddress(contactRootKey(id)) : this.#shownName(contact)
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
    if (!this.#byId.has(contact.id) && contact.id !== this.#self && this.size >= limits.contactsMax) {
      throw new OpenIMError(
        'CONTACT_TOO_MANY',
        `there are ${this.size} contacts, the limit is ${limits.contactsMax}: remove some`,
      )
    }
    batch.put(keys.contact(contact.id), contactCodec, contact)
  }

  /** What was written is what is known from now on. */
  take(contact: ContactRecord): void {
    const before = this.#byId.get(contact.id)
    this.#unlist(contact.id)
    this.#byId.set(contact.id, contact)
    for (const box of [contact.box, ...contact.oldBoxes]) this.#byBox.set(box.id, contact.id)
    this.release(contact.id)
    if (contact.id === this.#self) return
    const folded = foldName(contact.name)
    this.#byName.set(folded, (this.#byName.get(folded) ?? new Set()).add(contact.id))
    const from = before?.trust ?? contact.trust
    const isNews = before === undefined || before.alarm !== contact.alarm
    if (from !== contact.trust || (isNews && contact.alarm !== '')) this.#onTrust(contact, trustNames[from])
  }

  drop(id: ContactId): void {
    this.#unlist(id)
    this.#byId.delete(id)
  }

  /** As the app sees it. */
  face(contact: ContactRecord, lastSeenAtMs = 0): Contact {
    const face: Contact = {
      name: this.#shownName(contact),
      address: formatAddress(contactRootKey(contact.id)),
      trust: trustNames[contact.trust],
      ...contact.alarm === '' ? {} : { alarm: contact.alarm },
      state: contact.state === contactStates.active ? 'active' : 'requested',
      addedAtMs: contact.addedAtMs,
    }
    return lastSeenAtMs === 0 ? face : { ...face, lastSeenAtMs }
  }

  #isTaken(name: string, by: ContactId): boolean {
    const folded = foldName(name)
    const holder = this.#named(folded)
    if (holder !== undefined && holder !== by) return true
    return [...this.#reserved].some(([id, name]) => id !== by && name === folded)
  }

  /** The given name, or with a number when another contact was given the same. */
  #shownName({ id, name }: ContactRecord): string {
    const folded = foldName(name)
    const rivals = this.#byName.get(folded)
    if (rivals === undefined || (rivals.size === 1 && rivals.has(id))) return name
    let before = [...rivals].filter((rival) => rival < id).length
    if (before === 0) return name
    return uniqueName(name, (candidate) => {
      const other = foldName(candidate)
      return other === folded || this.#byName.has(other) || --before > 0
    })
  }

  /** Who is shown under this folded name. */
  #named(folded: string): ContactId | undefined {
    const given = this.#byName.get(folded)
    if (given !== undefined) return [...given].sort()[0]
    for (const rivals of this.#byName.values()) {
      if (rivals.size === 1) continue
      for (const id of rivals) {
        if (foldName(this.nameOf(id)) === folded) return id
      }
    }
    return undefined
  }

  #unlist(id: ContactId): void {
    const known = this.#byId.get(id)
    if (known === undefined) return
    const folded = foldName(known.name)
    const rivals = this.#byName.get(folded)
    rivals?.delete(id)
    if (rivals?.size === 0) this.#byName.delete(folded)
    for (const box of [known.box, ...known.oldBoxes]) this.#byBox.delete(box.id)
  }
}
