/**
 * The account's inboxes as its node holds them: one for each contact, one for each open invite,
 * and the front box that nobody writes to, whose replicas are those of all request boxes
 * (one placement key). The node is told again in every session: opening is idempotent.
 *
 * Where an inbox is held changes with the network; each change makes a card of higher sequence,
 * which errands bring to the contact.
 */
import { hexDecode } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import { decode } from '../codec/struct.ts'
import { boxId, expiryMs } from '../envelope.ts'
import { inboxActions } from '../frame/inbox.ts'
import type { InboxStateFrame } from '../frame/inbox-state.ts'
import type { BoxId, NodeId } from '../ids.ts'
import type { InboxCard } from '../inbox-card.ts'
import { introKeys } from '../invite.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { InviteStateBody } from '../message/invite-state.ts'
import { Batch } from './batch.ts'
import type { ContactBook } from './contact-book.ts'
import { retire } from './contact-states.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { keys, lastPart } from './keys.ts'
import { closingCodec, contactRootKey, introCodec } from './records.ts'
import type { ContactId, ContactRecord, IntroRecord, OwnBox } from './records.ts'
import type { Turns } from './turns.ts'
import type { Uplink } from './uplink.ts'

/** Where strangers find us when home is off. */
export interface Front {
  readonly homes: readonly NodeId[]
  readonly replicas: readonly NodeId[]
}

/** An invite's box, with what opens its mail. */
export interface IntroBox extends IntroRecord {
  readonly box: BoxId
  readonly sealKey: Uint8Array
}

export interface InboxesOptions {
  readonly onFront: () => void
  /** A contact's card changed; they are to be told. */
  readonly onCard: (contact: ContactId) => void
}

export class Inboxes {
  readonly #context: Context
  readonly #uplink: Uplink
  readonly #turns: Turns
  readonly #book: ContactBook
  readonly #copies: Copies
  readonly #options: InboxesOptions
  readonly #intros = new Map<BoxId, IntroBox>()
  #front: Front = { homes: [], replicas: [] }

  constructor(
    context: Context,
    parts: { uplink: Uplink, turns: Turns, book: ContactBook, copies: Copies },
    options: InboxesOptions,
  ) {
    this.#context = context
    this.#uplink = parts.uplink
    this.#turns = parts.turns
    this.#book = parts.book
    this.#copies = parts.copies
    this.#options = options
  }

  async load(): Promise<void> {
    for await (const entry of kvEntries(this.#context.kv, keys.intros)) {
      this.#remember(decode(introCodec, entry.value))
    }
  }

  get front(): Front {
    return this.#front
  }

  get invites(): number {
    return [...this.#intros.values()].filter((intro) => intro.usedBy === undefined).length
  }

  intro(box: BoxId): IntroBox | undefined {
    return this.#intros.get(box)
  }

  /** A fresh inbox for a contact; not yet known to the node. */
  create(generation = this.#context.own.record.generation): OwnBox {
    const { random } = this.#context
    const writeSeed = random.bytes(32)
    const readSeed = random.bytes(32)
    const id = boxId({
      writeKey: crypto.signingKeyPair(writeSeed).publicKey,
      readKey: crypto.signingKeyPair(readSeed).publicKey,
    })
    return {
      id, writeSeed, readSeed, sealKey: random.bytes(32), sequence: 0, homes: [], replicas: [],
      generation, closesAtMs: 0,
    }
  }

  /** What a contact needs to write to us. */
  card(box: OwnBox): InboxCard {
    const { sequence, writeSeed, sealKey, homes, replicas } = box
    return {
      sequence,
      writeSeed,
      readKey: crypto.signingKeyPair(box.readSeed).publicKey,
      sealKey,
      homes,
      replicas,
    }
  }

  /** Opens the front box and all invites' boxes; contacts' boxes are the errands' work. */
  async openShared(): Promise<boolean> {
    const nowMs = this.#context.clock.now()
    const opened = await this.#openIntro({ token: this.#context.own.frontToken, expiryHour: 0 })
    if (!opened.ok) return false
    this.#setFront(opened.value)
    let isComplete = true
    for (const intro of [...this.#intros.values()]) {
      if (expiryMs(intro.expiryHour) <= nowMs) await this.#expire(intro)
      else if (intro.usedBy === undefined) isComplete = (await this.openInvite(intro)) && isComplete
    }
    return await this.#closeAll() && isComplete
  }

  async openInvite(intro: Pick<IntroRecord, 'token' | 'expiryHour'>): Promise<boolean> {
    return (await this.#openIntro(intro)).ok
  }

  /** Durable; the node is told by `openInvite`. */
  async addInvite(record: IntroRecord): Promise<void> {
    const batch = new Batch()
    batch.put(keys.intro(introBoxId(this.#context, record.token)), introCodec, record)
    batch.then(() => this.#remember(record))
    this.#copies.add(batch, stateOf(record))
    await batch.commit(this.#context.kv)
  }

  /** The invite is used up: its box is closed, the token remembered until it expires. */
  use(batch: Batch, intro: IntroBox, contact: ContactId): void {
    if (intro.usedBy !== undefined) return
    const record: IntroRecord = { token: intro.token, expiryHour: intro.expiryHour, usedBy: contact }
    batch.put(keys.intro(intro.box), introCodec, record)
    const { account, own } = this.#context
    const writeKey = introKeys({ rootKey: account.rootKey, introToken: intro.token }).writeKeys.publicKey
    this.close(batch, { id: intro.box, writeKey, readSeed: own.introReadKeys.exportSecret() })
    batch.then(() => this.#remember(record))
    this.#copies.add(batch, stateOf(record))
  }

  /** Into the batch: a sibling made an invite, or says that one is used up. */
  takeInvite(batch: Batch, record: IntroRecord): void {
    const box = introBoxId(this.#context, record.token)
    const known = this.#intros.get(box)
    if (expiryMs(record.expiryHour) <= this.#context.clock.now() || known?.usedBy !== undefined) return
    batch.put(keys.intro(box), introCodec, record)
    batch.then(() => this.#remember(record))
  }

  /** Into the batch: none of them leads to us any more; the node is told with the keys of before. */
  endInvites(batch: Batch): number {
    const { account: { rootKey }, own } = this.#context
    const readSeed = own.introReadKeys.exportSecret()
    const front = { token: own.frontToken, box: introBoxId(this.#context, own.frontToken), usedBy: undefined }
    const open = [...this.#intros.values()].filter(({ usedBy }) => usedBy === undefined)
    for (const { token, box } of [front, ...open]) {
      const writeKey = introKeys({ rootKey, introToken: token }).writeKeys.publicKey
      this.close(batch, { id: box, writeKey, readSeed })
    }
    for (const { box } of this.#intros.values()) {
      batch.delete(keys.intro(box))
      batch.then(() => this.#intros.delete(box))
    }
    return open.length
  }

  /** Asks the node to be home to a contact's inbox and takes down where it is held. */
  async open(contact: ContactId): Promise<Result<undefined>> {
    const box = this.#book.get(contact)?.box
    if (box === undefined) return { ok: false, code: 'CONTACT_UNKNOWN' }
    const state = await this.#uplink.request({
      type: 'inbox',
      action: inboxActions.open,
      writeKey: crypto.signingKeyPair(box.writeSeed).publicKey,
      readSeed: box.readSeed,
      // Any node may see that inboxes share a placement: every contact gets its own.
      placement: boxPlacement(box.id),
      itemsMax: limits.boxItemsMax,
      bytesMax: limits.boxBytesMax,
      expiryHour: 0,
    }, 'inboxState')
    if (!state.ok) return state
    await this.#moved(contact, state.value)
    return { ok: true, value: undefined }
  }

  /** The node says that a replica set changed. */
  async receive(frame: InboxStateFrame): Promise<void> {
    if (frame.box === introBoxId(this.#context, this.#context.own.frontToken)) {
      this.#setFront(frame)
      return
    }
    const contact = this.#book.ofBox(frame.box)
    if (contact !== undefined) await this.#moved(contact, frame)
  }

  /** Into the batch: the node will be told to give the inbox up, now or when it is there. */
  close(batch: Batch, box: { id: BoxId, writeKey: Uint8Array, readSeed: Uint8Array }): void {
    const { writeKey, readSeed } = box
    batch.put(keys.closing(box.id), closingCodec, { writeKey, readSeed })
    batch.then(() => {
      this.#closeOne(box.id, { writeKey, readSeed }).catch((error: unknown) => {
        this.#context.log.warn({ err: error }, 'a closed inbox will be closed once more')
      })
    })
  }

  async #openIntro(intro: Pick<IntroRecord, 'token' | 'expiryHour'>): Promise<Result<InboxStateFrame>> {
    const { account, own } = this.#context
    return await this.#uplink.request({
      type: 'inbox',
      action: inboxActions.open,
      writeKey: introKeys({ rootKey: account.rootKey, introToken: intro.token }).writeKeys.publicKey,
      readSeed: own.introReadKeys.exportSecret(),
      placement: own.introReadKeys.publicKey,
      itemsMax: limits.introBoxItemsMax,
      bytesMax: limits.introBoxBytesMax,
      expiryHour: intro.expiryHour,
    }, 'inboxState')
  }

  async #moved(contact: ContactId, state: InboxStateFrame): Promise<void> {
    const { homes, replicas } = state
    await this.#turns.run(contact, (turn) => {
      const known = turn.contact?.box
      // Where one that was left is held matters to nobody any more.
      if (turn.contact === undefined || known?.id !== state.box) return
      const isSelf = contact === this.#context.own.self
      const isSame = known.sequence > 0
        && sameHomes(known.homes, homes) && sameNodes(known.replicas, replicas)
      // A linked device was told where its own inbox is held, but not by the node yet.
      if (isSame && !(isSelf && turn.contact.card === undefined)) return
      // Of the clock, so that of two devices that noticed changes the later one is believed.
      const sequence = Math.max(known.sequence + 1, this.#context.clock.now())
      const box = { ...known, sequence, homes, replicas }
      turn.contact = { ...turn.contact, box }
      // Our own devices need no telling: they know the inbox.
      if (isSelf) turn.contact = { ...turn.contact, card: this.card(box) }
      turn.batch.then(() => this.#options.onCard(contact))
    })
  }

  /** The contact with a fresh inbox; the old one is still read, and the oldest of all given up. */
  rotated(batch: Batch, contact: ContactRecord, generation?: number): ContactRecord {
    const { box, oldBoxes } = contact
    const old = [retire(box, this.#context.clock.now()), ...oldBoxes]
    for (const over of old.splice(limits.oldBoxesMax)) this.closeBox(batch, over)
    return { ...contact, box: { ...this.create(generation), sequence: box.sequence }, oldBoxes: old }
  }

  /** Into the batch: the node is to give this inbox of a contact up. */
  closeBox(batch: Batch, { id, writeSeed, readSeed }: OwnBox): void {
    this.close(batch, { id, writeKey: crypto.signingKeyPair(writeSeed).publicKey, readSeed })
  }

  #setFront({ homes, replicas }: Front): void {
    const isSame = sameHomes(this.#front.homes, homes) && sameNodes(this.#front.replicas, replicas)
    this.#front = { homes, replicas }
    if (!isSame) this.#options.onFront()
  }

  #remember(record: IntroRecord): void {
    const { rootKey } = this.#context.account
    const { sealKey } = introKeys({ rootKey, introToken: record.token })
    const box = introBoxId(this.#context, record.token)
    this.#intros.set(box, { ...record, box, sealKey })
  }

  async #expire(intro: IntroBox): Promise<void> {
    const batch = new Batch()
    batch.delete(keys.intro(intro.box))
    batch.then(() => this.#intros.delete(intro.box))
    await batch.commit(this.#context.kv)
  }

  async #closeAll(): Promise<boolean> {
    let isComplete = true
    for (const entry of await this.#context.kv.list({ prefix: keys.closings })) {
      const box = lastPart(entry.key) as BoxId
      isComplete = (await this.#closeOne(box, decode(closingCodec, entry.value))) && isComplete
    }
    return isComplete
  }

  async #closeOne(
    box: BoxId,
    { writeKey, readSeed }: { writeKey: Uint8Array, readSeed: Uint8Array },
  ): Promise<boolean> {
    const request = {
      type: 'inbox', action: inboxActions.close, writeKey, readSeed, placement: boxPlacement(box),
      itemsMax: 0, bytesMax: 0, expiryHour: 0,
    } as const
    const closed = await this.#uplink.request(request, 'inboxState')
    if (!closed.ok) return false
    const batch = new Batch()
    batch.delete(keys.closing(box))
    await batch.commit(this.#context.kv)
    return true
  }
}

/** The request box that a token opens. */
export function introBoxId(context: Context, token: Uint8Array): BoxId {
  const { account: { rootKey }, own: { introReadKeys } } = context
  const { writeKeys } = introKeys({ rootKey, introToken: token })
  return boxId({ writeKey: writeKeys.publicKey, readKey: introReadKeys.publicKey })
}

function boxPlacement(box: BoxId): Uint8Array {
  return hexDecode(box)
}

/** Each process of a household names itself first: that is no news to contacts. */
function sameHomes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((nodeId) => b.includes(nodeId))
}

function sameNodes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node))
}

function stateOf({ token, expiryHour, usedBy }: IntroRecord): InviteStateBody {
  return { type: 'inviteState', token, expiryHour, usedBy: usedBy && contactRootKey(usedBy) }
}
