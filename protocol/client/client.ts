/**
 * The Client SDK: one account on one device, end-to-end encrypted (DESIGN §2, §7). An app, a page,
 * the CLI and every bridge stand on this; the node below it sees sealed envelopes only.
 *
 * ```text
 *            app
 *   ClientApi │ ▲ events, after their change is durable
 *             ▼ │
 *   Sending ─► Outbox ─────submit────► Uplink (session with the node)
 *      │          ▲ receipts, proofs ◄────┤
 *      ▼          │                       │ deliver
 *   History ◄─ Ordering ◄─ bodies ◄─ Receiving ──acknowledge──►
 *                             │
 *   Errands (per contact) ◄───┘    Upkeep (whole account)
 *      └─ Introductions, Inboxes, Bundles        └─ Inboxes, Prekeys, Locations
 *
 *   Turns + ContactBook: one contact, one change at a time, one atomic batch each
 *      └─ Copies ─► Telling ─► our other devices ─► Siblings (siblings.ts)
 * ```
 *
 * ```ts
 * await Client.create({ kv, clock, random, name: 'Alice' })
 * const connect = (listener) => new DeviceSession({ dialer, clock, random }, listener)
 * const client = await Client.open({ kv, clock, random, connect })
 * await client.start()
 * const { uri } = await client.invite()
 * ```
 *
 * Needs a store of its own, sealed and scoped (kv.ts). Nothing happens before `start`; `stop` is
 * safe to call twice, and a stopped client is opened anew, never restarted.
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { expiryHour, expiryMs } from '../envelope.ts'
import type { Frame } from '../frame/frame.ts'
import type { DeviceId, MessageId } from '../ids.ts'
import { formatInvite, parseInvite } from '../invite.ts'
import type { InviteContent, InviteHint } from '../invite.ts'
import { limits } from '../limits.ts'
import type { Clock, KvStore } from '../ports.ts'
import { within } from '../timers.ts'
import { createAccount, readAccount } from './account-state.ts'
import type { NewAccount, OwnAccount } from './account-state.ts'
import type {
  ClientApi, ClientEvent, ClientInfo, Contact, ContactPlaces, Device, DevicesApi, FileOpener, FilesApi,
  HistoryEntry, Invite, LinkOffer, MessageState, MessageStatus, SafetyNumber, Unreadable,
} from './api.ts'
import { silentClientLog } from './context.ts'
import type { ClientLog, Context } from './context.ts'
import { Emitter } from './emitter.ts'
import { eventStream } from './event-stream.ts'
import { historyFace } from './history.ts'
import { hintAddress } from './introductions.ts'
import { keys } from './keys.ts'
import { createLinkedAccount } from './linked-account.ts'
import type { NewLinkedAccount } from './linked-account.ts'
import { isAtLeast, statusFace } from './message-status.ts'
import { OwnDevices } from './own-devices.ts'
import { composeParts, loadParts, removeContact, resetParts, startParts, stopParts } from './parts.ts'
import type { Parts } from './parts.ts'
import { clearOldDevice } from './renewal.ts'
import { contactId, contactStates, messageCodec, newContact, readRecord, threadCodec } from './records.ts'
import type { ContactRecord } from './records.ts'
import type { NodeDoors } from './linking.ts'
import type { Turn } from './turns.ts'
import type { Connect } from './uplink.ts'

export interface ClientComponents {
  /** The account's own corner of a store, already sealed. */
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  /** Makes the session with the node. */
  readonly connect: Connect
  readonly log?: ClientLog
}

export interface ClientOptions {
  /** Where strangers with an invite may dial first. */
  readonly hint?: () => InviteHint | undefined
  /** So that transfers of files go on after a restart. */
  readonly files?: FileOpener
  /** The node's doors, for new devices; without it this client lets none in. */
  readonly doors?: () => NodeDoors | undefined
}

export class Client implements ClientApi, DevicesApi {
  readonly #context: Context
  readonly #connect: Connect
  readonly #options: ClientOptions
  readonly #events: Emitter<ClientEvent>
  readonly #parts: Parts
  readonly files: FilesApi
  #state: 'opened' | 'started' | 'stopped' = 'opened'
  #isOnline = false

  private constructor(
    account: { account: OwnAccount, own: OwnDevices },
    components: ClientComponents,
    options: ClientOptions,
  ) {
    const { kv, clock, random, log = silentClientLog } = components
    this.#connect = components.connect
    this.#options = options
    this.#events = new Emitter((error) => log.warn({ err: error }, 'a listener of the client threw'))
    this.#context = { kv, clock, random, log, ...account, emit: (event) => this.#events.emit(event) }
    this.#parts = composeParts(this.#context, options)
    this.files = this.#parts.files
  }

  /** Writes a fresh account into an empty store. @throws ACCOUNT_EXISTS, ACCOUNT_NAME */
  static create(input: NewAccount): Promise<OwnAccount> {
    return createAccount(input)
  }

  /** Looks whether our keys are at work elsewhere, as it does by itself now and then. */
  checkStanding(): Promise<void> {
    return this.#parts.standing.check()
  }

  /**
   * The same for a device that was linked, from the primary's answer (linked-account.ts).
   * @throws LINK_PACKAGE, ACCOUNT_EXISTS
   */
  static createLinked(input: NewLinkedAccount): Promise<OwnAccount> {
    return createLinkedAccount(input)
  }

  /** Reads everything it needs; no network. @throws ACCOUNT_MISSING, CODEC_*, STORE_* */
  static async open(components: ClientComponents, options: ClientOptions = {}): Promise<Client> {
    const { kv, clock } = components
    await clearOldDevice(kv, clock)
    const account = await readAccount(kv)
    if (account === undefined) {
      throw new OpenIMError('ACCOUNT_MISSING', 'there is no account in this store: create one first')
    }
    const own = await OwnDevices.load(kv, account)
    const client = new Client({ account, own }, components, options)
    await loadParts(client.#context, client.#parts)
    return client
  }

  /** Connects to the node and keeps everything in step from now on. */
  async start(): Promise<void> {
    if (this.#state !== 'opened') return
    this.#state = 'started'
    startParts(this.#parts)
    this.#parts.uplink.start(this.#connect({
      frame: (frame) => this.#frame(frame),
      state: (online, code) => this.#connection(online, code),
      reset: () => resetParts(this.#parts),
    }))
  }

  /** Ends the session and waits for writes under way. Idempotent. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    const wasStarted = this.#state === 'started'
    this.#state = 'stopped'
    if (wasStarted) await stopParts(this.#parts)
    this.#connection(false)
  }

  async info(): Promise<ClientInfo> {
    const {
      answering, book, gossip, inboxes, intake, locations, renewing, resets, sending, standing, uplink,
    } = this.#parts
    const { account } = this.#context
    return {
      address: account.address,
      name: account.name,
      deviceId: account.deviceId,
      online: uplink.online,
      standing: standing.state,
      isRenewing: renewing.isPending,
      outbox: sending.undelivered,
      alarms: gossip.alarms,
      refused: { resets: resets.refused, asks: answering.refused },
      contacts: book.size,
      replicas: { have: inboxes.front.replicas.length, want: limits.replicas },
      locationHolders: locations.holders,
      ...intake.progress === undefined ? {} : { sync: intake.progress },
    }
  }

  async invite(options: { expiresInMs?: number } = {}): Promise<Invite> {
    this.#parts.standing.assertGood()
    const { clock, random, account } = this.#context
    const { inboxes, uplink } = this.#parts
    const expiresInMs = options.expiresInMs ?? limits.inviteTtlMs
    if (!(expiresInMs > 0 && expiresInMs <= limits.inviteTtlMaxMs)) {
      throw new OpenIMError(
        'INVITE_EXPIRY',
        `an invite lasts up to ${limits.inviteTtlMaxMs} ms, got ${expiresInMs}: choose a shorter time`,
      )
    }
    if (inboxes.invites >= limits.invitesMax) {
      throw new OpenIMError(
        'INVITE_TOO_MANY',
        `${inboxes.invites} invites are open, the limit is ${limits.invitesMax}: wait until some are used`,
      )
    }
    const record = {
      token: random.bytes(15), expiryHour: expiryHour(clock.now() + expiresInMs), usedBy: undefined,
    }
    await inboxes.addInvite(record)
    if (uplink.online) await within(clock, limits.inviteOpenMs, inboxes.openInvite(record))
    const hint = this.#options.hint?.()
    const content: InviteContent = {
      rootKey: account.rootKey,
      seed: this.#context.own.rendezvousSeed,
      introToken: record.token,
      expiryHour: record.expiryHour,
      ...hint === undefined ? {} : { hint },
    }
    return { uri: formatInvite(content), expiresAtMs: expiryMs(record.expiryHour) }
  }

  async add(uri: string, options: { name?: string } = {}): Promise<Contact> {
    this.#parts.standing.assertGood()
    const { own, clock } = this.#context
    const invite = parseInvite(uri, clock.now())
    if (!invite.ok) throw new OpenIMError(invite.code, invite.detail ?? 'the invite cannot be used')
    const id = contactId(invite.value.rootKey)
    if (id === own.self) {
      throw new OpenIMError('CONTACT_SELF', 'this is your own invite: give it to somebody else')
    }
    const { book, errands } = this.#parts
    const name = options.name === undefined ? undefined : book.claimName(options.name, id)
    try {
      const contact = await this.#parts.turns.run(
        id,
        (turn) => this.#request(turn, { invite: invite.value, name }),
      )
      errands.poke(id)
      return contact
    } finally {
      book.release(id)
    }
  }

  #request(turn: Turn, { invite, name }: { invite: InviteContent, name: string | undefined }): Contact {
    const { book, inboxes } = this.#parts
    if (turn.contact?.state === contactStates.active) {
      throw new OpenIMError('CONTACT_EXISTS', `they are a contact already, called ${turn.contact.name}`)
    }
    const { id } = turn
    const known = turn.contact ??
      newContact({
        id,
        name: name ?? book.offerName('', id),
        box: inboxes.create(),
        addedAtMs: this.#context.clock.now(),
      })
    const contact: ContactRecord = {
      ...known,
      name: name ?? known.name,
      isNamed: known.isNamed || name !== undefined,
      seed: invite.seed,
      introduction: {
        token: invite.introToken,
        expiryHour: invite.expiryHour,
        hint: hintAddress(invite.hint),
        request: undefined,
        requestedAtMs: 0,
      },
    }
    turn.contact = contact
    turn.batch.then(() => this.#context.emit({ type: 'contact', contact: book.face(contact) }))
    return book.face(contact)
  }

  async contacts(): Promise<Contact[]> {
    return await Promise.all(this.#parts.book.people().map((contact) => this.#face(contact)))
  }

  async contact(nameOrAddress: string): Promise<Contact> {
    return await this.#face(this.#parts.book.find(nameOrAddress))
  }

  async places(nameOrAddress: string): Promise<ContactPlaces | undefined> {
    const { card } = this.#parts.book.find(nameOrAddress)
    return card === undefined ? undefined : { homes: card.homes, replicas: card.replicas }
  }

  async locate(nameOrAddress: string): Promise<ContactPlaces | undefined> {
    const located = await this.#parts.locations.locate(this.#parts.book.find(nameOrAddress))
    if (located.ok) return { homes: located.value.homes, replicas: located.value.replicas }
    if (located.code.startsWith('LOCATION_')) return undefined
    throw new OpenIMError(located.code, located.detail ?? 'the node could not look them up')
  }

  async rename(nameOrAddress: string, name: string): Promise<Contact> {
    const { book, turns } = this.#parts
    const { id } = book.find(nameOrAddress)
    const claimed = book.claimName(name, id)
    try {
      await turns.run(id, (turn) => {
        if (turn.contact === undefined) throw gone()
        const contact = { ...turn.contact, name: claimed, isNamed: true }
        turn.contact = contact
        turn.batch.then(() => this.#context.emit({ type: 'contact', contact: book.face(contact) }))
      })
    } finally {
      book.release(id)
    }
    return await this.contact(claimed)
  }

  async safetyNumber(nameOrAddress: string): Promise<SafetyNumber> {
    return await this.#parts.verification.number(this.#parts.book.find(nameOrAddress).id)
  }

  async verify(nameOrAddress: string, compared: string): Promise<Contact> {
    const { book, verification } = this.#parts
    return await this.#face(await verification.verify(book.find(nameOrAddress).id, compared))
  }

  async markVerified(nameOrAddress: string): Promise<Contact> {
    const { book, verification } = this.#parts
    return await this.#face(await verification.mark(book.find(nameOrAddress).id))
  }

  async unverify(nameOrAddress: string): Promise<Contact> {
    const { book, verification } = this.#parts
    return await this.#face(await verification.unverify(book.find(nameOrAddress).id))
  }

  async acceptChange(nameOrAddress: string): Promise<Contact> {
    const { book, verification } = this.#parts
    return await this.#face(await verification.accept(book.find(nameOrAddress).id))
  }

  acknowledgeAlarms(): Promise<void> {
    return this.#parts.gossip.acknowledge()
  }

  async devices(): Promise<Device[]> {
    return this.#parts.devices.list()
  }

  certify(request: Uint8Array): Promise<Uint8Array> {
    return this.#parts.devices.certify(request)
  }

  openLink(): Promise<LinkOffer> {
    return this.#parts.linking.open()
  }

  async confirmLink(isSame: boolean): Promise<void> {
    this.#parts.linking.confirm(isSame)
  }

  async closeLink(): Promise<void> {
    this.#parts.linking.close()
  }

  removeDevice(id: DeviceId): Promise<{ readonly invitesEnded: number }> {
    return this.#parts.devices.remove(id)
  }

  /** Their messages stay in the history; nothing more is exchanged. */
  async remove(nameOrAddress: string): Promise<void> {
    const { book, turns } = this.#parts
    await turns.run(book.find(nameOrAddress).id, (turn) => removeContact(this.#parts, turn))
  }

  async send(contact: string, text: string): Promise<MessageStatus> {
    if (this.#state === 'stopped') {
      throw new OpenIMError('CLIENT_STOPPED', 'the client was stopped: open it anew')
    }
    this.#parts.standing.assertGood()
    return await this.#parts.sending.send(this.#parts.book.find(contact).id, text)
  }

  async status(id: MessageId): Promise<MessageStatus | undefined> {
    const record = this.#parts.outbox.message(id) ?? await readRecord(
      this.#context.kv,
      messageCodec,
      keys.message(id),
    )
    // Between the outbox and the store it is in both or in the outbox again.
    const known = record ?? this.#parts.outbox.message(id)
    return known === undefined ? undefined : statusFace(id, known, this.#parts.book.nameOf(known.contact))
  }

  /** @throws MESSAGE_UNKNOWN for an id that was never sent from here */
  async waitFor(id: MessageId, state: MessageState, signal?: AbortSignal): Promise<MessageStatus> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const unsubscribe = this.on((event) => {
      if (event.type === 'status' && event.status.id === id && isAtLeast(event.status, state)) resolve()
    })
    const abort = (): void => resolve()
    signal?.addEventListener('abort', abort)
    try {
      const before = await this.status(id)
      if (before === undefined) {
        throw new OpenIMError('MESSAGE_UNKNOWN', `no message of yours has the id ${id}`)
      }
      if (isAtLeast(before, state) || signal?.aborted === true) return before
      await promise
      return await this.status(id) ?? before
    } finally {
      unsubscribe()
      signal?.removeEventListener('abort', abort)
    }
  }

  async history(options: {
    after?: number, limit?: number, contact?: string, direction?: 'in' | 'out', reverse?: boolean
  } = {}): Promise<HistoryEntry[]> {
    const { book, history } = this.#parts
    const { contact, ...query } = options
    const entries = await history.list(
      contact === undefined ? query : { ...query, contact: book.find(contact).id },
    )
    return await Promise.all(entries.map(async (entry) => {
      const { isOutgoing, id, contact } = entry.record
      const shown = historyFace(entry, book.nameOf(contact), isOutgoing ? await this.status(id) : undefined)
      const file = shown.file === undefined ? undefined : await this.#parts.files.of(id) ?? shown.file
      const face = file === undefined ? shown : { ...shown, file }
      const alarm = isOutgoing ? undefined : book.get(contact)?.alarm
      return alarm === undefined || alarm === '' ? face : { ...face, alarm }
    }))
  }

  unreadable(): Promise<Unreadable[]> {
    return this.#parts.unreadables.list()
  }

  cursor(name: string): Promise<number> {
    return this.#parts.history.cursor(name)
  }

  setCursor(name: string, position: number): Promise<void> {
    return this.#parts.history.setCursor(name, position)
  }

  async markRead(contact: string, upTo: number): Promise<void> {
    await this.#parts.receipts.markRead(this.#parts.book.find(contact).id, upTo)
  }

  on(listener: (event: ClientEvent) => void): () => void {
    return this.#events.on(listener)
  }

  events(options: { signal?: AbortSignal } = {}): AsyncGenerator<ClientEvent, void, undefined> {
    return eventStream((listener) => this.on(listener), options.signal)
  }

  async #face(contact: ContactRecord): Promise<Contact> {
    const thread = await readRecord(this.#context.kv, threadCodec, keys.thread(contact.id))
    return this.#parts.book.face(contact, thread?.lastSeenAtMs)
  }

  #connection(online: boolean, code?: string): void {
    if (code !== undefined) this.#parts.standing.refused(code)
    if (online === this.#isOnline) return
    this.#isOnline = online
    this.#events.emit({ type: 'connection', online })
  }

  /** Frames of the node, one at a time; what is returned holds up the next one. */
  async #frame(frame: Frame): Promise<void> {
    const { uplink, outbox, receiving, inboxes, standing, upkeep } = this.#parts
    if (uplink.answer(frame)) return
    switch (frame.type) {
      case 'receipt':
        outbox.receive(frame)
        return
      case 'deliver':
        // Left at the node: another device takes it over.
        if (standing.state !== 'good') return
        await receiving.deliver(frame)
        return
      case 'inboxState':
        await inboxes.receive(frame).catch((error: unknown) => {
          this.#context.log.warn({ code: errorCode(error) }, 'a change of replicas could not be written')
        })
        return
      case 'fileHeld':
        this.#parts.files.receive(frame)
        return
      case 'linkMessage':
      case 'linkClosed':
        this.#parts.linking.receive(frame)
        return
      case 'shelfHeld':
        upkeep.onShelf()
        return
      default:
        this.#context.log.debug({ type: frame.type }, 'a frame that needs no answer')
    }
  }
}

function gone(): OpenIMError {
  return new OpenIMError('CONTACT_UNKNOWN', 'the contact was removed meanwhile')
}
