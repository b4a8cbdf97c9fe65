/**
 * The inboxes this node is home to: kept in its mailbox, leased at replicas, drained when they
 * held something, and emptied when every device of the account has acknowledged.
 *
 * The node has an inbox's read key, so it may collect and delete for its owner; it has no key
 * that decrypts.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { decode, encode } from '../../protocol/codec/struct.ts'
import { boxId, expiryMs } from '../../protocol/envelope.ts'
import { inboxActions } from '../../protocol/frame/inbox.ts'
import type { InboxFrame } from '../../protocol/frame/inbox.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { changeEntry, kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import type { DepositReply } from '../../protocol/service/deposit.ts'
import { tombstoneIdsMax } from '../../protocol/service/acknowledge.ts'
import { hintKinds } from '../../protocol/service/household.ts'
import { boxKinds } from '../../protocol/service/lease.ts'
import { Repeater, within } from '../../protocol/timers.ts'
import type { Courier, HouseholdPort, Log, MailboxStore, Overlay } from '../ports.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type { HomeDevice } from './acknowledgements.ts'
import { buryAt, drainReplica, signTombstones } from './drain.ts'
import { homeInboxCodec } from './records.ts'
import type { HomeInbox } from './records.ts'
import { maintainReplicas, releaseReplicas, sameReplicas } from './replica-set.ts'

export const homePrefix = 'home/'
/** A device that opens an inbox waits this long for replicas; more may join later. */
const openPatienceMs = 4_000
const upkeepMs = 10 * 60_000
/** Replicas are asked for mail this often even when nothing hints at it. */
const drainEveryMs = 5 * 60_000
/** After a replica did not answer, doubled each time up to the regular round. */
const drainRetryMinMs = 10_000
const hourMs = 3_600_000
const inboxesMax = 50_000
const atReplicasMax = 100_000
/** Replicas that are drained at once; each may answer with `limits.fetchBytesMax`. */
const drainsMax = 64

/** Where an inbox is held, for its devices. */
export interface InboxPlaces {
  readonly account: string
  readonly box: BoxId
  readonly replicas: readonly NodeId[]
}

interface OpenInbox {
  readonly box: BoxId
  readonly readKeys: SigningKeyPair
  record: HomeInbox
  /** Of the record when it was read last because another process may have changed it. */
  seenVersion: number
  /** Replica work of one inbox runs one after the other. */
  turn: Promise<unknown>
  /** And so do acknowledgements of several devices, each of which counts on what is written. */
  acknowledging: Promise<unknown>
}

export interface InboxesComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  readonly mailbox: MailboxStore
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly household: HouseholdPort
}

export interface InboxesOptions {
  /** Storage nodes known now, without ourselves. */
  readonly storageNodes: () => readonly NodeDescriptor[]
  readonly devicesOf: (account: string) => readonly string[] | Promise<readonly string[]>
  readonly depositHere: (envelopes: readonly Uint8Array[]) => Promise<DepositReply>
  readonly onPlaces: (places: InboxPlaces) => void
}

export class Inboxes {
  readonly #components: InboxesComponents
  readonly #options: InboxesOptions
  readonly #acknowledgements: Acknowledgements
  readonly #open = new Map<BoxId, OpenInbox>()
  readonly #byReplica = new Map<NodeId, Set<BoxId>>()
  /** Replicas that still hold an envelope we have not acknowledged; memory only, a drain finds it again. */
  readonly #atReplicas = new Map<EnvelopeId, NodeId[]>()
  readonly #upkeep: Repeater
  readonly #draining: Repeater
  readonly #drainsUnderWay = new Set<string>()
  #drainRetryMs = 0
  #stopPeerEvents: (() => void) | undefined
  #stopped = false

  constructor(components: InboxesComponents, options: InboxesOptions) {
    this.#components = components
    this.#options = options
    this.#acknowledgements = new Acknowledgements(components, options)
    const onError = (error: unknown): void => components.log.warn({ err: error }, 'inbox upkeep failed')
    const often = { spread: 0.3, onError }
    this.#upkeep = new Repeater(components, () => this.#maintainAll(), { ...often, everyMs: upkeepMs })
    this.#draining = new Repeater(components, () => this.#drainAll(), { ...often, everyMs: drainEveryMs })
  }

  /** Before the overlay takes calls: what is not known here is refused. */
  async load(): Promise<void> {
    for await (const entry of kvEntries(this.#components.kv, homePrefix)) {
      this.#remember(decode(homeInboxCodec, entry.value))
    }
  }

  start(): void {
    this.#stopPeerEvents = this.#components.overlay.onPeer((nodeId, connected) => {
      if (connected && this.#isKeeper) void this.#drainFrom(nodeId)
    })
    this.#draining.start(0)
    this.#upkeep.start(2_000)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#stopPeerEvents?.()
    await Promise.all([this.#upkeep.stop(), this.#draining.stop()])
  }

  /** Another process may have opened, changed or closed any: reads all again. */
  async refreshAll(): Promise<void> {
    const seen = new Set<BoxId>()
    for await (const { key, value, version } of kvEntries(this.#components.kv, homePrefix)) {
      const box = key.slice(homePrefix.length) as BoxId
      seen.add(box)
      if (this.#open.get(box)?.seenVersion !== version) this.#learn(box, { value, version })
    }
    for (const [box, inbox] of [...this.#open]) if (!seen.has(box)) await this.refresh(box, inbox)
  }

  /** Another process may have opened, changed or closed this one. */
  async refresh(box: BoxId, known = this.#open.get(box)): Promise<void> {
    const entry = await this.#components.kv.get(homePrefix + box)
    if (entry !== undefined) this.#learn(box, entry)
    else if (known !== undefined && this.#open.get(box) === known) this.#forget(known)
  }

  /** Whether this process is to look after the replicas from now on. */
  onKeeper(): void {
    if (!this.#isKeeper) return
    this.#draining.soon(0)
    this.#upkeep.soon(0)
  }

  /** Where all are held is told again: somebody joined the household, or left it. */
  tellAll(): void {
    for (const inbox of this.#open.values()) this.#options.onPlaces(this.#places(inbox))
  }

  get #isKeeper(): boolean {
    return this.#components.household.does('keeper')
  }

  isHome(box: BoxId): boolean {
    return this.#open.has(box)
  }

  accountOf(box: BoxId): string | undefined {
    return this.#open.get(box)?.record.account
  }

  boxesOf(account: string): BoxId[] {
    return [...this.#open.values()]
      .filter((inbox) => inbox.record.account === account)
      .map((inbox) => inbox.box)
  }

  /** Replicas of all inboxes with this placement: what strangers are pointed to. */
  holdersFor(placement: Uint8Array): Set<NodeId> {
    const holders = new Set<NodeId>()
    for (const { record } of this.#open.values()) {
      if (!equalBytes(record.placement, placement)) continue
      for (const { nodeId } of record.replicas) holders.add(nodeId)
    }
    return holders
  }

  /** Becomes home to the inbox (or renews it), waits a little for replicas, says where it is held. */
  async open(account: string, frame: InboxFrame): Promise<InboxPlaces> {
    const readKeys = crypto.signingKeyPair(frame.readSeed)
    const box = boxId({ writeKey: frame.writeKey, readKey: readKeys.publicKey })
    const known = this.#open.get(box)
    if (known !== undefined && known.record.account !== account) {
      throw new OpenIMError('INBOX_TAKEN', 'another account of this node has this inbox')
    }
    if (known === undefined && this.#open.size >= inboxesMax) {
      throw new OpenIMError('INBOX_TOO_MANY', `this node is home to ${inboxesMax} inboxes; that is the limit`)
    }
    const { mailbox, clock } = this.#components
    const itemsMax = Math.min(frame.itemsMax, limits.boxItemsMax)
    const bytesMax = Math.min(frame.bytesMax, limits.boxBytesMax)
    const expiresAtMs = frame.expiryHour === 0 ? Infinity : expiryMs(frame.expiryHour)
    await mailbox.setBox(box, { itemsMax, bytesMax, expiresAtMs })
    const inbox = await this.#change(box, (current) => ({
      kind: boxKinds.mail,
      account,
      writeKey: frame.writeKey.slice(),
      readSeed: frame.readSeed.slice(),
      placement: frame.placement.slice(),
      itemsMax,
      bytesMax,
      expiryHour: frame.expiryHour,
      leaseSequence: current?.leaseSequence ?? 0,
      replicas: current?.replicas ?? [],
    }))
    if (inbox === undefined) throw new OpenIMError('INBOX_GONE', 'the inbox was closed meanwhile')
    const isShort = inbox.record.replicas.length < limits.replicas
    // Elsewhere the keeper does it as soon as it hears, and the device is told then.
    if (isShort && this.#isKeeper) await within(clock, openPatienceMs, this.#maintain(inbox))
    return this.#places(inbox)
  }

  async close(account: string, frame: InboxFrame): Promise<InboxPlaces> {
    const readKey = crypto.signingKeyPair(frame.readSeed).publicKey
    const box = boxId({ writeKey: frame.writeKey, readKey })
    const inbox = this.#open.get(box)
    if (inbox?.record.account === account) await this.#drop(inbox)
    return { account, box, replicas: [] }
  }

  apply(account: string, frame: InboxFrame): Promise<InboxPlaces> {
    return frame.action === inboxActions.open ? this.open(account, frame) : this.close(account, frame)
  }

  /**
   * A device has these durably. What all devices of the account have is deleted here and at the
   * replicas that are known to hold it.
   */
  async acknowledge(device: HomeDevice, box: BoxId, ids: readonly EnvelopeId[]): Promise<void> {
    const inbox = this.#open.get(box)
    if (inbox === undefined || inbox.record.account !== device.account) return
    const work = inbox.acknowledging.then(() => this.#acknowledgements.add(device, box, ids))
    inbox.acknowledging = work.catch(() => {})
    await this.#bury(inbox, await work)
  }

  /** Mail that only waited for a device which is gone is deleted now. */
  async onDeviceRemoved(account: string): Promise<void> {
    for (const box of await this.#acknowledgements.boxes()) {
      const inbox = this.#open.get(box)
      if (inbox?.record.account !== account) continue
      const work = inbox.acknowledging.then(() => this.#acknowledgements.ofRest(account, box))
      inbox.acknowledging = work.catch(() => {})
      await this.#bury(inbox, await work)
    }
  }

  async #bury(inbox: OpenInbox, done: readonly EnvelopeId[]): Promise<void> {
    if (done.length === 0) return
    const { box } = inbox
    const { mailbox, clock } = this.#components
    const expiresAtMs = clock.now() + limits.envelopeTtlMs + hourMs
    const proofs = signTombstones({ writeKey: inbox.record.writeKey, readKeys: inbox.readKeys }, done)
    // Each is kept with the ids it names, or it would prove nothing to their sender.
    await Promise.all(proofs.map((proof, i) => {
      const named = done.slice(i * tombstoneIdsMax, (i + 1) * tombstoneIdsMax)
      return mailbox.acknowledge(box, named, { expiresAtMs, proof })
    }))
    this.#buryEverywhere(inbox, done)
  }

  /** Ids of this page that the device has not acknowledged yet. */
  unacknowledgedBy(device: HomeDevice, box: BoxId, ids: readonly EnvelopeId[]): Promise<Set<EnvelopeId>> {
    return this.#acknowledgements.missing(device, box, ids)
  }

  /** More storage nodes became known. */
  onDirectoryGrew(): void {
    const isShort = [...this.#open.values()].some((inbox) => inbox.record.replicas.length < limits.replicas)
    if (isShort) this.#upkeep.soon(2_000)
  }

  #buryEverywhere(inbox: OpenInbox, ids: readonly EnvelopeId[]): void {
    const byReplica = new Map<NodeId, EnvelopeId[]>()
    for (const id of ids) {
      for (const replica of this.#atReplicas.get(id) ?? []) {
        const list = byReplica.get(replica)
        if (list === undefined) byReplica.set(replica, [id])
        else list.push(id)
      }
      this.#atReplicas.delete(id)
    }
    const keys = { writeKey: inbox.record.writeKey, readKeys: inbox.readKeys }
    for (const [replica, list] of byReplica) void buryAt(this.#components, keys, { replica, ids: list })
  }

  #remember(record: HomeInbox): OpenInbox {
    const readKeys = crypto.signingKeyPair(record.readSeed)
    const box = boxId({ writeKey: record.writeKey, readKey: readKeys.publicKey })
    const known = this.#open.get(box)
    if (known !== undefined) {
      this.#index(known, record)
      return known
    }
    const idle = Promise.resolve()
    const inbox: OpenInbox = { box, readKeys, record, seenVersion: 0, turn: idle, acknowledging: idle }
    this.#open.set(box, inbox)
    this.#index(inbox, record)
    return inbox
  }

  #index(inbox: OpenInbox, record: HomeInbox): void {
    for (const { nodeId } of inbox.record.replicas) {
      const boxes = this.#byReplica.get(nodeId)
      boxes?.delete(inbox.box)
      if (boxes?.size === 0) this.#byReplica.delete(nodeId)
    }
    inbox.record = record
    for (const { nodeId } of record.replicas) {
      const boxes = this.#byReplica.get(nodeId) ?? new Set()
      boxes.add(inbox.box)
      this.#byReplica.set(nodeId, boxes)
    }
  }

  #places(inbox: OpenInbox): InboxPlaces {
    const replicas = inbox.record.replicas.map((replica) => replica.nodeId)
    return { account: inbox.record.account, box: inbox.box, replicas }
  }

  /** Heard of: another process wrote it. */
  #learn(box: BoxId, { value, version }: { value: Uint8Array, version: number }): void {
    const record = decode(homeInboxCodec, value)
    const before = this.#open.get(box)?.record
    const inbox = this.#remember(record)
    inbox.seenVersion = version
    if (before === undefined || !sameReplicas(before, record)) this.#options.onPlaces(this.#places(inbox))
    if (record.replicas.length < limits.replicas && this.#isKeeper) this.#upkeep.soon(0)
  }

  /**
   * The one way to write: others of the household change the same records.
   * @param change gets undefined when there is none; gives undefined to leave it
   * @returns undefined when there is none
   */
  async #change(
    box: BoxId,
    change: (record: HomeInbox | undefined) => HomeInbox | undefined,
    kv = this.#components.kv,
  ): Promise<OpenInbox | undefined> {
    const { household } = this.#components
    let record: HomeInbox | undefined
    await changeEntry(kv, homePrefix + box, (value) => {
      // A damaged record was set aside; what we remember is as good, if nobody else can have closed it.
      const remembered = household.isAlone ? this.#open.get(box)?.record : undefined
      const current = value === undefined ? remembered : decode(homeInboxCodec, value)
      const changed = change(current)
      record = changed ?? current
      return changed === undefined ? undefined : encode(homeInboxCodec, changed)
    })
    if (record === undefined) return undefined
    household.tell({ kind: hintKinds.changed, subject: homePrefix + box })
    return this.#remember(record)
  }

  async #drop(inbox: OpenInbox): Promise<void> {
    const released = inbox.record
    this.#forget(inbox)
    void releaseReplicas(this.#replicaComponents(), released)
    const { mailbox, kv, household } = this.#components
    await Promise.all([
      mailbox.dropBox(inbox.box),
      kv.write([{ type: 'delete', key: homePrefix + inbox.box }]),
    ])
    household.tell({ kind: hintKinds.changed, subject: homePrefix + inbox.box })
    await this.#acknowledgements.forget(inbox.box)
  }

  #forget(inbox: OpenInbox): void {
    this.#index(inbox, { ...inbox.record, replicas: [] })
    this.#open.delete(inbox.box)
  }

  #replicaComponents(): { courier: Courier, clock: Clock, self: NodeId } {
    const { courier, clock, overlay } = this.#components
    return { courier, clock, self: overlay.nodeId }
  }

  #maintain(inbox: OpenInbox): Promise<void> {
    const work = inbox.turn.then(async () => {
      if (this.#stopped || !this.#open.has(inbox.box)) return
      const before = inbox.record
      const after = await maintainReplicas(this.#replicaComponents(), before, () => ({
        candidates: this.#options.storageNodes(),
        preferred: this.holdersFor(before.placement),
      }))
      if (this.#stopped || after === before || !this.#open.has(inbox.box)) return
      // Its device may have renewed it meanwhile: only the leases are ours to change.
      const { leaseSequence, replicas } = after
      await this.#keep(inbox, (record) => ({ ...record, leaseSequence, replicas }))
      if (!sameReplicas(before, after)) this.#options.onPlaces(this.#places(inbox))
    })
    inbox.turn = work.catch(() => {})
    return work
  }

  async #maintainAll(): Promise<void> {
    const nowMs = this.#components.clock.now()
    for (const inbox of [...this.#open.values()]) {
      if (this.#stopped || !this.#isKeeper) return
      const { expiryHour } = inbox.record
      if (expiryHour !== 0 && expiryMs(expiryHour) <= nowMs) await this.#drop(inbox)
      else await this.#maintain(inbox)
    }
  }

  /** A replica that did not answer may hold the only copy: it is asked again soon, then less often. */
  async #drainAll(): Promise<void> {
    if (!this.#isKeeper) return
    const waiting = [...this.#byReplica.keys()]
    let isComplete = true
    const worker = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (!await this.#drainFrom(next)) isComplete = false
      }
    }
    await Promise.all(Array.from({ length: drainsMax }, worker))
    this.#drainRetryMs = isComplete ? 0 : Math.max(drainRetryMinMs, 2 * this.#drainRetryMs)
    if (!isComplete) this.#draining.soon(Math.min(this.#drainRetryMs, drainEveryMs))
  }

  /** Reads every inbox that this replica holds for us. Never rejects; false when it did not answer. */
  async #drainFrom(replica: NodeId): Promise<boolean> {
    for (const box of [...this.#byReplica.get(replica) ?? []]) {
      const inbox = this.#open.get(box)
      const underWay = `${replica}/${box}`
      if (inbox === undefined || this.#stopped || this.#drainsUnderWay.has(underWay)) continue
      this.#drainsUnderWay.add(underWay)
      try {
        const { complete } = await this.#drainOne(inbox, replica)
        // It does not answer: its other inboxes wait for the next round.
        if (!complete) return false
      } catch (error) {
        // Our own disk; the replica keeps it until it has room again.
        this.#components.log.warn({ err: error, replica }, 'mail of a replica could not be taken over')
        return false
      } finally {
        this.#drainsUnderWay.delete(underWay)
      }
    }
    return true
  }

  async #drainOne(inbox: OpenInbox, replica: NodeId): Promise<{ complete: boolean }> {
    const { courier, clock, overlay } = this.#components
    const components = { courier, clock, self: overlay.nodeId, depositHere: this.#options.depositHere }
    const keys = { writeKey: inbox.record.writeKey, readKeys: inbox.readKeys }
    const result = await drainReplica(components, keys, replica)
    // A stop cuts calls short; that is not the replica's silence.
    if (this.#stopped) return result
    await this.#noteSilence(inbox, replica, !result.complete)
    for (const id of result.waiting) {
      if (this.#atReplicas.size >= atReplicasMax) break
      const holders = this.#atReplicas.get(id) ?? []
      if (!holders.includes(replica)) this.#atReplicas.set(id, [...holders, replica])
    }
    return result
  }

  /** Since when a replica does not answer; upkeep replaces it when the grace is over. */
  async #noteSilence(inbox: OpenInbox, replica: NodeId, isSilent: boolean): Promise<void> {
    const known = inbox.record.replicas.find(({ nodeId }) => nodeId === replica)
    if (known === undefined || isSilent === known.silentSinceMs > 0) return
    const silentSinceMs = isSilent ? this.#components.clock.now() : 0
    const noted = (record: HomeInbox): HomeInbox => ({
      ...record,
      replicas: record.replicas
        .map((other) => (other.nodeId === replica ? { ...other, silentSinceMs } : other)),
    })
    // Before it is written, or the next drain would note it again.
    inbox.record = noted(inbox.record)
    await this.#keep(inbox, noted)
  }

  /** What only the keeper changes: not one that lost the work while it was frozen. */
  async #keep(inbox: OpenInbox, change: (record: HomeInbox) => HomeInbox): Promise<void> {
    const { household, kv } = this.#components
    if (this.#open.get(inbox.box) !== inbox) return
    const work = (record: HomeInbox | undefined) => record === undefined ? undefined : change(record)
    await this.#change(inbox.box, work, household.fenced('keeper', kv))
  }
}
