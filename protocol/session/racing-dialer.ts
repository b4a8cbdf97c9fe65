/**
 * Tries all the ways there are to the node and keeps the first that works (as RFC 8305 races
 * addresses): the way that worked last goes first, each next one starts when the one before failed
 * or `limits.dialStaggerMs` later, and when one has shaken hands the others are given up.
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../limits.ts'
import type { Clock, MessageLink } from '../ports.ts'
import { sleep } from '../timers.ts'
import type { Dialer } from './types.ts'

/** One way to the node. */
export interface Way {
  /** For people and errors: `udp://192.0.2.7:4482`. */
  readonly name: string
  readonly dialer: Dialer
}

export class RacingDialer implements Dialer {
  readonly #clock: Clock
  #ways: readonly Way[]

  /** At least one way, the ones to prefer first. */
  constructor(components: { clock: Clock }, ways: readonly Way[]) {
    this.#clock = components.clock
    this.#ways = ways
  }

  /** The way that is tried first next time. */
  get preferred(): string | undefined {
    return this.#ways[0]?.name
  }

  /** From the next dial on; the way that worked last stays first. */
  replace(ways: readonly Way[]): void {
    const { preferred } = this
    const first = ways.filter(({ name }) => name === preferred)
    this.#ways = [...first, ...ways.filter(({ name }) => name !== preferred)]
  }

  /** @throws LINK_UNREACHABLE naming each way and its code; the code of all when they agree */
  async dial(signal: AbortSignal): Promise<MessageLink> {
    const over = new AbortController()
    const either = AbortSignal.any([signal, over.signal])
    const failures: { name: string, code: string }[] = []
    const attempts: Promise<{ way: Way, link: MessageLink }>[] = []
    try {
      for (const way of this.#ways) {
        const attempt = this.#try(way, { over, signal: either, failures })
        attempts.push(attempt)
        const patience = sleep(this.#clock, limits.dialStaggerMs, either)
        // Whatever comes first: it works, it failed, or it takes long.
        await Promise.race([patience, attempt.then(() => {}, () => {})])
        if (over.signal.aborted || signal.aborted) break
      }
      const { way, link } = await Promise.any(attempts)
      this.#ways = [way, ...this.#ways.filter((other) => other !== way)]
      return link
    } catch {
      throw unreachable(failures)
    } finally {
      over.abort()
    }
  }

  async #try(
    way: Way,
    race: { over: AbortController, signal: AbortSignal, failures: { name: string, code: string }[] },
  ): Promise<{ way: Way, link: MessageLink }> {
    try {
      const link = await way.dialer.dial(race.signal)
      // Two that arrive together: one of them is too late.
      if (race.over.signal.aborted) {
        link.close('LINK_NOT_NEEDED')
        throw new OpenIMError('LINK_UNREACHABLE', 'another way was faster')
      }
      race.over.abort()
      return { way, link }
    } catch (error) {
      race.failures.push({ name: way.name, code: errorCode(error) ?? 'LINK_UNREACHABLE' })
      throw error
    }
  }
}

function unreachable(failures: readonly { name: string, code: string }[]): OpenIMError {
  const codes = new Set(failures.map(({ code }) => code))
  const [only] = codes
  const code = codes.size === 1 && only !== undefined ? only : 'LINK_UNREACHABLE'
  const each = failures.map((failure) => `${failure.name} (${failure.code})`).join(', ')
  return new OpenIMError(code, `no way to the node: ${each === '' ? 'none is known' : each}`)
}
