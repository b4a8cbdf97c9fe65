/**
 * The Router: holds the sessions of this node's devices, whatever door they came through, and
 * hands every frame to its handler by type; what the Messenger has to say goes back to the right
 * device.
 *
 * Frames begin in order and a bounded number per session is under way at once: so that submitted
 * envelopes share one synced write, and a look-up that waits for the network holds up no message.
 */
import { errorCode } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import type { ReceiptFrame } from '../../protocol/frame/receipt.ts'
import type { ShelfHolder } from '../../protocol/frame/shelf.ts'
import type { BoxId, NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import { hintKinds } from '../../protocol/service/household.ts'
import { SessionHost } from '../../protocol/session/session-host.ts'
import type { HostedSession } from '../../protocol/session/types.ts'
import type { AcceptedLink, HouseholdPort, Log } from '../ports.ts'
import type { Accounts, KnownDevice } from './accounts.ts'
import { ReceiptFeed } from './receipt-feed.ts'
import type { FileHeld, FrameHandler, HandlerContext, LocationPort, MessengerPort } from './handler.ts'
import { LinkLobby } from './link-lobby.ts'
import { frameHandlers } from './handlers/index.ts'
import { refusalDetail } from './refusal-detail.ts'

/** Frames of one session that may be under way at the same time. */
const framesMax = 64

export interface RouterComponents {
  readonly accounts: Accounts
  readonly messenger: MessengerPort
  readonly locations: LocationPort
  readonly household: HouseholdPort
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

type Session = HostedSession<KnownDevice>

interface SessionState {
  readonly session: Session
  readonly detach: () => void
  readonly receipts: ReceiptFeed
  readonly work: Set<Promise<void>>
}

export class Router {
  readonly #components: RouterComponents
  readonly #doorAddresses: () => readonly string[]
  readonly #host: SessionHost<KnownDevice>
  readonly #lobby: LinkLobby
  /** By device: each has one session. */
  readonly #sessions = new Map<string, SessionState>()

  constructor(
    components: RouterComponents,
    options: { doorAddresses?: () => readonly string[] } = {},
  ) {
    this.#components = components
    this.#doorAddresses = options.doorAddresses ?? (() => [])
    this.#lobby = new LinkLobby(components)
    this.#host = new SessionHost<KnownDevice>(components, {
      authorise: (deviceKey) => components.accounts.authorise(deviceKey),
      opened: (session) => this.#opened(session),
      frame: (session, frame) => this.#frame(session, frame),
      drain: () => {},
      linked: (session, online) => components.log.debug({ device: session.who.id, online }, 'device link'),
      ended: (session, code) => this.#ended(session, code),
    })
  }

  accept(link: AcceptedLink): void {
    if (this.#lobby.expects(link.deviceKey)) this.#lobby.accept(link)
    else this.#host.accept(link)
  }

  async stop(): Promise<void> {
    await Promise.all([this.#lobby.stop(), this.#host.stop()])
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** A receipt for a device, if it is in session; otherwise it asks again when it comes back. */
  receipt(device: string, receipt: ReceiptFrame): void {
    this.#sessions.get(device)?.receipts.push(receipt)
  }

  /** The replicas of an inbox changed. */
  places(places: { account: string, box: BoxId, replicas: readonly NodeId[] }): void {
    const frame: Frame = {
      type: 'inboxState', request: 0, box: places.box, homes: this.#homes(), replicas: [...places.replicas],
    }
    this.#tellAccount(places.account, frame)
  }

  /** A holder signed for pieces of a file box, or its holders changed. */
  fileHeld({ account, replicas, proofs, ...held }: FileHeld & { account: string }): void {
    const places = { homes: this.#homes(), replicas: [...replicas] }
    this.#tellAccount(account, { type: 'fileHeld', request: 0, ...held, ...places, proofs: [...proofs] })
  }

  shelf(account: string, shelfKey: Uint8Array, holders: readonly ShelfHolder[]): void {
    this.#tellAccount(account, { type: 'shelfHeld', request: 0, shelfKey, holders: [...holders] })
  }

  /** A device logged in at another process of the household: what it does there is newer. */
  onSessionElsewhere(device: string): void {
    this.#sessions.get(device)?.session.end('SESSION_REPLACED', 'the device logged in anew elsewhere')
  }

  /** Another process may have changed who may log in. */
  onAccountsChanged(): void {
    for (const id of this.#components.accounts.revokedOf(this.#sessions.keys())) {
      this.#sessions.get(id)?.session.end('DEVICE_REVOKED', 'the account does not list this device any more')
    }
  }

  #homes(): NodeId[] {
    return [...this.#components.household.homes()]
  }

  #tellAccount(account: string, frame: Frame): void {
    for (const { session } of this.#sessions.values()) {
      // It ended, and the next one asks for everything that matters.
      if (session.who.account === account) this.#send(session, frame).catch(() => {})
    }
  }

  /** A device that overflows its session loses something of it, so the session starts anew. */
  async #send(session: Session, frame: Frame): Promise<void> {
    try {
      await session.send(frame)
    } catch (error) {
      if (errorCode(error) !== 'SESSION_QUEUE_FULL') return
      session.end('SESSION_QUEUE_FULL', 'the device does not keep up')
      throw error
    }
  }

  #opened(session: Session): void {
    const send = (frame: Frame): Promise<void> => this.#send(session, frame)
    this.#sessions.set(session.who.id, {
      session,
      detach: this.#components.messenger.attach({ ...session.who, send }),
      receipts: new ReceiptFeed(send),
      work: new Set(),
    })
    const { who, transport } = session
    this.#components.household.tell({ kind: hintKinds.session, subject: who.id })
    if (transport !== 'loopback') this.#tellDoors(session)
    this.#components.log.info({ device: who.id, transport }, 'device session opened')
  }

  #tellDoors(session: Session): void {
    const addresses = this.#doorAddresses().slice(0, limits.nodeAddressesMax)
    // It ended: the next one is told.
    if (addresses.length > 0) this.#send(session, { type: 'doors', addresses }).catch(() => {})
  }

  #ended(session: Session, code: string): void {
    this.#stateOf(session)?.detach()
    this.#lobby.close(session.who.id, code)
    if (this.#stateOf(session) !== undefined) this.#sessions.delete(session.who.id)
    this.#components.log.info({ device: session.who.id, code }, 'device session ended')
  }

  #stateOf(session: Session): SessionState | undefined {
    const state = this.#sessions.get(session.who.id)
    return state?.session === session ? state : undefined
  }

  async #frame(session: Session, frame: Frame): Promise<void> {
    const state = this.#stateOf(session)
    if (state === undefined) return
    const handler = frameHandlers[frame.type] as FrameHandler<Frame['type']> | undefined
    if (handler === undefined) {
      session.end('FRAME_UNEXPECTED', `a device does not send ${frame.type}`)
      return
    }
    const { messenger, locations } = this.#components
    const context: HandlerContext = {
      homes: this.#homes(),
      device: session.who,
      messenger,
      locations,
      lobby: this.#lobby,
      setDevices: (linkKeys) => this.#setDevices(session.who, linkKeys),
      reply: (answer) => this.#send(session, answer),
    }
    const work = this.#handle(context, handler, frame)
    state.work.add(work)
    void work.finally(() => state.work.delete(work))
    if (state.work.size >= framesMax) await Promise.race(state.work)
  }

  /** Sessions of devices that are out now end before anything else is done for them. */
  async #setDevices(device: KnownDevice, linkKeys: readonly Uint8Array[]): Promise<void> {
    const { accounts, messenger, log } = this.#components
    const removed = await accounts.setDevices(device, linkKeys)
    for (const id of removed) {
      this.#sessions.get(id)?.session.end('DEVICE_REVOKED', 'the account does not list this device any more')
      log.info({ device: id }, 'device removed')
    }
    // Also when nothing was: a crash may have come between the two.
    await messenger.onDeviceRemoved(device.account)
  }

  /** Runs a handler; what it throws becomes a refusal, or a log line when nobody asked. */
  async #handle(context: HandlerContext, handler: FrameHandler<Frame['type']>, frame: Frame): Promise<void> {
    try {
      await handler(context, frame)
    } catch (error) {
      const code = errorCode(error) ?? 'REQUEST_FAILED'
      if (code.startsWith('SESSION_')) return
      this.#components.log.warn({ err: error, frame: frame.type, code }, 'a frame could not be handled')
      if (!('request' in frame)) return
      const detail = refusalDetail(error)
      await context.reply({ type: 'refusal', request: frame.request, code, detail }).catch(() => {})
    }
  }
}
