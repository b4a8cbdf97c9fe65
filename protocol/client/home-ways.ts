/**
 * The ways of a device to its node, kept up to date by the node itself: at the beginning of each
 * session it tells where its doors are (frame `doors`). What is new is tried from then on and
 * written down, so that the device still finds a node that moved while both were on.
 *
 * ```text
 *   DeviceSession ──frames──► HomeWays ──all others──► Client
 *        ▲                       │ doors: store, then
 *        └────── RacingDialer ◄──┘
 * ```
 *
 * The way in use comes first, then what the node says, then what was known before; the oldest goes
 * beyond `limits.homeAddressesMax`. Nothing is believed that the door key does not prove again.
 */
import { errorCode } from '../../crypto/errors.ts'
import { limits } from '../limits.ts'
import type { Clock, MessageLink } from '../ports.ts'
import { RacingDialer } from '../session/racing-dialer.ts'
import type { Way } from '../session/racing-dialer.ts'
import type { DeviceSessionListener, Dialer } from '../session/types.ts'
import type { ClientLog } from './context.ts'

export interface HomeWaysOptions {
  readonly addresses: readonly string[]
  /** A dialer for each address that can be dialled from here. @throws DOOR_ADDRESS */
  readonly ways: (addresses: readonly string[]) => Way[]
  /** Writes down what is known now. Absent: nothing is learned. */
  readonly store?: (addresses: readonly string[]) => Promise<void>
}

export class HomeWays implements Dialer {
  readonly #log: ClientLog
  readonly #options: HomeWaysOptions
  readonly #dialer: RacingDialer
  #addresses: readonly string[]

  /** @throws DOOR_ADDRESS */
  constructor(components: { clock: Clock, log: ClientLog }, options: HomeWaysOptions) {
    this.#log = components.log
    this.#options = options
    this.#addresses = options.addresses
    this.#dialer = new RacingDialer(components, options.ways(options.addresses))
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  /** The way in use, or the one that is tried first. */
  get preferred(): string | undefined {
    return this.#dialer.preferred
  }

  dial(signal: AbortSignal): Promise<MessageLink> {
    return this.#dialer.dial(signal)
  }

  /** Between session and client: takes out what is meant for us. */
  listener(client: DeviceSessionListener): DeviceSessionListener {
    return {
      frame: (frame) => (frame.type === 'doors' ? this.#learn(frame.addresses) : client.frame(frame)),
      reset: () => client.reset(),
      state: (online, code, cause) => client.state(online, code, cause),
    }
  }

  async #learn(told: readonly string[]): Promise<void> {
    const { store, ways } = this.#options
    const fresh = told.filter((address) => !this.#addresses.includes(address) && this.#canDial(address))
    if (store === undefined || fresh.length === 0) return
    const { preferred } = this
    const first = this.#addresses.filter((address) => address === preferred)
    const known = told.filter((address) => this.#addresses.includes(address))
    const all = new Set([...first, ...fresh, ...known, ...this.#addresses])
    const addresses = [...all].slice(0, limits.homeAddressesMax)
    this.#addresses = addresses
    this.#dialer.replace(ways(addresses))
    // Not written, it is told again in the next session.
    await store(addresses).catch((error: unknown) => {
      this.#log.warn({ code: errorCode(error) }, 'the addresses of the node could not be written')
    })
  }

  #canDial(address: string): boolean {
    try {
      return this.#options.ways([address]).length > 0
    } catch {
      return false
    }
  }
}
