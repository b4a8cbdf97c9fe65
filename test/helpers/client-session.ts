/** A client's session with a `TestNode` (client-network.ts): it breaks when told, or by faults. */
import { OpenIMError } from '../../crypto/errors.ts'
import { randomFraction } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { decodeFrame, encodeFrame } from '../../protocol/frame/frame.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { DeviceSessionApi, DeviceSessionListener } from '../../protocol/session/types.ts'
import { randomInteger } from './seeded-random.ts'

/** The node, as a session sees it. */
export interface SessionNode {
  readonly network: {
    readonly clock: Clock
    readonly random: Random
    readonly faults: { readonly resetEveryMs: number }
  }
  readonly devices: readonly string[]
  handle(frame: Frame, device: string): void
  /** A new session of this device has begun. */
  attached(device: string): void
}

/** A session double: frames in order and once while it lasts; resets lose what is under way. */
export class TestSession implements DeviceSessionApi {
  readonly #node: SessionNode
  readonly #device: string
  readonly #listener: DeviceSessionListener
  readonly #inbox: Frame[] = []
  #online = false
  #number = 0
  #isStopped = false
  #isConsuming = false
  #sendDueMs = 0
  #pushDueMs = 0
  #waiting: (() => void)[] = []

  constructor(node: SessionNode, end: { device: string, listener: DeviceSessionListener }) {
    this.#node = node
    this.#device = end.device
    this.#listener = end.listener
  }

  get online(): boolean {
    return this.#online
  }

  start(): void {
    this.#clock.after(20, () => this.#begin())
  }

  async stop(): Promise<void> {
    this.abandon()
  }

  /** The device is gone. */
  abandon(): void {
    this.#isStopped = true
    this.#online = false
    this.#number++
    this.#inbox.length = 0
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** The node does not let this device in. */
  refuse(code: string): void {
    this.#online = false
    this.#number++
    this.#inbox.length = 0
    this.#listener.state(false, code)
  }

  /** The device knocks again. */
  retry(): void {
    if (!this.#isStopped && !this.#online) this.#begin()
  }

  /** The node lost this session; a new one begins by itself. */
  reset(): void {
    if (this.#isStopped || !this.#online) return
    this.#online = false
    this.#number++
    this.#inbox.length = 0
    this.#listener.state(false, 'LINK_LOST')
    this.#clock.after(50 + randomInteger(this.#node.network.random, 1_000), () => this.#begin())
  }

  async send(frame: Frame): Promise<void> {
    if (this.#isStopped) throw new OpenIMError('SESSION_STOPPED', 'the session was stopped')
    if (this.#number === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const number = this.#number
    const bytes = encodeFrame(frame)
    this.#sendDueMs = this.#due(this.#sendDueMs)
    this.#clock.after(this.#sendDueMs - this.#clock.monotonicMs(), () => {
      if (this.#isStopped || number !== this.#number) return
      this.#node.handle(mustDecode(bytes), this.#device)
    })
  }

  /** From the node. */
  push(frame: Frame): void {
    if (this.#isStopped || !this.#online) return
    const number = this.#number
    const bytes = encodeFrame(frame)
    this.#pushDueMs = this.#due(this.#pushDueMs)
    this.#clock.after(this.#pushDueMs - this.#clock.monotonicMs(), () => {
      if (this.#isStopped || number !== this.#number) return
      this.#inbox.push(mustDecode(bytes))
      void this.#consume()
    })
  }

  get #clock(): Clock {
    return this.#node.network.clock
  }

  #begin(): void {
    if (this.#isStopped) return
    if (!this.#node.devices.includes(this.#device)) {
      this.#listener.state(false, 'DEVICE_UNKNOWN')
      return
    }
    this.#number++
    this.#online = true
    this.#listener.reset()
    this.#listener.state(true)
    for (const wake of this.#waiting.splice(0)) wake()
    this.#node.attached(this.#device)
    const { resetEveryMs } = this.#node.network.faults
    if (resetEveryMs === Infinity) return
    const delayMs = resetEveryMs * 2 * randomFraction(this.#node.network.random)
    this.#clock.after(delayMs, () => this.reset())
  }

  async #consume(): Promise<void> {
    if (this.#isConsuming) return
    this.#isConsuming = true
    for (let frame = this.#inbox.shift(); frame !== undefined; frame = this.#inbox.shift()) {
      await this.#listener.frame(frame)
    }
    this.#isConsuming = false
  }

  /** In order, each a few milliseconds after it was sent. */
  #due(lastMs: number): number {
    return Math.max(lastMs, this.#clock.monotonicMs() + 1 + randomInteger(this.#node.network.random, 15))
  }
}

function mustDecode(bytes: Uint8Array): Frame {
  const decoded = decodeFrame(bytes)
  if (!decoded.ok) throw new Error(`a frame does not decode: ${decoded.code}`)
  return decoded.value
}
