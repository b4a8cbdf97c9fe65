/**
 * Keeps a node linked to its bootstrap nodes: dials each at start and again whenever its link is
 * lost, with a delay that doubles up to a minute and jitter, so that a street that comes back from
 * a power cut does not arrive at one moment.
 */
import { errorCode } from '../../crypto/errors.ts'
import { jittered } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import type { Log } from '../ports.ts'

interface Target {
  readonly address: string
  /** Known once it was reached. */
  nodeId: NodeId | undefined
  attempts: number
  dialling: boolean
  timer: Timer | undefined
}

export class BootstrapDialer {
  readonly #components: { readonly clock: Clock, readonly random: Random, readonly log: Log }
  readonly #dial: (address: string) => Promise<NodeId>
  readonly #targets: Target[]
  #running = false

  constructor(
    components: { clock: Clock, random: Random, log: Log },
    addresses: readonly string[],
    dial: (address: string) => Promise<NodeId>,
  ) {
    this.#components = components
    this.#dial = dial
    this.#targets = addresses.map((address) =>
      ({ address, nodeId: undefined, attempts: 0, dialling: false, timer: undefined }))
  }

  start(): void {
    this.#running = true
    for (const target of this.#targets) this.#attempt(target)
  }

  stop(): void {
    this.#running = false
    for (const target of this.#targets) target.timer?.cancel()
  }

  /** The link to a node went down. */
  lost(nodeId: NodeId): void {
    for (const target of this.#targets) if (target.nodeId === nodeId) this.#later(target)
  }

  #attempt(target: Target): void {
    target.dialling = true
    this.#dial(target.address).then(
      (nodeId) => {
        target.dialling = false
        target.nodeId = nodeId
        target.attempts = 0
      },
      (error: unknown) => {
        target.dialling = false
        const { address, attempts } = target
        const code = errorCode(error)
        this.#components.log.debug({ address, attempts, code }, 'a bootstrap node did not answer')
        this.#later(target)
      },
    )
  }

  #later(target: Target): void {
    if (!this.#running || target.dialling) return
    const delayMs = Math.min(limits.bootstrapRetryMaxMs, limits.bootstrapRetryMinMs * 2 ** target.attempts++)
    target.timer?.cancel()
    target.timer = this.#components.clock.after(jittered(this.#components.random, delayMs, 0.5), () => {
      if (this.#running) this.#attempt(target)
    })
  }
}
