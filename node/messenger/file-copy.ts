/**
 * One file box on its way to one holder: reads the pieces here in order, deposits them a call at a
 * time, and goes on where it was. It sleeps when there is nothing more, and is woken by the next
 * piece; while the holder does not take them it tries again with doubling pauses.
 */
import { errorCode } from '../../crypto/errors.ts'
import { jittered } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import type { BoxId, NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import { depositReplyCodec, depositRequestCodec, verifyStoreReceipt } from '../../protocol/service/deposit.ts'
import type { Courier, Log, PieceEntry, PieceStore } from '../ports.ts'
import type { HeldPieces } from './records.ts'

const depositTimeoutMs = 30_000
/** Requests that stay in memory: holders that keep step with each other share them. */
const requestsMax = 8
const backOffMinMs = 1_000
const backOffMaxMs = 5 * 60_000

/** A deposit of one large piece, or some small ones. */
interface PieceRequest {
  readonly entries: readonly Pick<PieceEntry, 'id' | 'position'>[]
  readonly body: Uint8Array
}

/** Reads and encodes what comes behind a position once for all holders that ask about then. */
export class PieceRequests {
  readonly #pieces: PieceStore
  readonly #onMoved: (bytes: number) => void
  readonly #cache = new Map<string, Promise<PieceRequest | undefined>>()

  constructor(pieces: PieceStore, onMoved: (bytes: number) => void) {
    this.#pieces = pieces
    this.#onMoved = onMoved
  }

  /** `undefined` when there is nothing. */
  async after(box: BoxId, position: number): Promise<PieceRequest | undefined> {
    const key = `${box}/${position}`
    const known = this.#cache.get(key)
    if (known !== undefined) return await known
    const reading = this.#read(box, position)
    this.#cache.set(key, reading)
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= requestsMax) break
      this.#cache.delete(oldest)
    }
    const found = await reading.catch((error: unknown) => {
      this.#cache.delete(key)
      throw error
    })
    if (found === undefined) this.#cache.delete(key)
    return found
  }

  forget(): void {
    this.#cache.clear()
  }

  async #read(box: BoxId, after: number): Promise<PieceRequest | undefined> {
    const page = { after, itemsMax: limits.depositItemsMax, bytesMax: limits.envelopeBytesMax }
    const { entries } = await this.#pieces.list(box, page)
    if (entries.length === 0) return undefined
    const body = encode(depositRequestCodec, { envelopes: entries.map((entry) => entry.body) })
    this.#onMoved(body.length)
    return { entries: entries.map(({ id, position }) => ({ id, position })), body }
  }
}

export interface FileCopyComponents {
  readonly courier: Courier
  readonly requests: PieceRequests
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export interface FileCopyListener {
  /** The holder signed for these; settles when that is written down. */
  signed(step: HeldPieces): Promise<void>
  /** It has taken nothing for so long. */
  failing(forMs: number): void
}

export class FileCopy {
  /** The holder has all pieces up to here. */
  position = 0
  readonly #components: FileCopyComponents
  readonly #listener: FileCopyListener
  readonly #box: BoxId
  readonly #holder: NodeId
  #isRunning = false
  #isAgain = false
  #isStopped = false
  #failingSinceMs: number | undefined
  #backOffMs = 0
  #retry: Timer | undefined

  constructor(
    components: FileCopyComponents,
    place: { readonly box: BoxId, readonly holder: NodeId },
    listener: FileCopyListener,
  ) {
    this.#components = components
    this.#listener = listener
    this.#box = place.box
    this.#holder = place.holder
  }

  /** There may be more to bring, or the holder is heard of again. */
  wake(): void {
    if (this.#isStopped) return
    this.#retry?.cancel()
    this.#retry = undefined
    this.#isAgain = true
    if (!this.#isRunning) void this.#run()
  }

  stop(): void {
    this.#isStopped = true
    this.#retry?.cancel()
    this.#retry = undefined
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#isAgain && !this.#isStopped) {
      this.#isAgain = false
      const failure = await this.#bring()
      if (failure !== undefined && !this.#isStopped) this.#later(failure)
    }
    this.#isRunning = false
  }

  /** Until nothing is left; the code of what stands in the way. */
  async #bring(): Promise<string | undefined> {
    const { requests } = this.#components
    try {
      for (;;) {
        const request = await requests.after(this.#box, this.position)
        if (request === undefined || this.#isStopped) return undefined
        const failure = await this.#deposit(request)
        if (failure !== undefined) return failure
      }
    } catch (error) {
      return errorCode(error) ?? 'SERVICE_FAILED'
    }
  }

  async #deposit({ entries, body }: PieceRequest): Promise<string | undefined> {
    const { courier } = this.#components
    const options = { timeoutMs: depositTimeoutMs, level: 0 } as const
    const answer = await courier.call(this.#holder, services.deposit, body, options)
    const reply = answer.ok ? tryDecode(depositReplyCodec, answer.value) : answer
    if (!reply.ok) return reply.code
    const receipt = reply.value.receipt?.slice()
    const signed = receipt === undefined ? undefined : verifyStoreReceipt(receipt)
    if (receipt === undefined || signed?.ok !== true || signed.value.nodeId !== this.#holder) {
      return 'HOLDER_BUSY'
    }
    const covered = new Set(signed.value.envelopeIds)
    // In order: what comes behind a piece that it refused is offered again with it.
    const refused = entries.findIndex(({ id }) => !covered.has(id))
    const last = refused < 0 ? entries.at(-1) : entries[refused - 1]
    if (last === undefined) return 'HOLDER_BUSY'
    this.position = last.position
    this.#failingSinceMs = undefined
    this.#backOffMs = 0
    await this.#listener.signed({ holder: this.#holder, position: last.position, receipt })
    return refused < 0 ? undefined : 'HOLDER_BUSY'
  }

  #later(failure: string): void {
    const { clock, random, log } = this.#components
    const nowMs = clock.monotonicMs()
    this.#failingSinceMs ??= nowMs
    this.#backOffMs = Math.min(backOffMaxMs, Math.max(backOffMinMs, 2 * this.#backOffMs))
    log.debug({ holder: this.#holder, code: failure }, 'a holder takes no pieces now')
    this.#listener.failing(nowMs - this.#failingSinceMs)
    if (this.#isAgain || this.#isStopped) return
    this.#retry = clock.after(jittered(random, this.#backOffMs, 0.3), () => this.wake())
  }
}
