/**
 * The shape of a frame handler, and what handlers may reach. One file per frame in `handlers/`,
 * all with the same signature, listed in `handlers/index.ts`.
 */
import type { Frame } from '../../protocol/frame/frame.ts'
import type { InboxFrame } from '../../protocol/frame/inbox.ts'
import type { ShelfHolder, ShelfTakeFrame } from '../../protocol/frame/shelf.ts'
import type { SubmitFrame } from '../../protocol/frame/submit.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import type { ShelfTaken } from '../../protocol/service/shelf.ts'
import type { KnownDevice } from './accounts.ts'

/** The Messenger, as the Router needs it. */
export interface MessengerPort {
  submit(device: string, frame: SubmitFrame): Promise<void>
  withdraw(ids: readonly EnvelopeId[]): Promise<void>
  acknowledge(device: KnownDevice, box: BoxId, ids: readonly EnvelopeId[]): Promise<void>
  inbox(account: string, frame: InboxFrame): Promise<{
    readonly box: BoxId
    readonly replicas: readonly NodeId[]
  }>
  shelfHolders(account: string, shelfKey: Uint8Array): Promise<ShelfHolder[]>
  shelfPut(account: string, puts: readonly Uint8Array[]): Promise<{
    readonly shelfKey: Uint8Array
    readonly holders: ShelfHolder[]
  }>
  shelfTake(frame: Pick<ShelfTakeFrame, 'shelfKey' | 'holders'>): Promise<ShelfTaken | undefined>
  attach(device: KnownDevice & { send(frame: Frame): Promise<void> }): () => void
}

/** The location database, as the Router needs it. */
export interface LocationPort {
  publish(records: readonly Uint8Array[]): Promise<number>
  /** @param hint multiaddr to dial first, or empty */
  locate(blindedKeys: readonly Uint8Array[], hint: string): Promise<Uint8Array[]>
}

export interface HandlerContext {
  readonly self: NodeId
  readonly device: KnownDevice
  readonly messenger: MessengerPort
  readonly locations: LocationPort
  /** Queues an answer to this device. */
  reply(frame: Frame): Promise<void>
}

/**
 * Handles one frame. A throw with an `OpenIMError` refuses the request with its code; handlers of
 * frames without a request number do not throw for what a device can cause.
 */
export type FrameHandler<T extends Frame['type']> = (
  context: HandlerContext,
  frame: Extract<Frame, { type: T }>,
) => Promise<void>
