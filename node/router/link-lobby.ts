/**
 * Where a new device knocks (DESIGN §3): a device of an account opens a place, a connection that
 * proves the key of the link code is let in as a guest, and the node passes their sealed messages
 * on without being able to read them. A guest is no device of the account and reaches nothing
 * else of the node.
 */
import { hex } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import { SessionHost } from '../../protocol/session/session-host.ts'
import type { HostedSession } from '../../protocol/session/types.ts'
import type { AcceptedLink, Log } from '../ports.ts'

/** One device that lets somebody in, and who came. */
interface Place {
  /** Of the device. */
  readonly id: string
  readonly guestKey: string
  readonly tell: (frame: Frame) => void
  readonly timer: Timer
  guest: HostedSession<Place> | undefined
  /** Both ways together. */
  messages: number
}

export class LinkLobby {
  readonly #clock: Clock
  readonly #log: Log
  readonly #host: SessionHost<Place>
  readonly #byGuest = new Map<string, Place>()
  readonly #byDevice = new Map<string, Place>()

  constructor(components: { clock: Clock, random: Random, log: Log }) {
    this.#clock = components.clock
    this.#log = components.log
    this.#host = new SessionHost<Place>(components, {
      authorise: (deviceKey) => {
        const place = this.#byGuest.get(hex(deviceKey))
        return place === undefined
          ? { ok: false, code: 'LINK_CODE_OVER', detail: 'the link code is used up or too old' }
          : { ok: true, value: place }
      },
      opened: (session) => {
        session.who.guest = session
        this.#log.info({ device: session.who.id, remote: session.remote }, 'a new device knocks')
      },
      frame: (session, frame) => this.#fromGuest(session, frame),
      drain: () => {},
      linked: () => {},
      ended: (session, code) => {
        if (session.who.guest === session) this.close(session.who.id, code)
      },
    })
  }

  /** Whether a connection with this key is a guest's. */
  expects(deviceKey: Uint8Array): boolean {
    return this.#byGuest.has(hex(deviceKey))
  }

  accept(link: AcceptedLink): void {
    this.#host.accept(link)
  }

  /** A place for one guest; an earlier one of this device is closed. @throws LINK_BUSY */
  open(device: string, guestKey: Uint8Array, tell: (frame: Frame) => void): { readonly expiresAtMs: number } {
    this.close(device, 'LINK_REPLACED')
    const key = hex(guestKey)
    if (this.#byGuest.has(key) || this.#byGuest.size >= limits.linkPlacesMax) {
      throw new OpenIMError('LINK_BUSY', 'too many devices are being linked at this node: try again later')
    }
    const timer = this.#clock.after(limits.linkTtlMs, () => this.close(device, 'LINK_CODE_OVER'))
    const place: Place = { id: device, guestKey: key, tell, timer, guest: undefined, messages: 0 }
    this.#byGuest.set(key, place)
    this.#byDevice.set(device, place)
    return { expiresAtMs: this.#clock.now() + limits.linkTtlMs }
  }

  /** The device answers its guest. */
  fromDevice(device: string, frame: Frame): void {
    const place = this.#byDevice.get(device)
    if (place?.guest === undefined || !this.#counts(place)) return
    place.guest.send(frame).catch(() => {})
  }

  /** The place is gone; both are told. Idempotent. */
  close(device: string, code: string): void {
    const place = this.#byDevice.get(device)
    if (place === undefined) return
    this.#byDevice.delete(device)
    this.#byGuest.delete(place.guestKey)
    place.timer.cancel()
    const { guest } = place
    place.guest = undefined
    place.tell({ type: 'linkClosed', code })
    if (guest === undefined) return
    guest.send({ type: 'linkClosed', code }).catch(() => {})
    guest.end(code)
  }

  stop(): Promise<void> {
    for (const device of [...this.#byDevice.keys()]) this.close(device, 'SESSION_STOPPED')
    return this.#host.stop()
  }

  #fromGuest(session: HostedSession<Place>, frame: Frame): void {
    const place = session.who
    if (place.guest !== session) return
    if (frame.type === 'linkMessage') {
      if (this.#counts(place)) place.tell(frame)
    } else if (frame.type === 'linkClosed') {
      this.close(place.id, 'LINK_LEFT')
    } else {
      this.close(place.id, 'FRAME_UNEXPECTED')
    }
  }

  #counts(place: Place): boolean {
    place.messages++
    if (place.messages <= limits.linkMessagesMax) return true
    this.close(place.id, 'LINK_TOO_MUCH')
    return false
  }
}
