/**
 * The new device's side of a linking from beginning to end: reaches the node as a guest with the
 * key of the link code, runs `LinkJoiner` over that session, asks the person to compare, and hands
 * out what the device needs to open its account.
 *
 * ```ts
 * const joined = await joinAccount({ clock, random }, {
 *   code, dialer, name: 'laptop',
 *   compare: async ({ code, name }) => askPerson(code, name),
 *   store: async ({ secrets, package }) => { await Client.createLinked({ kv, …, secrets, package }) },
 * })
 * ```
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import type { ShortCode } from '../../crypto/short-auth.ts'
import type { DeviceSecrets } from '../client/account-state.ts'
import { makeDeviceRequest } from '../client/linked-account.ts'
import type { Frame } from '../frame/frame.ts'
import { limits } from '../limits.ts'
import type { Clock } from '../ports.ts'
import { DeviceSession } from '../session/device-session.ts'
import type { Dialer } from '../session/types.ts'
import { linkKeys } from './link-code.ts'
import type { LinkCode } from './link-code.ts'
import { LinkJoiner } from './link-side.ts'
import type { LinkEvent, LinkIdentity } from './link-side.ts'

export interface JoinOptions {
  readonly code: LinkCode
  /** To the node, with the guest key of the code (`linkKeys`). */
  readonly dialer: Dialer
  /** Of this device, for people. */
  readonly name: string
  /** Shows the code and the account's name, and says whether the other screen shows the same. */
  readonly compare: (shown: { code: ShortCode, name: string }) => Promise<boolean>
  /** Writes the account; durable when it settles. */
  readonly store: (linked: { account: Joined, secrets: DeviceSecrets, package: Uint8Array }) => Promise<void>
  /** Reached the node, or why not yet. */
  readonly onReach?: (online: boolean, code?: string) => void
  readonly signal?: AbortSignal
}

/** Whose account it is and where its node is reached. */
export type Joined = LinkIdentity

/**
 * Settles when the account is stored here and listed there.
 * @throws LINK_*, CHANNEL_* and SHORT_AUTH_*, and what `store` throws
 */
export async function joinAccount(
  components: { clock: Clock, random: Random },
  options: JoinOptions,
): Promise<Joined> {
  const joining = new Joining(components, options)
  const abort = (): void => joining.cancel('LINK_CANCELLED')
  options.signal?.addEventListener('abort', abort)
  try {
    return await joining.run()
  } finally {
    options.signal?.removeEventListener('abort', abort)
  }
}

class Joining {
  readonly #components: { clock: Clock, random: Random }
  readonly #options: JoinOptions
  readonly #joiner: LinkJoiner
  readonly #session: DeviceSession
  readonly #outcome = Promise.withResolvers<Joined>()
  #hasBegun = false
  #isReached = false
  #unreached = 'LINK_UNREACHABLE'
  #account: Joined | undefined
  #secrets: DeviceSecrets | undefined

  constructor(components: { clock: Clock, random: Random }, options: JoinOptions) {
    this.#components = components
    this.#options = options
    const { proofKey } = linkKeys(options.code)
    this.#joiner = new LinkJoiner({ proofKey, name: options.name, random: components.random })
    this.#session = new DeviceSession({ ...components, dialer: options.dialer }, {
      frame: (frame) => this.#frame(frame),
      state: (online, code) => {
        if (online) this.#isReached = true
        else if (code !== undefined) this.#unreached = code
        options.onReach?.(online, code)
        // The node would say the same again; DEVICE_UNKNOWN: nobody is expected with this code.
        if (!online && (code === 'LINK_CODE_OVER' || code === 'DEVICE_UNKNOWN')) this.#fail('LINK_CODE_OVER')
      },
      reset: () => this.#begin(),
    })
  }

  async run(): Promise<Joined> {
    const { clock } = this.#components
    const timers = [
      clock.after(limits.linkTtlMs, () => this.cancel('LINK_CODE_OVER')),
      clock.after(limits.linkReachMs, () => {
        if (!this.#isReached) this.cancel(this.#unreached)
      }),
    ]
    this.#session.start()
    try {
      return await this.#outcome.promise
    } finally {
      for (const timer of timers) timer.cancel()
      await this.#session.stop()
    }
  }

  cancel(code: string): void {
    this.#do(this.#joiner.cancel(code))
    this.#fail(code)
  }

  /** A new session is a new guest: what was under way is lost with the old one. */
  #begin(): void {
    if (this.#hasBegun) return this.cancel('LINK_LEFT')
    this.#hasBegun = true
    this.#do(this.#joiner.begin())
  }

  #frame(frame: Frame): void {
    if (frame.type === 'linkMessage') this.#do(this.#joiner.receive(frame.bytes))
    else if (frame.type === 'linkClosed') this.#do(this.#joiner.cancel(frame.code))
  }

  #do(events: readonly LinkEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'send':
          this.#session.send({ type: 'linkMessage', bytes: event.bytes }).catch(() => {})
          break
        case 'compare':
          void this.#compare(event.code, event.name)
          break
        case 'request':
          this.#request(event.account)
          break
        case 'store':
          void this.#store(event.package)
          break
        case 'linked':
          this.#outcome.resolve(this.#account!)
          break
        case 'failed':
          this.#fail(event.code)
          break
        default:
          break
      }
    }
  }

  async #compare(code: ShortCode, name: string): Promise<void> {
    const isSame = await this.#options.compare({ code, name }).catch(() => false)
    this.#do(this.#joiner.confirm(isSame))
  }

  #request(account: LinkIdentity): void {
    this.#account = account
    const { random } = this.#components
    const made = makeDeviceRequest({ random, rootKey: account.rootKey, name: this.#options.name })
    this.#secrets = made.secrets
    this.#do(this.#joiner.requested(made.request))
  }

  async #store(bytes: Uint8Array): Promise<void> {
    try {
      await this.#options.store({ account: this.#account!, secrets: this.#secrets!, package: bytes })
      this.#do(this.#joiner.stored())
    } catch (error) {
      this.#outcome.reject(error)
      this.#do(this.#joiner.stored(new OpenIMError(errorCode(error) ?? 'LINK_FAILED', 'not stored')))
    }
  }

  #fail(code: string): void {
    this.#outcome.reject(new OpenIMError(code, `this device was not linked (${code})`))
  }
}
