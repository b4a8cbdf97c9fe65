/**
 * Letting a new device into the account, at the device that holds the root key: makes the link
 * code, answers the new device through the node (linking/link-side.ts), and lists it once the
 * person has said that both screens show the same.
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { LinkClosedFrame, LinkMessageFrame } from '../frame/link.ts'
import { limits } from '../limits.ts'
import type { Timer } from '../ports.ts'
import { formatLinkCode, linkKeys, linkTokenBytes } from '../linking/link-code.ts'
import { LinkHost } from '../linking/link-side.ts'
import type { LinkEvent } from '../linking/link-side.ts'
import type { LinkOffer, LinkProgress } from './api.ts'
import type { Context } from './context.ts'
import type { Devices } from './devices.ts'
import { tellDevices } from './tell-devices.ts'
import type { Uplink } from './uplink.ts'

/** What a new device has to know of the node. */
export interface NodeDoors {
  /** X25519, 32 bytes. */
  readonly doorKey: Uint8Array
  /** `tcp://192.0.2.7:4482`, the ones to prefer first. */
  readonly addresses: readonly string[]
}

interface Current {
  readonly host: LinkHost
  readonly timer: Timer
}

export class Linking {
  readonly #context: Context
  readonly #uplink: Uplink
  readonly #devices: Devices
  readonly #doors: () => NodeDoors | undefined
  #current: Current | undefined

  constructor(
    context: Context,
    parts: { uplink: Uplink, devices: Devices, doors: () => NodeDoors | undefined },
  ) {
    this.#context = context
    this.#uplink = parts.uplink
    this.#devices = parts.devices
    this.#doors = parts.doors
  }

  /** Makes a code, in place of an earlier one. @throws ACCOUNT_LINKED, LINK_BUSY, REQUEST_* */
  async open(): Promise<LinkOffer> {
    const { account, own, random, clock } = this.#context
    const doors = this.#doors()
    if (!own.isPrimary || doors === undefined) {
      throw new OpenIMError('ACCOUNT_LINKED', 'only the device with the root key lets others in: do it there')
    }
    this.close('LINK_REPLACED')
    const token = random.bytes(linkTokenBytes)
    const { guestKeys, proofKey } = linkKeys({ token, doorKey: doors.doorKey })
    const guestKey = guestKeys.publicKey
    const opened = await this.#uplink.request({ type: 'linkOpen', guestKey }, 'linkOpened')
    if (!opened.ok) {
      throw new OpenIMError(opened.code, `the node does not let a new device in (${opened.code})`)
    }
    const identity = { rootKey: account.rootKey, name: account.name, doors: doors.addresses }
    const host = new LinkHost({ proofKey, identity, random })
    const timer = clock.after(limits.linkTtlMs, () => this.close('LINK_CODE_OVER'))
    this.#current = { host, timer }
    const uri = formatLinkCode({ doorKey: doors.doorKey, token, hints: doors.addresses })
    return { uri, addresses: doors.addresses, expiresAtMs: opened.value.expiresAtMs }
  }

  /** What the person says of the two codes. @throws LINK_CODE_OVER when nobody is waiting for it */
  confirm(isSame: boolean): void {
    const current = this.#current
    if (current === undefined) {
      throw new OpenIMError('LINK_CODE_OVER', 'no device is being linked: make a new code')
    }
    this.#do(current, current.host.confirm(isSame))
  }

  /** The person gave up, or time is over. Idempotent. */
  close(code = 'LINK_CANCELLED'): void {
    const current = this.#current
    if (current !== undefined) this.#do(current, current.host.cancel(code))
  }

  receive(frame: LinkMessageFrame | LinkClosedFrame): void {
    const current = this.#current
    if (current === undefined) return
    if (frame.type === 'linkMessage') this.#do(current, current.host.receive(frame.bytes))
    else this.#do(current, current.host.cancel(frame.code))
  }

  /** The session with the node is gone, and the guest's place with it. */
  reset(): void {
    this.close('LINK_LEFT')
  }

  #do(current: Current, events: readonly LinkEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'send':
          this.#uplink.post({ type: 'linkMessage', bytes: event.bytes })
          break
        case 'compare':
          this.#tell({ state: 'comparing', code: event.code, name: event.name })
          break
        case 'certify':
          void this.#certify(current, event.request)
          break
        case 'linked':
          this.#end(current, 'LINK_DONE', { state: 'linked' })
          break
        case 'failed':
          this.#end(current, event.code, { state: 'failed', reason: event.code })
          break
        default:
          break
      }
    }
  }

  async #certify(current: Current, request: Uint8Array): Promise<void> {
    try {
      const bytes = await this.#devices.certify(request)
      // When that fails, upkeep says it again, and the new device is let in later.
      await tellDevices(this.#context, this.#uplink)
      this.#do(current, current.host.packaged(bytes))
    } catch (error) {
      const code = errorCode(error) ?? 'LINK_FAILED'
      this.#context.log.warn({ err: error, code }, 'a new device could not be listed')
      this.#do(current, current.host.packaged(new OpenIMError(code, 'the device could not be listed')))
    }
  }

  #end(current: Current, code: string, progress: LinkProgress): void {
    if (this.#current !== current) return
    this.#current = undefined
    current.timer.cancel()
    this.#uplink.post({ type: 'linkClosed', code })
    this.#tell(progress)
  }

  #tell(progress: LinkProgress): void {
    this.#context.emit({ type: 'link', ...progress })
  }
}
